"""Users, the bot itself, its guilds and its direct channels."""

from sandbox.channels import direct_channel
from sandbox.errors import refuse
from sandbox.guilds import leave_guild
from sandbox.permissions import base
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import channel_object, user_object
from sandbox.value_types import Reply


def me(request: RestRequest) -> Reply:
    user = user_object(request.world.tables["user"][request.world.bot_id])
    more = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
    return Reply(data=user | more)


def get_user(request: RestRequest) -> Reply:
    user = request.world.get("user", request.params["user_id"])
    if user is None:
        raise refuse("unknown_user")
    return Reply(data=user_object(user))


def open_direct(request: RestRequest) -> Reply:
    user = request.world.get("user", request.json.get("recipient_id"))
    if user is None:
        raise refuse("unknown_user")
    if user["bot"]:
        raise refuse("dms_closed")
    return Reply(data=channel_object(request.world, direct_channel(request.world, user["id"])))


def my_guilds(request: RestRequest) -> Reply:
    world = request.world
    found = []
    for guild in world.all("guild"):
        member = world.member(guild["id"], world.bot_id)
        if member:
            bits = str(base(guild, member, world.roles_of(guild["id"])))
            names = {"id": guild["id"], "name": guild["name"], "icon": None, "banner": None, "features": []}
            found.append(names | {"owner": False, "permissions": bits})
    return Reply(data=found)


def leave(request: RestRequest) -> Reply:
    leave_guild(request.world, request.guild())
    return Reply(status=204)


ROUTES: list[Route] = [
    ("GET", "/users/@me", me),
    ("GET", "/users/@me/guilds", my_guilds),
    ("POST", "/users/@me/channels", open_direct),
    ("DELETE", "/users/@me/guilds/{guild_id}", leave),
    ("GET", "/users/{user_id}", get_user),
]
