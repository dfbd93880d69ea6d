"""Guilds, channels, members and roles: made, changed and deleted as their owner would.

Permissions are a number, its digits, or a list of names such as ["send_messages"]. Besides the documented fields:
`channels` take `permissions: {role or member: {allow, deny}}` (overwrites; null removes one), `archived`, `locked`;
threads take `members` (whoever opened it is one), which makes a new one private;
`members` take `nick`, and `permissions`, which gives one member exactly these in every channel of the guild (as
overwrites, so that the bot reads the same from its own cache); a new guild takes `owner` and `bot: false`.
"""

from typing import Any

from sandbox import permissions
from sandbox.channels import direct_channel, emit_channel, open_thread, remove_channel
from sandbox.control.request import ControlRequest, Route, is_thread
from sandbox.control.state import channel_state, guild_state, member_state, role_state
from sandbox.errors import ControlError
from sandbox.guilds import leave_guild
from sandbox.seed import add_channel, add_guild, add_member, add_role, add_user, invite_bot
from sandbox.serializers import guild_create, member_object, role_object, user_object
from sandbox.value_types import Event, Json
from sandbox.world import DM, PRIVATE_THREAD, PUBLIC_THREAD, World


def _bits(value: Any) -> int:
    try:
        return permissions.parse(value)
    except ValueError as error:
        raise ControlError("bad_permissions", f"{error}.") from None


def _only(request: ControlRequest, *names: str) -> None:
    if unknown := set(request.body) - set(names):
        raise ControlError("unknown_field", f"This call does not take {', '.join(sorted(unknown))}.")


# Guilds


async def create_guild(request: ControlRequest) -> Any:
    """A guild with a channel `general`; all who are in the first guild join it, and the bot unless `bot` is false."""
    _only(request, "name", "owner", "bot")
    world, name = request.world, str(request.need("name"))
    if any(guild["name"] == name for guild in world.all("guild")):
        raise ControlError("name_taken", f"There is already a guild {name}.")
    first = request.guild(world.meta("guild"))
    owner = request.user(request.body.get("owner") or first["owner_id"])
    guild = add_guild(world, name, owner_id=owner["id"])
    add_channel(world, guild["id"], "general")
    for member in world.members_of(first["id"]):
        if member["user_id"] != world.bot_id:
            add_member(world, guild["id"], member["user_id"], [])
    if request.body.get("bot", True):
        invite_bot(world, guild["id"])
        world.emit(Event(name="GUILD_CREATE", body=guild_create(world, guild, joined=True), guild_id=guild["id"]))
    return guild_state(world, guild)


async def edit_guild(request: ControlRequest) -> Any:
    _only(request, "name", "owner")
    guild = request.guild(request.params["id"])
    changed = guild | {"name": str(request.body.get("name", guild["name"]))}
    if "owner" in request.body:
        changed["owner_id"] = request.user(request.body["owner"])["id"]
    request.world.put("guild", guild["id"], changed)
    body = {
        k: v for k, v in guild_create(request.world, changed).items() if k not in ("channels", "threads", "members")
    }
    request.world.emit(Event(name="GUILD_UPDATE", body=body, guild_id=guild["id"]))
    return guild_state(request.world, changed)


async def delete_guild(request: ControlRequest) -> Any:
    world, guild = request.world, request.guild(request.params["id"])
    if guild["id"] == world.meta("guild"):
        raise ControlError("first_guild", "The first guild cannot be deleted; reset brings back the starting world.")
    found = guild_state(world, guild)
    if world.member(guild["id"], world.bot_id):
        world.emit(Event(name="GUILD_DELETE", body={"id": guild["id"]}, guild_id=guild["id"]))
    for channel in world.channels_of(guild["id"]):
        for record in list(world.messages_in(channel["id"])):
            world.remove("message", record["id"])
        world.remove("channel", channel["id"])
    for member in world.members_of(guild["id"]):
        world.remove("member", f"{guild['id']}:{member['user_id']}")
    for role in world.roles_of(guild["id"]):
        world.remove("role", role["id"])
    world.remove("guild", guild["id"])
    return found


# Channels


async def create_channel(request: ControlRequest) -> Any:
    _only(request, "name", "guild", "type", "parent", "nsfw", "permissions", "as", "members")
    world, kind = request.world, request.body.get("type", "text")
    if kind == "dm":
        return channel_state(
            world, direct_channel(world, request.person(request.body.get("as") or request.need("name"))["id"])
        )
    guild, name = request.guild(), str(request.need("name"))
    if any(channel["name"] == name for channel in world.channels_of(guild["id"])):
        raise ControlError("name_taken", f"There is already a channel {name}.")
    if kind == "thread":
        parent = request.channel(request.need("parent"))
        owner = request.person()["id"] if "as" in request.body else guild["owner_id"]
        kind = PRIVATE_THREAD if "members" in request.body else PUBLIC_THREAD
        thread = open_thread(world, parent, name, owner_id=owner, kind=kind)
        return channel_state(world, _with_members(request, thread))
    if kind != "text":
        raise ControlError("bad_type", "type must be text, thread or dm.")
    channel = add_channel(world, guild["id"], name, nsfw=bool(request.body.get("nsfw")))
    channel = _with_overwrites(request, guild, channel)
    world.put("channel", channel["id"], channel)
    emit_channel(world, "CREATE", channel)
    return channel_state(world, channel)


async def edit_channel(request: ControlRequest) -> Any:
    _only(request, "name", "nsfw", "parent", "archived", "locked", "permissions", "topic", "guild", "members")
    channel = request.channel(request.params["id"])
    if channel["type"] == DM:
        raise ControlError("bad_type", "A direct channel cannot be changed; change the member's dms_open.")
    fields = {n: request.body[n] for n in ("name", "nsfw", "archived", "locked", "topic") if n in request.body}
    guild = request.guild(channel["guild_id"])
    changed = _with_members(request, _with_overwrites(request, guild, channel | fields))
    emit_channel(request.world, "UPDATE", request.world.put("channel", channel["id"], changed))
    return channel_state(request.world, changed)


def _with_members(request: ControlRequest, channel: Json) -> Json:
    """A thread with the people that are named and who opened it, where any are named."""
    if "members" not in request.body:
        return channel
    named = [str(request.user(who)["id"]) for who in request.body["members"]]
    inside = list(dict.fromkeys([channel["owner_id"], *named]))
    return request.world.put("channel", channel["id"], channel | {"thread_members": inside})


def _with_overwrites(request: ControlRequest, guild: Json, channel: Json) -> Json:
    for who, wanted in (request.body.get("permissions") or {}).items():
        key, kind = _role_or_member(request, guild, who)
        others = [entry for entry in channel["overwrites"] if entry["id"] != key]
        if wanted is not None:
            allow, deny = _bits(wanted.get("allow", 0)), _bits(wanted.get("deny", 0))
            others.append({"id": key, "type": kind, "allow": str(allow), "deny": str(deny)})
        channel = channel | {"overwrites": others}
    return channel


def _role_or_member(request: ControlRequest, guild: Json, who: str) -> tuple[str, int]:
    """A role (0) or a member (1); a member's name comes first, as the bot's own role is called like the bot."""
    try:
        return str(request.user(who)["id"]), 1
    except ControlError:
        return str(request.role(who, guild)["id"]), 0


async def delete_channel(request: ControlRequest) -> Any:
    channel = request.channel(request.params["id"])
    found = channel_state(request.world, channel)
    remove_channel(request.world, channel)
    return found


# Members


def _tell_member(world: World, verb: str, member: Json) -> None:
    body = member_object(world, member) | {"guild_id": member["guild_id"]}
    world.emit(Event(name=f"GUILD_MEMBER_{verb}", body=body, guild_id=member["guild_id"]))


async def create_member(request: ControlRequest) -> Any:
    """A new person, or a known one (or the bot) in one more guild."""
    _only(request, "name", "guild", "roles", "dms_open")
    world, guild, name = request.world, request.guild(), str(request.need("name"))
    known = next((u for u in world.all("user") if name.lower() in (u["username"], u["global_name"].lower())), None)
    user = known or add_user(world, name, dms_open=bool(request.body.get("dms_open", True)))
    if world.member(guild["id"], user["id"]):
        raise ControlError("name_taken", f"{name} is already a member.")
    if user["bot"]:
        member = invite_bot(world, guild["id"])
        world.emit(Event(name="GUILD_CREATE", body=guild_create(world, guild, joined=True), guild_id=guild["id"]))
        return member_state(world, member)
    roles = [request.role(key, guild)["id"] for key in request.body.get("roles") or []]
    member = add_member(world, guild["id"], user["id"], roles)
    _tell_member(world, "ADD", member)
    return member_state(world, member)


def _member(request: ControlRequest) -> Json:
    user, guild = request.user(request.params["id"]), request.guild()
    member = request.world.member(guild["id"], user["id"])
    if member is None:
        raise ControlError("unknown_member", f"{user['global_name']} is not in {guild['name']}.", status=404)
    return member


async def edit_member(request: ControlRequest) -> Any:
    _only(request, "roles", "nick", "dms_open", "permissions", "guild")
    world, member = request.world, _member(request)
    guild = request.guild(member["guild_id"])
    if "dms_open" in request.body:
        user = world.tables["user"][member["user_id"]]
        world.put("user", user["id"], user | {"dms_open": bool(request.body["dms_open"])})
    changed = dict(member)
    if "nick" in request.body:
        changed["nick"] = request.body["nick"]
    if "roles" in request.body:
        changed["roles"] = [request.role(key, guild)["id"] for key in request.body["roles"]]
    if changed != member:
        _tell_member(world, "UPDATE", world.put("member", f"{guild['id']}:{member['user_id']}", changed))
    if "permissions" in request.body:
        _exactly(world, guild, member["user_id"], _bits(request.body["permissions"]))
    return member_state(world, changed)


def _exactly(world: World, guild: Json, user_id: str, bits: int) -> None:
    """Give a member exactly these permissions in every channel."""
    entry = {"id": user_id, "type": 1, "allow": str(bits), "deny": str(permissions.ALL & ~bits)}
    for channel in world.channels_of(guild["id"]):
        if not is_thread(channel):
            others = [other for other in channel["overwrites"] if other["id"] != user_id]
            changed = world.put("channel", channel["id"], channel | {"overwrites": [*others, entry]})
            emit_channel(world, "UPDATE", changed)


async def delete_member(request: ControlRequest) -> Any:
    """A person leaves or is thrown out; the bot itself is removed from the guild."""
    world, member = request.world, _member(request)
    found = member_state(world, member)
    if member["user_id"] == world.bot_id:
        leave_guild(world, request.guild(member["guild_id"]))
        return found
    world.remove("member", f"{member['guild_id']}:{member['user_id']}")
    body = {"guild_id": member["guild_id"], "user": user_object(world.tables["user"][member["user_id"]])}
    world.emit(Event(name="GUILD_MEMBER_REMOVE", body=body, guild_id=member["guild_id"]))
    return found


# Roles


def _tell_role(world: World, verb: str, role: Json) -> None:
    body = {"guild_id": role["guild_id"], "role": role_object(world, role)}
    world.emit(Event(name=f"GUILD_ROLE_{verb}", body=body, guild_id=role["guild_id"]))


async def create_role(request: ControlRequest) -> Any:
    _only(request, "name", "guild", "permissions")
    guild, name = request.guild(), str(request.need("name"))
    if any(role["name"] == name for role in request.world.roles_of(guild["id"])):
        raise ControlError("name_taken", f"There is already a role {name}.")
    role = add_role(request.world, guild["id"], name, _bits(request.body.get("permissions", 0)))
    _tell_role(request.world, "CREATE", role)
    return role_state(role)


async def edit_role(request: ControlRequest) -> Any:
    _only(request, "name", "guild", "permissions")
    role = request.role(request.params["id"], request.guild())
    changed = role | {"name": str(request.body.get("name", role["name"]))}
    if "permissions" in request.body:
        changed["permissions"] = str(_bits(request.body["permissions"]))
    _tell_role(request.world, "UPDATE", request.world.put("role", role["id"], changed))
    return role_state(changed)


async def delete_role(request: ControlRequest) -> Any:
    world, guild = request.world, request.guild()
    role = request.role(request.params["id"], guild)
    if role["id"] == guild["id"]:
        raise ControlError("role_stays", "The everyone role cannot be deleted.")
    for member in world.members_of(guild["id"]):
        if role["id"] in member["roles"]:
            roles = [key for key in member["roles"] if key != role["id"]]
            _tell_member(
                world, "UPDATE", world.put("member", f"{guild['id']}:{member['user_id']}", member | {"roles": roles})
            )
    world.remove("role", role["id"])
    body = {"guild_id": guild["id"], "role_id": role["id"]}
    world.emit(Event(name="GUILD_ROLE_DELETE", body=body, guild_id=guild["id"]))
    return role_state(role)


ROUTES: list[Route] = [
    ("POST", "/guilds", create_guild),
    ("PATCH", "/guilds/{id}", edit_guild),
    ("DELETE", "/guilds/{id}", delete_guild),
    ("POST", "/channels", create_channel),
    ("PATCH", "/channels/{id}", edit_channel),
    ("DELETE", "/channels/{id}", delete_channel),
    ("POST", "/members", create_member),
    ("PATCH", "/members/{id}", edit_member),
    ("DELETE", "/members/{id}", delete_member),
    ("POST", "/roles", create_role),
    ("PATCH", "/roles/{id}", edit_role),
    ("DELETE", "/roles/{id}", delete_role),
]
