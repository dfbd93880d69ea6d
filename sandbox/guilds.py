"""What happens to guilds from both sides, the bot's and a person's. Checks no permissions: callers have."""

from sandbox.value_types import Event, Json
from sandbox.world import World


def leave_guild(world: World, guild: Json) -> None:
    """The bot leaves a guild: its member and its own role go, and it is told."""
    world.remove("member", f"{guild['id']}:{world.bot_id}")
    for role in world.roles_of(guild["id"]):
        if role["managed"]:
            world.remove("role", role["id"])
    world.emit(Event(name="GUILD_DELETE", body={"id": guild["id"]}, guild_id=guild["id"]))
