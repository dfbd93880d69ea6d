"""POST commands and autocomplete: a person types a slash command."""

from typing import Any

from sandbox import permissions
from sandbox.control.options import Resolved, options_of
from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.interactions import AUTOCOMPLETE, COMMAND
from sandbox.validate import CHAT_INPUT, GROUP, SUBCOMMAND
from sandbox.value_types import Json
from sandbox.world import DM


def registered(request: ControlRequest, kind: int, name: str, channel: Json) -> Json:
    """A command by type and name: the guild's own first, then the global one."""
    found = [c for c in request.world.all("command") if c["type"] == kind and c["name"] == name]
    found = [c for c in found if c.get("guild_id") in (None, channel["guild_id"])]
    if not found:
        raise ControlError("unknown_command", f"There is no command {name}.", status=404)
    return max(found, key=lambda c: c.get("guild_id") is not None)


def owners_of(request: ControlRequest, command: Json, user: Json, channel: Json) -> Json:
    """Check that the person may use the command here; by which installation it runs."""
    install = request.body.get("install", "guild")
    if install not in ("guild", "user"):
        raise ControlError("bad_install", "install is guild or user.")
    _check_install(request, command, channel, install)
    _check_context(command, channel)
    _check_rights(request, command, user, channel)
    if install == "user":
        return {"1": user["id"]}
    return {"0": channel["guild_id"] or "0"}


def _check_install(request: ControlRequest, command: Json, channel: Json, install: str) -> None:
    if (0 if install == "guild" else 1) not in command["integration_types"]:
        raise ControlError(
            "not_installed", f"{command['name']} is not offered to a {install} installation.", status=403
        )
    there = channel["type"] == DM or request.world.member(channel["guild_id"], request.world.bot_id)
    if install == "guild" and not there:
        raise ControlError("bot_not_here", "The bot is not in this guild.", status=403)


def _check_context(command: Json, channel: Json) -> None:
    direct = channel["type"] == DM
    contexts = command["contexts"]
    if contexts is None:
        contexts = [0, 1, 2] if command["dm_permission"] else [0]
    if command.get("guild_id"):
        contexts = [0]
    if (1 if direct else 0) not in contexts:
        raise ControlError("wrong_context", f"{command['name']} is not offered here.", status=403)
    if command["nsfw"] and not (channel["nsfw"] or direct):
        raise ControlError("age_limit", f"{command['name']} is for age-restricted channels only.", status=403)


def _check_rights(request: ControlRequest, command: Json, user: Json, channel: Json) -> None:
    if channel["type"] == DM:
        return
    allowed = request.world.allowed(user["id"], channel)
    needed = permissions.BIT["use_application_commands"]
    if command["default_member_permissions"] is not None:
        # "0" hides a command from everybody but administrators.
        needed |= int(command["default_member_permissions"]) or permissions.BIT["administrator"]
    if needed & ~allowed:
        raise ControlError("not_permitted", f"{user['global_name']} may not use {command['name']} here.", status=403)


def descend(command: Json, words: list[str]) -> tuple[list[Json], list[Json]]:
    """Walk the sub-commands; the declared options at the end, and the chain of those passed."""
    declared, chain = command.get("options") or [], []
    for word in words:
        found = next((o for o in declared if o["name"] == word and o["type"] in (SUBCOMMAND, GROUP)), None)
        if found is None:
            raise ControlError("unknown_command", f"{command['name']} has no {word}.", status=404)
        chain.append(found)
        declared = found.get("options") or []
    if any(option["type"] in (SUBCOMMAND, GROUP) for option in declared):
        names = ", ".join(option["name"] for option in declared)
        raise ControlError("unknown_command", f"{command['name']} needs one of {names}.", status=404)
    return declared, chain


def data_of(command: Json, chain: list[Json], options: list[Json], resolved: Json) -> Json:
    for part in reversed(chain):
        options = [{"name": part["name"], "type": part["type"], "options": options}]
    found: Json = {"id": command["id"], "name": command["name"], "type": command["type"], "options": options}
    found |= {"resolved": resolved} if resolved else {}
    return found | ({"guild_id": command["guild_id"]} if command.get("guild_id") else {})


def _prepared(request: ControlRequest, *, focused: str | None) -> tuple[Json, Json, Json, Json]:
    user = request.person()
    channel = request.seen_channel(user)
    words = str(request.need("name")).lstrip("/").split()
    command = registered(request, CHAT_INPUT, words[0] if words else "", channel)
    owners = owners_of(request, command, user, channel)
    declared, chain = descend(command, words[1:])
    given = dict(request.body.get("options") or {})
    if focused is not None:
        option = next((o for o in declared if o["name"] == focused), None)
        if option is None or not option.get("autocomplete"):
            raise ControlError("no_autocomplete", f"{focused} offers no suggestions.")
        given[focused] = request.body.get("value", "")
    resolved = Resolved(request, user, channel)
    options = options_of(declared, given, resolved, focused=focused)
    return user, channel, data_of(command, chain, options, resolved.found), owners


def _full_name(data: Json) -> str:
    """The command with its sub-commands, as a person says it: "prefer option set"."""
    words, options = [data["name"]], data["options"]
    while options and options[0]["type"] in (SUBCOMMAND, GROUP):
        words.append(options[0]["name"])
        options = options[0]["options"]
    return " ".join(words)


async def run_command(request: ControlRequest) -> Any:
    user, channel, data, owners = _prepared(request, focused=None)
    interactions = request.sandbox.interactions
    name = _full_name(data)
    started = interactions.start(COMMAND, user_id=user["id"], channel=channel, data=data, owners=owners, name=name)
    return await interactions.outcome(started)


async def autocomplete(request: ControlRequest) -> Any:
    user, channel, data, owners = _prepared(request, focused=str(request.need("option")))
    interactions = request.sandbox.interactions
    started = interactions.start(
        AUTOCOMPLETE, user_id=user["id"], channel=channel, data=data, owners=owners, name=data["name"]
    )
    found = await interactions.outcome(started)
    if found["response"]["kind"] != "choices":
        raise ControlError("no_answer", "The bot did not answer in time.", status=504)
    return {"choices": found["response"]["choices"], "ms": found["ack_ms"]}


ROUTES: list[Route] = [("POST", "/commands", run_command), ("POST", "/autocomplete", autocomplete)]
