"""GET state: all that a client shows besides messages."""

from typing import Any

from sandbox.control.request import ControlRequest, Route
from sandbox.value_types import Json
from sandbox.world import DM, PRIVATE_THREAD, THREADS, World


async def get_state(request: ControlRequest) -> Any:
    """Beyond the documented fields: the application has `draws` (words about its model, where they are known), members
    have bot and dms_open, and `direct` lists the open direct channels."""
    world = request.world
    application = {
        "id": world.meta("application"),
        "name": world.meta("name"),
        "online": request.sandbox.gateway.online,
        "draws": request.sandbox.config.draws,
    }
    direct = [channel_state(world, c) for c in world.all("channel") if c["type"] == DM]
    guilds = [guild_state(world, guild) for guild in world.all("guild")]
    return {"application": application, "guilds": guilds, "direct": direct, "commands": world.all("command")}


def guild_state(world: World, guild: Json) -> Json:
    found: Json = {"id": guild["id"], "name": guild["name"], "owner": guild["owner_id"]}
    found["roles"] = [role_state(role) for role in world.roles_of(guild["id"])]
    found["channels"] = [channel_state(world, channel) for channel in world.channels_of(guild["id"])]
    found["members"] = [member_state(world, member) for member in world.members_of(guild["id"])]
    return found


def role_state(role: Json) -> Json:
    return {"id": role["id"], "name": role["name"].lstrip("@"), "permissions": role["permissions"]}


def channel_state(world: World, channel: Json) -> Json:
    kind = "dm" if channel["type"] == DM else "thread" if channel["type"] in THREADS else "text"
    found: Json = {"id": channel["id"], "name": channel["name"], "type": kind, "nsfw": channel["nsfw"]}
    found |= {"parent": channel["parent_id"], "guild": channel["guild_id"]}
    if kind == "dm":
        found |= {"user": channel["recipient_id"], "name": world.tables["user"][channel["recipient_id"]]["global_name"]}
    if kind == "thread":
        found |= {"archived": channel["archived"], "locked": channel["locked"]}
        found |= {"private": channel["type"] == PRIVATE_THREAD, "members": channel.get("members", [])}
    return found


def member_state(world: World, member: Json) -> Json:
    user = world.tables["user"][member["user_id"]]
    found: Json = {"id": user["id"], "name": user["global_name"], "roles": list(member["roles"])}
    return found | {"bot": user["bot"], "dms_open": user["dms_open"], "nick": member["nick"]}


ROUTES: list[Route] = [("GET", "/state", get_state)]
