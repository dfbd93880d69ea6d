"""What a person typed into a command's options, as the client would send it: checked by type, range and choice."""

from typing import Any

from sandbox.control.request import ControlRequest, upload_of
from sandbox.errors import ControlError
from sandbox.serializers import member_object, partial_channel, role_object, user_object
from sandbox.validate import (
    ATTACHMENT_OPTION,
    BOOLEAN_OPTION,
    CHANNEL_OPTION,
    INTEGER_OPTION,
    MENTIONABLE_OPTION,
    NUMBER_OPTION,
    ROLE_OPTION,
    STRING_OPTION,
    USER_OPTION,
)
from sandbox.value_types import Json


class Resolved:
    """The objects that options name, collected for the interaction's `resolved`."""

    def __init__(self, request: ControlRequest, user: Json, channel: Json) -> None:
        self.request, self.user, self.channel = request, user, channel
        self.found: Json = {}

    def _keep(self, kind: str, key: str, value: Json) -> str:
        self.found.setdefault(kind, {})[key] = value
        return key

    def person(self, value: Any) -> str:
        world, user = self.request.world, self.request.user(value)
        member = world.member(self.channel["guild_id"], user["id"])
        if member:
            bits = str(world.allowed(user["id"], self.channel))
            self._keep("members", user["id"], member_object(world, member, with_user=False) | {"permissions": bits})
        return self._keep("users", user["id"], user_object(user))

    def role(self, value: Any) -> str:
        role = self.request.role(value, self.request.guild(self.channel["guild_id"]))
        return self._keep("roles", role["id"], role_object(self.request.world, role))

    def place(self, value: Any, kinds: list[int] | None) -> str:
        channel = self.request.seen_channel(self.user, value)
        if kinds and channel["type"] not in kinds:
            raise ControlError("wrong_channel_type", f"{channel['name']} is not of the kind that is asked for.")
        return self._keep("channels", channel["id"], partial_channel(self.request.world, channel, self.user["id"]))

    def either(self, value: Any) -> str:
        try:
            return self.person(value)
        except ControlError:
            return self.role(value)

    def file(self, value: Any) -> str:
        upload = upload_of(value, self.request.sandbox)
        made = self.request.sandbox.attachments.keep(self.request.world, self.channel["id"], upload, ephemeral=True)
        return self._keep("attachments", made["id"], made)


def options_of(declared: list[Json], given: Json, resolved: Resolved, *, focused: str | None = None) -> list[Json]:
    """The options as the gateway sends them. While one is focused (autocomplete), nothing is required yet."""
    known = {option["name"]: option for option in declared}
    if unknown := set(given) - set(known):
        raise ControlError("unknown_option", f"This command has no option {', '.join(sorted(unknown))}.")
    missing = [o["name"] for o in declared if o.get("required") and given.get(o["name"]) is None]
    if missing and focused is None:
        raise ControlError("missing_option", f"{missing[0]} is required.")
    found = []
    for name, option in known.items():
        value = given.get(name)
        if name == focused:
            text = "" if value is None else value
            found.append({"name": name, "type": option["type"], "value": text, "focused": True})
        elif value is not None:
            found.append({"name": name, "type": option["type"], "value": _value(option, value, resolved)})
    return found


def _value(option: Json, value: Any, resolved: Resolved) -> Any:
    kind = option["type"]
    if kind in (STRING_OPTION, INTEGER_OPTION, NUMBER_OPTION):
        return _plain(option, value)
    if kind == BOOLEAN_OPTION:
        if not isinstance(value, bool):
            raise _wrong(option, "true or false")
        return value
    if kind == CHANNEL_OPTION:
        return resolved.place(value, option.get("channel_types"))
    ways = {
        USER_OPTION: resolved.person,
        ROLE_OPTION: resolved.role,
        MENTIONABLE_OPTION: resolved.either,
        ATTACHMENT_OPTION: resolved.file,
    }
    return ways[kind](value)


def _plain(option: Json, value: Any) -> Any:
    """Text and numbers, in their bounds, among the choices where there are any (by name or by value)."""
    if choices := option.get("choices"):
        chosen = next((c for c in choices if value in (c["value"], c["name"])), None)
        if chosen is None:
            raise _wrong(option, "one of " + ", ".join(str(c["name"]) for c in choices))
        return chosen["value"]
    if option["type"] == STRING_OPTION:
        if not isinstance(value, str):
            raise _wrong(option, "text")
        if not max(option.get("min_length") or 0, 1) <= len(value) <= (option.get("max_length") or 6000):
            bounds = f"{option.get('min_length') or 1} to {option.get('max_length') or 6000}"
            raise _wrong(option, f"{bounds} characters long")
        return value
    if isinstance(value, bool) or not isinstance(value, int if option["type"] == INTEGER_OPTION else int | float):
        raise _wrong(option, "a whole number" if option["type"] == INTEGER_OPTION else "a number")
    least, most = option.get("min_value", -(2**53)), option.get("max_value", 2**53)
    if not least <= value <= most:
        raise _wrong(option, f"from {least} to {most}")
    return value


def _wrong(option: Json, wanted: str) -> ControlError:
    return ControlError("bad_option", f"{option['name']} must be {wanted}.")
