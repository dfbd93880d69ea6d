"""Users, the bot itself, its guilds and its direct channels."""

from sandbox.errors import refuse
from sandbox.permissions import base
from sandbox.rest.guilds import leave
from sandbox.rest.request import Call, Route
from sandbox.seed import add_channel
from sandbox.serializers import channel_object, user_object
from sandbox.value_types import Json, Reply
from sandbox.world import DM, World


def me(call: Call) -> Reply:
    user = user_object(call.world.tables["user"][call.world.bot_id])
    more = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
    return Reply(data=user | more)


def get_user(call: Call) -> Reply:
    user = call.world.get("user", call.params["user_id"])
    if user is None:
        raise refuse("unknown_user")
    return Reply(data=user_object(user))


def direct_channel(world: World, user_id: str) -> Json:
    """The direct channel with a person, opened if need be. Opening never fails; sending may."""
    return world.direct_channel(user_id) or add_channel(world, None, "", kind=DM, recipient_id=user_id)


def open_direct(call: Call) -> Reply:
    user = call.world.get("user", call.json.get("recipient_id"))
    if user is None:
        raise refuse("unknown_user")
    if user["bot"]:
        raise refuse("dms_closed")
    return Reply(data=channel_object(call.world, direct_channel(call.world, user["id"])))


def my_guilds(call: Call) -> Reply:
    world = call.world
    found = []
    for guild in world.all("guild"):
        member = world.member(guild["id"], world.bot_id)
        if member:
            bits = str(base(guild, member, world.roles_of(guild["id"])))
            names = {"id": guild["id"], "name": guild["name"], "icon": None, "banner": None, "features": []}
            found.append(names | {"owner": False, "permissions": bits})
    return Reply(data=found)


def leave_guild(call: Call) -> Reply:
    leave(call.world, call.guild())
    return Reply(status=204)


ROUTES: list[Route] = [
    ("GET", "/users/@me", me),
    ("GET", "/users/@me/guilds", my_guilds),
    ("POST", "/users/@me/channels", open_direct),
    ("DELETE", "/users/@me/guilds/{guild_id}", leave_guild),
    ("GET", "/users/{user_id}", get_user),
]
