"""The application itself and its commands."""

from sandbox.errors import refuse
from sandbox.rest.request import Call, Route
from sandbox.serializers import application_object
from sandbox.validate.commands import check_commands
from sandbox.value_types import Event, Json, Reply, without_none


def me(call: Call) -> Reply:
    return Reply(data=application_object(call.world, content_intent=call.sandbox.config.privileged_intents))


def _own(call: Call) -> None:
    if call.params["application_id"] != call.world.meta("application"):
        raise refuse("unknown_application")


def _registered(call: Call, guild_id: str | None) -> list[Json]:
    return [command for command in call.world.all("command") if command.get("guild_id") == guild_id]


def list_commands(call: Call) -> Reply:
    _own(call)
    return Reply(data=_registered(call, call.params.get("guild_id")))


def put_commands(call: Call) -> Reply:
    """Replace the whole set. A command that keeps its name and type keeps its id."""
    _own(call)
    check_commands(call.body.data)
    guild_id = call.guild()["id"] if "guild_id" in call.params else None
    old = {(c["type"], c["name"]): c for c in _registered(call, guild_id)}
    made = [_made(call, command, guild_id, old) for command in call.body.data]
    for command in old.values():
        call.world.remove("command", command["id"])
    for command in made:
        call.world.put("command", command["id"], command)
    _tell(call)
    return Reply(data=made)


def create_command(call: Call) -> Reply:
    """Add one command, or replace the one of the same name and type."""
    _own(call)
    guild_id = call.guild()["id"] if "guild_id" in call.params else None
    old = {(c["type"], c["name"]): c for c in _registered(call, guild_id)}
    key = (call.json.get("type", 1), call.json.get("name"))
    check_commands([c for name, c in old.items() if name != key] + [call.json])
    command = _made(call, call.json, guild_id, old)
    call.world.put("command", command["id"], command)
    _tell(call)
    return Reply(data=command, status=200 if key in old else 201)


def _tell(call: Call) -> None:
    """The page reads the commands again."""
    call.world.emit(Event(name="COMMANDS_UPDATE", body={}, to_bot=False))


def _made(call: Call, wanted: Json, guild_id: str | None, old: dict[tuple[int, str], Json]) -> Json:
    """A command as Discord answers it: with all defaults filled in."""
    kind = wanted.get("type", 1)
    before = old.get((kind, wanted["name"]))
    permissions = wanted.get("default_member_permissions")
    found: Json = {"id": before["id"] if before else call.world.ids.next(), "version": call.world.ids.next()}
    found |= {"application_id": call.world.meta("application"), "type": kind, "name": wanted["name"]}
    found |= {"description": wanted.get("description") or "", "nsfw": bool(wanted.get("nsfw"))}
    found |= {"default_member_permissions": None if permissions is None else str(permissions)}
    found |= {"dm_permission": bool(wanted.get("dm_permission", True))}
    found |= {"contexts": wanted.get("contexts"), "integration_types": wanted.get("integration_types") or [0]}
    for name in ("name_localizations", "description_localizations"):
        found[name] = wanted.get(name)
    if wanted.get("options"):
        found["options"] = without_none(wanted["options"])
    return found | ({"guild_id": guild_id} if guild_id else {})


def _one(call: Call) -> Json:
    _own(call)
    command = call.world.get("command", call.params["command_id"])
    if command is None or command.get("guild_id") != call.params.get("guild_id"):
        raise refuse("unknown_command")
    return command


def get_command(call: Call) -> Reply:
    return Reply(data=_one(call))


def edit_command(call: Call) -> Reply:
    command = _one(call)
    wanted = {name: value for name, value in command.items() if value is not None} | call.json
    check_commands([wanted])
    made = _made(call, wanted, command.get("guild_id"), {}) | {"id": command["id"]}
    return Reply(data=call.world.put("command", command["id"], made))


def delete_command(call: Call) -> Reply:
    call.world.remove("command", _one(call)["id"])
    return Reply(status=204)


COMMANDS = "/applications/{application_id}/commands"
GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"
ROUTES: list[Route] = [("GET", "/oauth2/applications/@me", me), ("GET", "/applications/@me", me)]
for _base in (COMMANDS, GUILD_COMMANDS):
    ROUTES += [("GET", _base, list_commands), ("PUT", _base, put_commands), ("POST", _base, create_command)]
    ROUTES += [("GET", _base + "/{command_id}", get_command), ("PATCH", _base + "/{command_id}", edit_command)]
    ROUTES += [("DELETE", _base + "/{command_id}", delete_command)]
