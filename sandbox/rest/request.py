"""One request as its handler sees it. Handlers are plain functions: nothing else happens between two of their lines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.errors import refuse
from sandbox.sandbox import Sandbox
from sandbox.validate import Problems
from sandbox.value_types import Body, Json, Reply
from sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """`received` is the clock when the request's first line was read."""

    sandbox: Sandbox
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Body
    received: float

    @property
    def world(self) -> World:
        return self.sandbox.world

    @property
    def json(self) -> Json:
        if not isinstance(self.body.data, dict):
            raise refuse("invalid_json")
        return self.body.data

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true")

    def check_ids(self) -> None:
        """Refuse a path in which an id is none. The names that stand for one, @me and @original, are."""
        problems = Problems()
        for name, value in self.params.items():
            if name.endswith("_id") and not value.startswith("@"):
                problems.id((name,), value)
        problems.raise_if_any()

    def guild(self, name: str = "guild_id") -> Json:
        """The guild in the path, if the bot is in it."""
        key = self.params[name]
        guild = self.world.get("guild", key)
        if guild is None:
            raise refuse("unknown_guild")
        if self.world.member(key, self.world.bot_id) is None:
            raise refuse("missing_access")
        return guild

    def channel(self, *needed: str) -> Json:
        """The channel in the path, if the bot may see it and has the needed permissions there."""
        channel = self.world.get("channel", self.params["channel_id"])
        if channel is None:
            raise refuse("unknown_channel")
        if not self.world.may(self.world.bot_id, channel, "view_channel"):
            raise refuse("missing_access")
        if not self.world.may(self.world.bot_id, channel, *needed):
            raise refuse("missing_permissions")
        return channel

    def message(self, channel: Json) -> Json:
        """The message in the path, if it is in this channel and not for one person's eyes only."""
        record = self.world.get("message", self.params["message_id"])
        if record is None or record["channel_id"] != channel["id"] or record["visible_to"]:
            raise refuse("unknown_message")
        return record


Handler = Callable[[RestRequest], Reply]
Route = tuple[str, str, Handler]
