"""Holds every object in memory and on disk, and tells what changed. Knows nothing of HTTP, gateways or Discord's rules.

Objects are plain records by kind and id, written through: whoever changes one calls `put` or `remove`, queues what the
others shall hear with `emit`, and `commit` writes all of it in one transaction before anybody hears or is answered.
Handlers are plain functions, so nothing comes between a change and its commit.

meta         application, bot (their shared id), guild (the first), base (address at the last run), limits
user         id, username, global_name, bot, dms_open
guild        id, name, owner_id
role         id, guild_id, name, permissions, position, managed
channel      id, guild_id, type, name, nsfw, parent_id, position, overwrites, recipient_id, owner_id, archived, locked
member       "guild:user": guild_id, user_id, roles, nick, joined
message      see sandbox/messages.py
revision     "message:0001": what a message looked like before an edit
command      an application command as registered
interaction  see sandbox/interactions.py
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from sandbox import permissions
from sandbox.clock import Clock, Snowflakes
from sandbox.object_store import ObjectStore
from sandbox.value_types import Event, Json

TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 11, 12
THREADS = (10, PUBLIC_THREAD, PRIVATE_THREAD)
KINDS = ("meta", "user", "guild", "role", "channel", "member", "message", "revision", "command", "interaction")


class World:
    """All objects; `base` is the address under which this run serves files."""

    def __init__(self, store: ObjectStore, clock: Clock, base: str) -> None:
        self.store, self.clock, self.base = store, clock, base
        self.ids = Snowflakes(clock)
        self.listeners: list[Callable[[Event], None]] = []
        self._changed: dict[tuple[str, str], Json | None] = {}
        self._outbox: list[Event] = []
        self._forget()

    def _forget(self) -> None:
        self.tables: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}
        self.by_channel: dict[str, list[str]] = defaultdict(list)
        self.by_token: dict[str, str] = {}
        self.revisions: dict[str, list[Json]] = defaultdict(list)
        self.nonces: dict[tuple[str, str], str] = {}

    def load(self) -> bool:
        """Read what an earlier run left; False when there is nothing. File addresses are moved to this run's base."""
        rows = list(self.store.load())
        old = next(
            (json.loads(text)["value"] for kind, key, text in rows if (kind, key) == ("meta", "base")), self.base
        )
        for kind, key, text in rows:
            self._place(kind, key, json.loads(text.replace(old, self.base) if old != self.base else text))
            if key.isdigit():
                self.ids.seen(key)
        if rows:
            self.put("meta", "base", {"value": self.base})
            self.commit()
        return bool(rows)

    def clear(self) -> None:
        """Forget everything, on disk with the next commit; ids go on rising."""
        self._changed = {(kind, key): None for kind, table in self.tables.items() for key in table}
        self._outbox.clear()
        self._forget()

    # Changes

    def put(self, kind: str, key: str, value: Json) -> Json:
        self._place(kind, key, value)
        self._changed[kind, key] = value
        return value

    def _place(self, kind: str, key: str, value: Json) -> None:
        fresh = key not in self.tables[kind]
        self.tables[kind][key] = value
        if kind == "message" and fresh:
            self.by_channel[value["channel_id"]].append(key)
            if value.get("nonce"):
                self.nonces[value["channel_id"], str(value["nonce"])] = key
        elif kind == "interaction":
            self.by_token[value["token"]] = key
        elif kind == "revision" and fresh:
            self.revisions[key.partition(":")[0]].append(value)

    def remove(self, kind: str, key: str) -> None:
        value = self.tables[kind].pop(key, None)
        if value is None:
            return
        self._changed[kind, key] = None
        if kind == "message":
            self.by_channel[value["channel_id"]].remove(key)
            self.forget_revisions(key)

    def add_revision(self, message_id: str, value: Json) -> None:
        self.put("revision", f"{message_id}:{len(self.revisions[message_id]):05}", value)

    def forget_revisions(self, message_id: str) -> None:
        for number in range(len(self.revisions.pop(message_id, []))):
            self.remove("revision", f"{message_id}:{number:05}")

    def forget_interaction(self, record: Json) -> None:
        self.by_token.pop(record["token"], None)
        self.remove("interaction", record["id"])

    def emit(self, event: Event) -> None:
        """Queue an event; it is told after the commit."""
        self._outbox.append(event)

    def commit(self) -> None:
        """Write all changes at once, then tell them. What is told or answered after this is on disk."""
        if self._changed:
            changes = [(kind, key, value) for (kind, key), value in self._changed.items()]
            self._changed = {}
            self.store.write(changes)
        outbox, self._outbox = self._outbox, []
        for event in outbox:
            for listener in self.listeners:
                listener(event)

    # Look-ups

    def get(self, kind: str, key: Any) -> Json | None:
        return self.tables[kind].get(str(key))

    def all(self, kind: str) -> list[Json]:
        return list(self.tables[kind].values())

    def meta(self, name: str) -> Any:
        return self.tables["meta"][name]["value"]

    @property
    def bot_id(self) -> str:
        return str(self.meta("bot"))

    def roles_of(self, guild_id: str) -> list[Json]:
        return [role for role in self.tables["role"].values() if role["guild_id"] == guild_id]

    def channels_of(self, guild_id: str) -> list[Json]:
        return [channel for channel in self.tables["channel"].values() if channel["guild_id"] == guild_id]

    def members_of(self, guild_id: str) -> list[Json]:
        return [member for member in self.tables["member"].values() if member["guild_id"] == guild_id]

    def member(self, guild_id: str | None, user_id: str) -> Json | None:
        return self.tables["member"].get(f"{guild_id}:{user_id}")

    def messages_in(self, channel_id: str) -> Iterator[Json]:
        """A channel's messages, oldest first."""
        return (self.tables["message"][key] for key in self.by_channel.get(channel_id, []))

    def direct_channel(self, user_id: str) -> Json | None:
        """The channel that this person has with the bot, once opened."""
        found = (c for c in self.tables["channel"].values() if c["type"] == DM and c["recipient_id"] == user_id)
        return next(found, None)

    def allowed(self, user_id: str, channel: Json) -> int:
        """A user's permissions in a channel; 0 for who cannot see it."""
        if channel["type"] == DM:
            return permissions.DIRECT if user_id in (channel["recipient_id"], self.bot_id) else 0
        member = self.member(channel["guild_id"], user_id)
        guild = self.get("guild", channel["guild_id"])
        if member is None or guild is None:
            return 0
        scope = self.get("channel", channel["parent_id"]) if channel["type"] in THREADS else channel
        found = permissions.in_channel(guild, member, self.roles_of(guild["id"]), scope or channel)
        if channel["type"] == PRIVATE_THREAD and not found & permissions.BIT["manage_threads"]:
            return found if user_id in channel.get("thread_members", []) else 0
        return found

    def may(self, user_id: str, channel: Json, *names: str) -> bool:
        found = self.allowed(user_id, channel)
        return all(found & permissions.BIT[name] for name in names)
