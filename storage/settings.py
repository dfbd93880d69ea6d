"""Choices of members and servers, and small facts that the program keeps for itself. Knows not what they mean."""

import json
from typing import Any

from storage.database import Database


class Settings:
    """Values are anything that JSON can say."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def member(self, user: str) -> dict[str, Any]:
        """A member's choices by name."""
        return await self._all("member", user)

    async def set_member(self, user: str, name: str, value: Any) -> None:
        """Keeps a member's choice; None forgets it."""
        await self._set("member", user, name, value)

    async def server(self, guild: str) -> dict[str, Any]:
        """A server's choices by name."""
        return await self._all("server", guild)

    async def set_server(self, guild: str, name: str, value: Any) -> None:
        """Keeps a server's choice; None forgets it."""
        await self._set("server", guild, name, value)

    async def state(self, name: str, default: Any = None) -> Any:
        """A fact of the program, or `default` when it was never put."""
        rows = await self._db.read("SELECT value FROM state WHERE name = :name", {"name": name})
        return json.loads(rows[0]["value"]) if rows else default

    async def put_state(self, name: str, value: Any) -> None:
        """Keeps a fact of the program."""
        async with self._db.transaction() as tx:
            await tx.execute(
                "INSERT INTO state (name, value, changed_at) VALUES (:name, :value, :now)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at",
                {"name": name, "value": json.dumps(value), "now": self._db.clock()},
            )

    async def _all(self, scope: str, key: str) -> dict[str, Any]:
        rows = await self._db.read(
            "SELECT name, value FROM setting WHERE scope = :scope AND id = :id", {"scope": scope, "id": key}
        )
        return {row["name"]: json.loads(row["value"]) for row in rows}

    async def _set(self, scope: str, key: str, name: str, value: Any) -> None:
        params = {"scope": scope, "id": key, "name": name, "value": json.dumps(value), "now": self._db.clock()}
        async with self._db.transaction() as tx:
            if value is None:
                await tx.execute("DELETE FROM setting WHERE scope = :scope AND id = :id AND name = :name", params)
            else:
                await tx.execute(
                    "INSERT INTO setting (scope, id, name, value, changed_at)"
                    " VALUES (:scope, :id, :name, :value, :now) ON CONFLICT (scope, id, name)"
                    " DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at",
                    params,
                )
