"""Guilds with their members, roles and channels."""

from sandbox.errors import refuse
from sandbox.rest.channels import told
from sandbox.rest.request import Call, Route
from sandbox.seed import add_channel
from sandbox.serializers import channel_object, guild_object, member_object, role_object, user_object
from sandbox.value_types import Event, Json, Reply
from sandbox.world import TEXT, THREADS, World


def leave(world: World, guild: Json) -> None:
    """The bot leaves a guild: its member and its own role go, and it is told."""
    world.remove("member", f"{guild['id']}:{world.bot_id}")
    for role in world.roles_of(guild["id"]):
        if role["managed"]:
            world.remove("role", role["id"])
    world.emit(Event(name="GUILD_DELETE", body={"id": guild["id"]}, guild_id=guild["id"]))


def get_guild(call: Call) -> Reply:
    guild = call.guild()
    count = len(call.world.members_of(guild["id"]))
    more = {"approximate_member_count": count, "approximate_presence_count": count} if call.flag("with_counts") else {}
    return Reply(data=guild_object(call.world, guild) | more)


def get_channels(call: Call) -> Reply:
    channels = call.world.channels_of(call.guild()["id"])
    return Reply(data=[channel_object(call.world, c) for c in channels if c["type"] not in THREADS])


def create_channel(call: Call) -> Reply:
    guild = call.guild()
    scope = next(c for c in call.world.channels_of(guild["id"]) if c["type"] == TEXT)
    if not call.world.may(call.world.bot_id, scope, "manage_channels"):
        raise refuse("missing_permissions")
    channel = add_channel(call.world, guild["id"], str(call.json.get("name")), nsfw=bool(call.json.get("nsfw")))
    return Reply(data=told(call.world, "CREATE", channel), status=201)


def get_roles(call: Call) -> Reply:
    return Reply(data=[role_object(call.world, role) for role in call.world.roles_of(call.guild()["id"])])


def get_role(call: Call) -> Reply:
    guild, role = call.guild(), call.world.get("role", call.params["role_id"])
    if role is None or role["guild_id"] != guild["id"]:
        raise refuse("unknown_role")
    return Reply(data=role_object(call.world, role))


def get_member(call: Call) -> Reply:
    member = call.world.member(call.guild()["id"], call.params["user_id"])
    if member is None:
        known = call.world.get("user", call.params["user_id"])
        raise refuse("unknown_member" if known else "unknown_user")
    return Reply(data=member_object(call.world, member))


def edit_me(call: Call) -> Reply:
    member = call.world.member(call.guild()["id"], call.world.bot_id)
    assert member is not None
    changed = member | {"nick": call.json.get("nick")}
    call.world.put("member", f"{member['guild_id']}:{member['user_id']}", changed)
    body = member_object(call.world, changed)
    event = {
        "guild_id": member["guild_id"],
        "roles": body["roles"],
        "nick": body["nick"],
        "joined_at": body["joined_at"],
    }
    user = {"user": user_object(call.world.tables["user"][call.world.bot_id])}
    call.world.emit(Event(name="GUILD_MEMBER_UPDATE", body=event | user, guild_id=member["guild_id"]))
    return Reply(data=body)


ROUTES: list[Route] = [
    ("GET", "/guilds/{guild_id}", get_guild),
    ("GET", "/guilds/{guild_id}/channels", get_channels),
    ("POST", "/guilds/{guild_id}/channels", create_channel),
    ("GET", "/guilds/{guild_id}/roles", get_roles),
    ("GET", "/guilds/{guild_id}/roles/{role_id}", get_role),
    ("PATCH", "/guilds/{guild_id}/members/@me", edit_me),
    ("GET", "/guilds/{guild_id}/members/{user_id}", get_member),
]
