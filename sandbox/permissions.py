"""Who may do what where, by roles and overwrites. Pure: works on plain records, knows nothing of requests."""

from collections.abc import Iterable

from sandbox.value_types import Json

# In the order of their bits.
_WORDS = """
create_instant_invite kick_members ban_members administrator manage_channels manage_guild add_reactions view_audit_log
priority_speaker stream view_channel send_messages send_tts_messages manage_messages embed_links attach_files
read_message_history mention_everyone use_external_emojis view_guild_insights connect speak mute_members deafen_members
move_members use_vad change_nickname manage_nicknames manage_roles manage_webhooks manage_expressions
use_application_commands request_to_speak manage_events manage_threads create_public_threads create_private_threads
use_external_stickers send_messages_in_threads use_embedded_activities moderate_members
view_creator_monetization_analytics use_soundboard create_expressions create_events use_external_sounds
send_voice_messages _47 _48 send_polls use_external_apps pin_messages bypass_slowmode
"""
NAMES = _WORDS.split()
BIT = {name: 1 << place for place, name in enumerate(NAMES)}
ALL = sum(bit for name, bit in BIT.items() if not name.startswith("_"))
_GIVEN_TO_ALL = """
view_channel send_messages embed_links attach_files read_message_history add_reactions use_external_emojis
use_application_commands create_public_threads create_private_threads send_messages_in_threads change_nickname
connect speak stream use_vad use_external_apps send_voice_messages send_polls create_instant_invite
"""
EVERYONE = sum(BIT[name] for name in _GIVEN_TO_ALL.split())
# What a person's direct channel with the bot allows both of them.
DIRECT = EVERYONE & ~sum(BIT[n] for n in ("create_public_threads", "create_private_threads", "change_nickname"))


def base(guild: Json, member: Json, roles: Iterable[Json]) -> int:
    """Permissions in the guild as a whole: of everyone and of the member's roles; owner and administrator have all."""
    if guild["owner_id"] == member["user_id"]:
        return ALL
    mine = {guild["id"], *member["roles"]}
    found = 0
    for role in roles:
        if role["id"] in mine:
            found |= int(role["permissions"])
    return ALL if found & BIT["administrator"] else found


def in_channel(guild: Json, member: Json, roles: Iterable[Json], channel: Json) -> int:
    """Permissions in a channel; a thread's caller passes its parent. Without view_channel nothing is left."""
    found = base(guild, member, roles)
    if found == ALL:
        return ALL
    written = {entry["id"]: entry for entry in channel.get("overwrites", [])}
    if everyone := written.get(guild["id"]):
        found = found & ~int(everyone["deny"]) | int(everyone["allow"])
    deny = allow = 0
    for role_id in member["roles"]:
        if entry := written.get(role_id):
            deny, allow = deny | int(entry["deny"]), allow | int(entry["allow"])
    found = found & ~deny | allow
    if own := written.get(member["user_id"]):
        found = found & ~int(own["deny"]) | int(own["allow"])
    return found if found & BIT["view_channel"] else 0


def parse(value: object) -> int:
    """Permissions as a person writes them: a number, its digits, or a list of names. ValueError when it is neither."""
    if isinstance(value, list | tuple):
        unknown = [name for name in value if name not in BIT]
        if unknown:
            raise ValueError(f"unknown permissions: {', '.join(map(str, unknown))}")
        return sum(BIT[name] for name in set(value))
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("permissions are a number, its digits, or a list of names")
    return int(value) & ALL
