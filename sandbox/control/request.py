"""One control call as its handler sees it, and how names become objects. Knows no HTTP."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.channels import direct_channel
from sandbox.errors import ControlError
from sandbox.sandbox import Sandbox
from sandbox.value_types import Json, Upload
from sandbox.world import DM, THREADS, World


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """`body` is the JSON that was sent, an empty object when there was none."""

    sandbox: Sandbox
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Json

    @property
    def world(self) -> World:
        return self.sandbox.world

    def need(self, name: str) -> Any:
        if self.body.get(name) is None:
            raise ControlError("missing_field", f"{name} is missing.")
        return self.body[name]

    # Names

    def person(self, key: Any = None) -> Json:
        """The one who acts: `as`, an id or a name."""
        user = self.user(self.need("as") if key is None else key)
        if user["bot"]:
            raise ControlError("not_a_person", f"{user['global_name']} is a bot; act as a person.")
        return user

    def user(self, key: Any) -> Json:
        wanted = str(key).lstrip("@").lower()
        found = self.world.get("user", wanted) or next(
            (u for u in self.world.all("user") if wanted in (u["username"].lower(), u["global_name"].lower())), None
        )
        if found is None:
            raise ControlError("unknown_member", f"Nobody here is called {key}.", status=404)
        return found

    def guild(self, key: Any = None) -> Json:
        key = self.body.get("guild") if key is None else key
        wanted = str(key if key is not None else self.world.meta("guild"))
        found = self.world.get("guild", wanted) or next(
            (g for g in self.world.all("guild") if g["name"] == wanted), None
        )
        if found is None:
            raise ControlError("unknown_guild", f"There is no guild {wanted}.", status=404)
        return found

    def role(self, key: Any, guild: Json) -> Json:
        wanted = "@everyone" if str(key) in ("everyone", "@everyone") else str(key)
        found = self.world.get("role", wanted) or next(
            (r for r in self.world.roles_of(guild["id"]) if r["name"] == wanted), None
        )
        if found is None or found["guild_id"] != guild["id"]:
            raise ControlError("unknown_role", f"There is no role {key}.", status=404)
        return found

    def channel(self, key: Any, *, user: Json | None = None) -> Json:
        """A channel by id, by name in the guild at hand, or "dm": the one between this person and the bot."""
        world, wanted = self.world, str(key).lstrip("#")
        if (found := world.get("channel", wanted)) is not None:
            return found
        if wanted == "dm" and user is not None:
            channel = direct_channel(world, user["id"])
            world.commit()
            return channel
        named = [c for c in world.all("channel") if c["name"] == wanted and c["type"] != DM]
        here = self.guild()["id"]
        chosen = [c for c in named if c["guild_id"] == here] or named
        if not chosen:
            raise ControlError("unknown_channel", f"There is no channel {key}.", status=404)
        if len(chosen) > 1:
            raise ControlError("ambiguous_channel", f"{len(chosen)} channels are called {key}; use the id.")
        return chosen[0]

    def seen_channel(self, user: Json, key: Any = None) -> Json:
        """A channel that this person can see."""
        channel = self.channel(self.need("channel") if key is None else key, user=user)
        if not self.world.may(user["id"], channel, "view_channel"):
            raise ControlError("hidden_channel", f"{user['global_name']} cannot see this channel.", status=403)
        return channel

    def seen_message(self, user: Json, key: Any = None) -> Json:
        """A message that this person can see."""
        wanted = self.params.get("id") or self.need("message") if key is None else key
        record = self.world.get("message", wanted)
        if record is None or not visible(self.world, record, user):
            raise ControlError("unknown_message", "There is no such message here.", status=404)
        return record


def visible(world: World, record: Json, user: Json) -> bool:
    """Whether a person sees a message: not one for somebody else's eyes, and in a channel that they see."""
    if record["visible_to"] not in (None, user["id"]):
        return False
    channel = world.get("channel", record["channel_id"])
    return channel is not None and world.may(user["id"], channel, "view_channel")


def upload_of(file: Any, sandbox: Sandbox) -> Upload:
    """A FILE of the control interface as an upload; too large a file is refused as a person's client would."""
    if not isinstance(file, dict) or not isinstance(file.get("filename"), str) or "data" not in file:
        raise ControlError("bad_file", "A file is {filename, content_type, data: base64}.")
    try:
        data = base64.b64decode(file["data"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ControlError("bad_file", f"{file['filename']} is not base64.") from None
    if len(data) > sandbox.limits.upload_bytes:
        raise ControlError("file_too_large", f"{file['filename']} is too large.", status=413)
    return Upload(filename=file["filename"], content_type=str(file.get("content_type") or ""), data=data)


def is_thread(channel: Json) -> bool:
    return channel["type"] in THREADS


Handler = Callable[[ControlRequest], Awaitable[Any]]
Route = tuple[str, str, Handler]
