"""Starts interactions, keeps the clock of their first answer, and hands the answer to who asked. Knows no HTTP.

An interaction record: id, token, type (2 command, 3 component, 4 autocomplete, 5 modal), user_id, channel_id, guild_id,
at, answered (type of the callback, or None), original_id (the message that answered), source_id (the message whose
component was used), deferred (a loading answer still waits for its content), ephemeral, modal (what was shown), open
(whether the modal still stands), owners, name, metadata, followups.
"""

import asyncio
import secrets
from typing import Any

from sandbox import permissions
from sandbox.clock import Clock
from sandbox.errors import ApiError, RateLimited, refuse
from sandbox.limits import Limits
from sandbox.messages import message_object
from sandbox.serializers import member_object, partial_channel, user_object
from sandbox.validate import MESSAGE_COMMAND, USER_COMMAND
from sandbox.value_types import Event, Json
from sandbox.world import DM, World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
# What the type of a callback means to the person who asked.
KINDS = {4: "message", 5: "deferred", 6: "deferred_update", 7: "update", 8: "choices", 9: "modal"}


class InteractionRegistry:
    """All interactions of a sandbox. Waiting for an answer is memory only: after a restart it is too late anyway."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world, self._clock = world, clock
        self.limits = Limits()
        self._sent: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._refused: dict[str, Json] = {}

    def start(
        self,
        kind: int,
        *,
        user_id: str,
        channel: Json,
        data: Json,
        owners: Json,
        name: str | None = None,
        source: Json | None = None,
        cause: Json | None = None,
    ) -> Json:
        """Record an interaction and send it to the bot. `cause` is the interaction whose modal is submitted."""
        world = self._world
        key = world.ids.next()
        record: Json = {"id": key, "token": secrets.token_urlsafe(48), "type": kind, "user_id": user_id, "name": name}
        record |= {"channel_id": channel["id"], "guild_id": channel["guild_id"], "at": self._clock.now()}
        record |= {"answered": None, "original_id": None, "source_id": source["id"] if source else None, "followups": 0}
        record |= {"deferred": False, "ephemeral": False, "modal": None, "open": False, "owners": owners}
        record["metadata"] = self._metadata(record, source, cause, data)
        world.put("interaction", key, record)
        payload = self._payload(record, channel, data, source)
        world.emit(Event(name="INTERACTION_CREATE", body=payload, channel_id=channel["id"], visible_to=user_id))
        self._waiting[key] = asyncio.get_running_loop().create_future()
        world.commit()
        self._sent[key] = self._clock.now()
        return record

    def _metadata(self, record: Json, source: Json | None, cause: Json | None, data: Json) -> Json:
        """What a message tells of the interaction that it answers."""
        user = user_object(self._world.tables["user"][record["user_id"]])
        found: Json = {"id": record["id"], "type": record["type"], "user": user}
        found["authorizing_integration_owners"] = record["owners"]
        if record["type"] == COMPONENT and source:
            found["interacted_message_id"] = source["id"]
        elif record["type"] == MODAL and cause:
            found["triggering_interaction_metadata"] = cause["metadata"]
        elif record["type"] == COMMAND and data.get("type") == USER_COMMAND:
            found["target_user"] = user_object(self._world.tables["user"][data["target_id"]])
        elif record["type"] == COMMAND and data.get("type") == MESSAGE_COMMAND:
            found["target_message_id"] = data["target_id"]
        return found

    def _payload(self, record: Json, channel: Json, data: Json, source: Json | None) -> Json:
        world, user_id = self._world, record["user_id"]
        direct = channel["type"] == DM
        user = user_object(world.tables["user"][user_id])
        bot_there = direct or world.member(channel["guild_id"], world.bot_id) is not None
        allowed = world.allowed(world.bot_id, channel) if bot_there else permissions.EVERYONE
        found: Json = {"id": record["id"], "application_id": world.meta("application"), "type": record["type"]}
        found |= {"token": record["token"], "version": 1, "data": data, "channel_id": channel["id"]}
        found |= {"channel": partial_channel(world, channel, user_id), "locale": "en-US", "entitlements": []}
        found |= {"authorizing_integration_owners": record["owners"], "context": 1 if direct else 0}
        found |= {"app_permissions": str(allowed), "attachment_size_limit": self.limits.upload_bytes}
        if direct:
            found["user"] = user
        else:
            member = member_object(world, world.member(channel["guild_id"], user_id) or {})
            found["member"] = member | {"permissions": str(world.allowed(user_id, channel))}
            found |= {"guild_id": channel["guild_id"], "guild_locale": "en-US"}
            found["guild"] = {"id": channel["guild_id"], "locale": "en-US", "features": []}
        return found | ({"message": message_object(world, source)} if source else {})

    # The bot's side

    def for_callback(self, key: str, token: str, received: float) -> Json:
        """The interaction that a first answer is for; refused when it is unknown, answered, or too late."""
        record = self._world.get("interaction", key)
        if record is None or not secrets.compare_digest(record["token"], token):
            raise refuse("unknown_interaction")
        if record["answered"] is not None:
            raise refuse("already_acknowledged")
        sent = self._sent_at(record)
        if received - sent > self.limits.ack_ms / 1000:
            raise refuse("unknown_interaction")
        return record

    def for_webhook(self, token: str) -> Json:
        """The answered interaction behind a webhook token that has not ended."""
        record = self._world.get("interaction", self._world.by_token.get(token))
        if record is None or record["answered"] in (None, 8):
            raise refuse("unknown_webhook")
        if self._clock.now() - record["at"] > self.limits.token_seconds:
            raise refuse("invalid_token")
        return record

    def _sent_at(self, record: Json) -> float:
        return self._sent.get(record["id"], float(record["at"]))

    def change(self, record: Json, **fields: Any) -> Json:
        return self._world.put("interaction", record["id"], record | fields)

    def answered(self, record: Json, kind: int, *, received: float, **more: Any) -> None:
        """Tell who asked. Called after the answer's records are put; told once they are committed."""
        key = record["id"]
        sent = self._sent_at(record)
        ack_ms = round((received - sent) * 1000, 1)
        response: Json = {"kind": KINDS[kind], "ephemeral": record["ephemeral"], **more}
        found: Json = {"interaction": key, "ack_ms": ack_ms, "response": response}
        scope = {"channel_id": record["channel_id"], "visible_to": record["user_id"], "to_bot": False}
        self._world.emit(Event(name="INTERACTION_RESPONSE", body=found | {"user_id": record["user_id"]}, **scope))
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(found)

    def refused(self, key: str, error: ApiError) -> None:
        """Remember why an answer was not taken, for who asked."""
        if key in self._waiting and not isinstance(error, RateLimited):
            self._refused[key] = error.body()

    # The person's side

    async def outcome(self, record: Json) -> Json:
        """Wait for the first answer, at most until its clock has run out."""
        key, future = record["id"], self._waiting[record["id"]]
        try:
            sent = self._sent_at(record)
            left = self.limits.ack_ms / 1000 - (self._clock.now() - sent)
            await asyncio.wait([future], timeout=max(left, 0) + 0.02)
            return future.result() if future.done() else self._unanswered(key)
        finally:
            self._waiting.pop(key, None)
            self._sent.pop(key, None)
            self._refused.pop(key, None)

    def _unanswered(self, key: str) -> Json:
        error = self._refused.get(key) or {"message": "The application did not respond"}
        response = {"kind": "none", "ephemeral": True, "error": error}
        return {"interaction": key, "ack_ms": None, "response": response}
