"""The application itself and its commands."""

from sandbox.errors import refuse
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import application_object
from sandbox.validate import check_commands
from sandbox.value_types import Event, Json, Reply, without_none


def me(request: RestRequest) -> Reply:
    return Reply(data=application_object(request.world, content_intent=request.sandbox.config.privileged_intents))


def _own(request: RestRequest) -> None:
    if request.params["application_id"] != request.world.meta("application"):
        raise refuse("unknown_application")


def _registered(request: RestRequest, guild_id: str | None) -> list[Json]:
    return [command for command in request.world.all("command") if command.get("guild_id") == guild_id]


def list_commands(request: RestRequest) -> Reply:
    _own(request)
    return Reply(data=_registered(request, request.params.get("guild_id")))


def put_commands(request: RestRequest) -> Reply:
    """Replace the whole set. A command that keeps its name and type keeps its id."""
    _own(request)
    check_commands(request.body.data)
    guild_id = request.guild()["id"] if "guild_id" in request.params else None
    old = {(c["type"], c["name"]): c for c in _registered(request, guild_id)}
    made = [_made(request, command, guild_id, old) for command in request.body.data]
    for command in old.values():
        request.world.remove("command", command["id"])
    for command in made:
        request.world.put("command", command["id"], command)
    _tell(request)
    return Reply(data=made)


def create_command(request: RestRequest) -> Reply:
    """Add one command, or replace the one of the same name and type."""
    _own(request)
    guild_id = request.guild()["id"] if "guild_id" in request.params else None
    old = {(c["type"], c["name"]): c for c in _registered(request, guild_id)}
    key = (request.json.get("type", 1), request.json.get("name"))
    check_commands([c for name, c in old.items() if name != key] + [request.json])
    command = _made(request, request.json, guild_id, old)
    request.world.put("command", command["id"], command)
    _tell(request)
    return Reply(data=command, status=200 if key in old else 201)


def _tell(request: RestRequest) -> None:
    """The page reads the commands again."""
    request.world.emit(Event(name="COMMANDS_UPDATE", body={}, to_bot=False))


def _made(request: RestRequest, wanted: Json, guild_id: str | None, old: dict[tuple[int, str], Json]) -> Json:
    """A command as Discord answers it: with all defaults filled in."""
    kind = wanted.get("type", 1)
    before = old.get((kind, wanted["name"]))
    permissions = wanted.get("default_member_permissions")
    found: Json = {"id": before["id"] if before else request.world.ids.next(), "version": request.world.ids.next()}
    found |= {"application_id": request.world.meta("application"), "type": kind, "name": wanted["name"]}
    found |= {"description": wanted.get("description") or "", "nsfw": bool(wanted.get("nsfw"))}
    found |= {"default_member_permissions": None if permissions is None else str(permissions)}
    found |= {"dm_permission": bool(wanted.get("dm_permission", True))}
    found |= {"contexts": wanted.get("contexts"), "integration_types": wanted.get("integration_types") or [0]}
    for name in ("name_localizations", "description_localizations"):
        found[name] = wanted.get(name)
    if wanted.get("options"):
        found["options"] = without_none(wanted["options"])
    return found | ({"guild_id": guild_id} if guild_id else {})


def _one(request: RestRequest) -> Json:
    _own(request)
    command = request.world.get("command", request.params["command_id"])
    if command is None or command.get("guild_id") != request.params.get("guild_id"):
        raise refuse("unknown_command")
    return command


def get_command(request: RestRequest) -> Reply:
    return Reply(data=_one(request))


def edit_command(request: RestRequest) -> Reply:
    command = _one(request)
    wanted = {name: value for name, value in command.items() if value is not None} | request.json
    check_commands([wanted])
    made = _made(request, wanted, command.get("guild_id"), {}) | {"id": command["id"]}
    return Reply(data=request.world.put("command", command["id"], made))


def delete_command(request: RestRequest) -> Reply:
    request.world.remove("command", _one(request)["id"])
    return Reply(status=204)


COMMANDS = "/applications/{application_id}/commands"
GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"
ROUTES: list[Route] = [("GET", "/oauth2/applications/@me", me), ("GET", "/applications/@me", me)]
for _base in (COMMANDS, GUILD_COMMANDS):
    ROUTES += [("GET", _base, list_commands), ("PUT", _base, put_commands), ("POST", _base, create_command)]
    ROUTES += [("GET", _base + "/{command_id}", get_command), ("PATCH", _base + "/{command_id}", edit_command)]
    ROUTES += [("DELETE", _base + "/{command_id}", delete_command)]
