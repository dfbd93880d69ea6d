"""Makes the world that a sandbox starts with: one guild, three channels, four people, the bot. Knows no requests."""

from sandbox import permissions
from sandbox.value_types import Json
from sandbox.world import TEXT, World

PEOPLE = ("alice", "bob", "carol", "dave")


def seed(world: World, name: str, *, bot_id: str | None = None) -> None:
    """Fill an empty world and commit it."""
    bot = bot_id or world.ids.next()
    for key, value in (("application", bot), ("bot", bot), ("name", name), ("base", world.base)):
        world.put("meta", key, {"value": value})
    add_user(world, name, user_id=bot, bot=True)
    users = {person: add_user(world, person)["id"] for person in PEOPLE}
    guild = add_guild(world, "Postcard Club", owner_id=users["alice"])
    world.put("meta", "guild", {"value": guild["id"]})
    moderator = add_role(world, guild["id"], "moderator", _bits("manage_messages", "kick_members", "moderate_members"))
    booster = add_role(world, guild["id"], "booster", 0)
    for channel in ("general", "gallery", "nsfw"):
        add_channel(world, guild["id"], channel, nsfw=channel == "nsfw")
    roles = {"bob": [moderator["id"]], "carol": [booster["id"]]}
    for person, user_id in users.items():
        add_member(world, guild["id"], user_id, roles.get(person, []))
    invite_bot(world, guild["id"])
    world.commit()


def _bits(*names: str) -> int:
    return sum(permissions.BIT[name] for name in names)


def add_user(world: World, name: str, *, user_id: str | None = None, bot: bool = False, dms_open: bool = True) -> Json:
    key = user_id or world.ids.next()
    user = {
        "id": key,
        "username": name.lower().replace(" ", "_"),
        "global_name": name,
        "bot": bot,
        "dms_open": dms_open,
    }
    return world.put("user", key, user)


def add_guild(world: World, name: str, *, owner_id: str) -> Json:
    """A guild with its role for everyone, which shares its id."""
    key = world.ids.next()
    guild = world.put("guild", key, {"id": key, "name": name, "owner_id": owner_id})
    role = {"id": key, "guild_id": key, "name": "@everyone", "position": 0, "managed": False}
    world.put("role", key, role | {"permissions": str(permissions.EVERYONE)})
    return guild


def add_role(world: World, guild_id: str, name: str, bits: int, *, managed: bool = False) -> Json:
    key = world.ids.next()
    role = {"id": key, "guild_id": guild_id, "name": name, "permissions": str(bits), "managed": managed}
    return world.put("role", key, role | {"position": len(world.roles_of(guild_id))})


def add_channel(
    world: World, guild_id: str | None, name: str, *, kind: int = TEXT, key: str | None = None, **fields: object
) -> Json:
    key = key or world.ids.next()
    channel: Json = {"id": key, "guild_id": guild_id, "type": kind, "name": name, "nsfw": False, "parent_id": None}
    channel |= {"overwrites": [], "recipient_id": None, "owner_id": None, "archived": False, "locked": False}
    channel["position"] = len(world.channels_of(guild_id)) if guild_id else 0
    return world.put("channel", key, channel | fields)


def add_member(world: World, guild_id: str, user_id: str, roles: list[str]) -> Json:
    member: Json = {"guild_id": guild_id, "user_id": user_id, "roles": roles, "nick": None}
    return world.put("member", f"{guild_id}:{user_id}", member | {"joined": world.clock.now()})


def invite_bot(world: World, guild_id: str) -> Json:
    """The bot joins with a role of its own, as an invite link with permissions makes it."""
    name = world.meta("name")
    role = add_role(world, guild_id, name, permissions.EVERYONE, managed=True)
    return add_member(world, guild_id, world.bot_id, [role["id"]])
