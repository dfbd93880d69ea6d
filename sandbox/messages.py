"""Makes, changes and shows messages. Checks no permissions and no limits: its callers have done that.

A message record: id, channel_id, guild_id, author_id, type, content, at, edited_at, flags, embeds, attachments,
components, mentions and mention_roles (ids), mention_everyone, nonce, reference, reactions (emoji: user ids),
visible_to (for ephemeral ones), interaction_id and metadata (for answers), edits (count), thread_id.
"""

import re
from typing import Any

from sandbox.clock import iso
from sandbox.serializers import channel_object, user_object
from sandbox.value_types import Event, Json
from sandbox.world import DM, World

SUPPRESS_EMBEDS, EPHEMERAL, LOADING, SILENT, V2 = 1 << 2, 1 << 6, 1 << 7, 1 << 12, 1 << 15
HAS_THREAD = 1 << 5
THREAD_CREATED, REPLY, CHAT_COMMAND, CONTEXT_COMMAND = 18, 19, 20, 23
CONTENT_FIELDS = ("content", "embeds", "attachments", "components")


def create(world: World, channel: Json, author_id: str, **fields: Any) -> Json:
    """Store a message and tell of it."""
    key = world.ids.next()
    record: Json = {"id": key, "channel_id": channel["id"], "guild_id": channel["guild_id"], "author_id": author_id}
    record |= {"type": 0, "content": "", "at": world.clock.now(), "edited_at": None, "flags": 0, "nonce": None}
    record |= {"embeds": [], "attachments": [], "components": [], "mentions": [], "mention_roles": [], "reactions": {}}
    record |= {"mention_everyone": False, "reference": None, "visible_to": None, "interaction_id": None, "edits": 0}
    record |= {"metadata": None, "thread_id": None, "pinned": False}
    world.put("message", key, record | fields)
    tell(world, "MESSAGE_CREATE", world.tables["message"][key])
    return world.tables["message"][key]


def edit(world: World, record: Json, **fields: Any) -> Json:
    """Change a message, keep what it was, and tell of it. A loading answer that gets its content is not an edit."""
    loading = bool(record["flags"] & LOADING)
    revision = {"at_ms": int((record["edited_at"] or record["at"]) * 1000), "content": record["content"]}
    revision |= {name: record[name] for name in ("attachments", "components")}
    world.add_revision(record["id"], revision)
    changed = record | fields | {"edits": record["edits"] + 1, "edited_at": world.clock.now()}
    changed["flags"] &= ~LOADING
    if loading:
        changed["first_content_at"] = changed["edited_at"]
    world.put("message", record["id"], changed)
    tell(world, "MESSAGE_UPDATE", changed)
    return changed


def delete(world: World, record: Json) -> None:
    world.remove("message", record["id"])
    body: Json = {"id": record["id"], "channel_id": record["channel_id"]}
    body |= {"guild_id": record["guild_id"]} if record["guild_id"] else {}
    world.emit(Event(name="MESSAGE_DELETE", body=body, **_scope(record)))


def private_reference(world: World, record: Json) -> str | None:
    """The one person who sees the message that this one replies to; None when everybody does, or there is none.

    On Discord an answer to a press or a form below a private message replies to that message; others see a reply to a
    message that they cannot load (discordjs/discord-utils-bot#47).
    """
    replied = world.get("message", (record["reference"] or {}).get("message_id"))
    return replied["visible_to"] if replied else None


def tell(world: World, name: str, record: Json) -> None:
    """Emit a message event: whole for the page, and what its intents let the bot read for the bot."""
    body = message_object(world, record) | ({"guild_id": record["guild_id"]} if record["guild_id"] else {})
    extra = {
        "ephemeral": record["visible_to"] is not None,
        "visible_to": record["visible_to"],
        "edits": record["edits"],
        "reference_visible_to": private_reference(world, record),
    }
    world.emit(Event(name=name, body=body | extra, bot_body=body, **_scope(record)))


def _scope(record: Json) -> Json:
    hidden = record["visible_to"]
    return {
        "guild_id": record["guild_id"],
        "channel_id": record["channel_id"],
        "to_bot": hidden is None,
        "visible_to": hidden,
    }


def message_object(world: World, record: Json, *, nested: bool = False) -> Json:
    """Discord's message object of a record."""
    users = world.tables["user"]
    found: Json = {name: record[name] for name in ("id", "channel_id", "type", "content", "flags", "embeds")}
    found |= {
        name: record[name] for name in ("attachments", "components", "mention_roles", "mention_everyone", "pinned")
    }
    if record["flags"] & V2:
        found["attachments"] = []  # by design: the files of a layout are named in its parts alone
    found |= {"author": user_object(users[record["author_id"]]), "tts": False, "timestamp": iso(record["at"])}
    found["edited_timestamp"] = iso(record["edited_at"]) if record["edited_at"] else None
    found["mentions"] = [user_object(users[key]) for key in record["mentions"] if key in users]
    if record["nonce"] is not None:
        found["nonce"] = record["nonce"]
    if record["metadata"]:
        found |= {"interaction_metadata": record["metadata"], "application_id": world.meta("application")}
        found["webhook_id"] = world.meta("application")
        asked = world.get("interaction", record["interaction_id"])
        if asked and asked["name"]:
            # Deprecated by the vendor and still sent: the only place that tells which command a message answers.
            found["interaction"] = {name: record["metadata"][name] for name in ("id", "type", "user")}
            found["interaction"]["name"] = asked["name"]
    if record["reactions"]:
        found["reactions"] = [_reaction(world, *pair) for pair in record["reactions"].items()]
    if record["thread_id"] and (thread := world.get("channel", record["thread_id"])):
        found["thread"] = channel_object(world, thread)
    if record["reference"]:
        found["message_reference"] = record["reference"] | {"type": 0}
        if not nested and "message_id" in record["reference"]:
            replied = world.get("message", record["reference"]["message_id"])
            found["referenced_message"] = message_object(world, replied, nested=True) if replied else None
    return found


def _reaction(world: World, emoji: str, users: list[str]) -> Json:
    count = {"burst": 0, "normal": len(users)}
    found: Json = {"emoji": emoji_object(emoji), "count": len(users), "count_details": count, "burst_colors": []}
    return found | {"me_burst": False, "me": world.bot_id in users, "burst_count": 0, "burst_me": False}


def emoji_object(emoji: str) -> Json:
    """`name:id` is a guild's own emoji, anything else a character."""
    name, _, key = emoji.partition(":")
    return {"id": key or None, "name": name}


def for_bot(body: Json, bot_id: str, *, direct: bool, content_intent: bool) -> Json:
    """A message as a bot may read it: without the content intent, others' words and files are blank unless they are
    sent to it directly or mention it."""
    mine = body["author"]["id"] == bot_id or any(user["id"] == bot_id for user in body["mentions"])
    if direct or content_intent or mine:
        return body
    blank: Json = {"content": "", "embeds": [], "attachments": [], "components": []}
    found = body | blank
    if replied := found.get("referenced_message"):
        found["referenced_message"] = for_bot(replied, bot_id, direct=False, content_intent=False)
    return found


def pings(world: World, channel: Json, content: str, wanted: Json | None, replied: Json | None) -> Json:
    """Who a text notifies under allowed_mentions: `mentions`, `mention_roles`, `mention_everyone`."""
    rules: Json = {"parse": ["users", "roles", "everyone"], "replied_user": True} if wanted is None else wanted
    parse, known = rules.get("parse", []), world.tables
    named = {kind: {str(key) for key in rules.get(kind) or []} for kind in ("users", "roles")}
    users = [key for key in re.findall(r"<@!?(\d+)>", content) if "users" in parse or key in named["users"]]
    roles = [key for key in re.findall(r"<@&(\d+)>", content) if "roles" in parse or key in named["roles"]]
    if replied is not None and rules.get("replied_user", False):
        users.append(replied["author_id"])
    everyone = "everyone" in parse and bool(re.search(r"@(everyone|here)\b", content)) and channel["type"] != DM
    return {
        "mentions": [key for key in dict.fromkeys(users) if key in known["user"]],
        "mention_roles": [key for key in dict.fromkeys(roles) if key in known["role"]],
        "mention_everyone": everyone,
    }
