"""Guilds with their members, roles and channels."""

from sandbox.channels import emit_channel
from sandbox.errors import refuse
from sandbox.rest.request import RestRequest, Route
from sandbox.seed import add_channel
from sandbox.serializers import channel_object, guild_object, member_object, role_object, user_object
from sandbox.value_types import Event, Reply
from sandbox.world import TEXT, THREADS


def get_guild(request: RestRequest) -> Reply:
    guild = request.guild()
    count = len(request.world.members_of(guild["id"]))
    more = (
        {"approximate_member_count": count, "approximate_presence_count": count} if request.flag("with_counts") else {}
    )
    return Reply(data=guild_object(request.world, guild) | more)


def get_channels(request: RestRequest) -> Reply:
    channels = request.world.channels_of(request.guild()["id"])
    return Reply(data=[channel_object(request.world, c) for c in channels if c["type"] not in THREADS])


def create_channel(request: RestRequest) -> Reply:
    guild = request.guild()
    scope = next(c for c in request.world.channels_of(guild["id"]) if c["type"] == TEXT)
    if not request.world.may(request.world.bot_id, scope, "manage_channels"):
        raise refuse("missing_permissions")
    channel = add_channel(
        request.world, guild["id"], str(request.json.get("name")), nsfw=bool(request.json.get("nsfw"))
    )
    return Reply(data=emit_channel(request.world, "CREATE", channel), status=201)


def get_roles(request: RestRequest) -> Reply:
    return Reply(data=[role_object(request.world, role) for role in request.world.roles_of(request.guild()["id"])])


def get_role(request: RestRequest) -> Reply:
    guild, role = request.guild(), request.world.get("role", request.params["role_id"])
    if role is None or role["guild_id"] != guild["id"]:
        raise refuse("unknown_role")
    return Reply(data=role_object(request.world, role))


def get_member(request: RestRequest) -> Reply:
    member = request.world.member(request.guild()["id"], request.params["user_id"])
    if member is None:
        known = request.world.get("user", request.params["user_id"])
        raise refuse("unknown_member" if known else "unknown_user")
    return Reply(data=member_object(request.world, member))


def edit_me(request: RestRequest) -> Reply:
    member = request.world.member(request.guild()["id"], request.world.bot_id)
    assert member is not None
    changed = member | {"nick": request.json.get("nick")}
    request.world.put("member", f"{member['guild_id']}:{member['user_id']}", changed)
    body = member_object(request.world, changed)
    event = {
        "guild_id": member["guild_id"],
        "roles": body["roles"],
        "nick": body["nick"],
        "joined_at": body["joined_at"],
    }
    user = {"user": user_object(request.world.tables["user"][request.world.bot_id])}
    request.world.emit(Event(name="GUILD_MEMBER_UPDATE", body=event | user, guild_id=member["guild_id"]))
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
