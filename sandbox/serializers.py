"""Turns records into Discord's objects. Pure reading of the world; decides nothing."""

from sandbox.clock import born_at, iso
from sandbox.value_types import Json
from sandbox.world import DM, THREADS, World

MESSAGE_CONTENT_LIMITED = 1 << 19
# Fields of a guild that a sandbox has no use for.
NOTHING = """
icon description home_header splash discovery_splash banner application_id afk_channel_id system_channel_id
widget_channel_id vanity_url_code rules_channel_id safety_alerts_channel_id public_updates_channel_id incidents_data
"""
ZERO = """
system_channel_flags verification_level mfa_level explicit_content_filter premium_tier nsfw_level
premium_subscription_count default_message_notifications
"""


def user_object(user: Json) -> Json:
    found: Json = {"id": user["id"], "username": user["username"], "global_name": user["global_name"], "avatar": None}
    found |= {"discriminator": "0001" if user["bot"] else "0", "public_flags": 0, "flags": 0, "primary_guild": None}
    found |= {"banner": None, "accent_color": None, "avatar_decoration_data": None, "collectibles": None}
    return found | ({"bot": True} if user["bot"] else {})


def member_object(world: World, member: Json, *, with_user: bool = True) -> Json:
    found: Json = {"nick": member["nick"], "roles": list(member["roles"]), "joined_at": iso(member["joined"])}
    found |= {"avatar": None, "banner": None, "communication_disabled_until": None, "flags": 0, "pending": False}
    found |= {"premium_since": None, "mute": False, "deaf": False}
    user = world.tables["user"][member["user_id"]]
    return found | ({"user": user_object(user)} if with_user else {})


def role_object(world: World, role: Json) -> Json:
    found: Json = {name: role[name] for name in ("id", "name", "permissions", "position", "managed")}
    found |= {"color": 0, "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}}
    found |= {"hoist": False, "mentionable": False, "icon": None, "unicode_emoji": None, "flags": 0}
    return found | ({"tags": {"bot_id": world.bot_id}} if role["managed"] else {})


def channel_object(world: World, channel: Json) -> Json:
    last = world.by_channel.get(channel["id"])
    found: Json = {
        "id": channel["id"],
        "type": channel["type"],
        "flags": 0,
        "last_message_id": last[-1] if last else None,
    }
    if channel["type"] == DM:
        return found | {"recipients": [user_object(world.tables["user"][channel["recipient_id"]])]}
    found |= {"guild_id": channel["guild_id"], "name": channel["name"], "parent_id": channel["parent_id"]}
    found |= {"rate_limit_per_user": 0}
    if channel["type"] in THREADS:
        return found | _thread_fields(world, channel)
    found |= {"position": channel["position"], "nsfw": channel["nsfw"], "topic": channel.get("topic")}
    return found | {"permission_overwrites": list(channel["overwrites"])}


def _thread_fields(world: World, channel: Json) -> Json:
    count = len(world.by_channel.get(channel["id"], []))
    times = {"archive_timestamp": iso(born_at(channel["id"])), "create_timestamp": iso(born_at(channel["id"]))}
    state = {"archived": channel["archived"], "locked": channel["locked"], "auto_archive_duration": 1440}
    members = len(channel.get("members", []))
    counts = {"message_count": count, "total_message_sent": count, "member_count": members}
    return {"owner_id": channel["owner_id"], "thread_metadata": times | state, **counts}


def thread_member(thread: Json, user_id: str, joined: float) -> Json:
    return {"id": thread["id"], "user_id": user_id, "join_timestamp": iso(joined), "flags": 0}


def partial_channel(world: World, channel: Json, user_id: str) -> Json:
    """A channel inside an interaction: with the permissions that the user has there."""
    return channel_object(world, channel) | {"permissions": str(world.allowed(user_id, channel))}


def guild_object(world: World, guild: Json) -> Json:
    found: Json = {"id": guild["id"], "name": guild["name"], "owner_id": guild["owner_id"], "preferred_locale": "en-US"}
    found |= dict.fromkeys(NOTHING.split()) | dict.fromkeys(ZERO.split(), 0)
    found |= {"region": "deprecated", "afk_timeout": 300, "widget_enabled": False, "nsfw": False}
    found |= {"max_presences": None, "max_members": 500_000, "max_stage_video_channel_users": 50}
    found |= {"max_video_channel_users": 25, "premium_progress_bar_enabled": False}
    roles = [role_object(world, role) for role in world.roles_of(guild["id"])]
    return found | {"features": [], "emojis": [], "stickers": [], "roles": roles}


def guild_create(world: World, guild: Json, *, joined: bool = False) -> Json:
    """What the gateway tells of a guild: all channels, even hidden ones; of the members, as without the members intent,
    only the bot itself. A guild that it just joined has no word about being available."""
    bot = world.member(guild["id"], world.bot_id)
    channels = world.channels_of(guild["id"])
    empty: Json = {name: [] for name in ["presences", "voice_states", "stage_instances", "guild_scheduled_events"]}
    found = guild_object(world, guild) | empty | {"soundboard_sounds": [], "large": False}
    found |= {} if joined else {"unavailable": False}
    found |= {"joined_at": iso(bot["joined"]) if bot else None, "member_count": len(world.members_of(guild["id"]))}
    found["members"] = [member_object(world, bot)] if bot else []
    found["channels"] = [channel_object(world, c) for c in channels if c["type"] not in THREADS]
    found["threads"] = [channel_object(world, c) for c in channels if c["type"] in THREADS and not c["archived"]]
    return found


def application_object(world: World, *, content_intent: bool) -> Json:
    name, bot = world.meta("name"), world.tables["user"][world.bot_id]
    owner = (
        world.tables["user"][world.tables["guild"][world.meta("guild")]["owner_id"]] if world.tables["guild"] else bot
    )
    found: Json = {"id": world.meta("application"), "name": name, "icon": None, "description": "", "type": None}
    flags = MESSAGE_CONTENT_LIMITED if content_intent else 0
    found |= {"bot": user_object(bot), "owner": user_object(owner), "team": None, "verify_key": "0" * 64}
    found |= {
        "bot_public": True,
        "bot_require_code_grant": False,
        "flags": flags,
        "flags_new": str(flags),
        "summary": "",
    }
    found |= {"redirect_uris": [], "interactions_endpoint_url": None, "role_connections_verification_url": None}
    guilds = sum(1 for m in world.tables["member"].values() if m["user_id"] == world.bot_id)
    found |= {"approximate_guild_count": guilds, "approximate_user_install_count": 0, "eligible_oauth2_scopes": []}
    found |= {"approximate_user_authorization_count": 0, "explicit_content_filter": 0, "tags": []}
    contexts = {
        "0": {"oauth2_install_params": {"scopes": ["bot", "applications.commands"], "permissions": "0"}},
        "1": {},
    }
    return found | {"integration_types_config": contexts}
