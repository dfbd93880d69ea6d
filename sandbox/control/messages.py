"""Messages as a person writes and reads them."""

from typing import Any

from sandbox import messages
from sandbox.channels import change_thread_member
from sandbox.control.request import ControlRequest, Route, is_thread, upload_of, visible
from sandbox.errors import ControlError
from sandbox.messages import CONTENT_FIELDS, REPLY, message_object, pings, private_reference
from sandbox.value_types import Json
from sandbox.world import World


def shown(world: World, record: Json, user: Json) -> Json:
    """A message as this person sees it. `history` holds what it was before each edit, oldest first, and what it is."""
    now = {"at_ms": int((record["edited_at"] or record["at"]) * 1000)}
    now |= {name: record[name] for name in CONTENT_FIELDS if name != "embeds"}
    history = [*world.revisions.get(record["id"], []), now]
    hidden = record["visible_to"] is not None
    found = message_object(world, record) | {"edits": record["edits"], "history": history, "ephemeral": hidden}
    for reaction, users in zip(found.get("reactions", []), record["reactions"].values(), strict=True):
        reaction["users"] = users
    found["reference_visible_to"] = private_reference(world, record)
    if found["reference_visible_to"] not in (None, user["id"]):
        found["referenced_message"] = None
    return found


async def write(request: ControlRequest) -> Any:
    user = request.person()
    channel = request.seen_channel(user)
    world = request.world
    files = [upload_of(file, request.sandbox) for file in request.body.get("files") or []]
    content = str(request.body.get("content") or "")
    if not content.strip() and not files:
        raise ControlError("empty_message", "An empty message cannot be sent.")
    if len(content) > 2000:
        raise ControlError("too_long", "A message can have at most 2000 characters.")
    needed = [
        "send_messages_in_threads" if is_thread(channel) else "send_messages",
        *(["attach_files"] if files else []),
    ]
    if not world.may(user["id"], channel, *needed):
        raise ControlError("not_permitted", f"{user['global_name']} may not write here.", status=403)
    if is_thread(channel):
        channel = change_thread_member(world, channel, user["id"], there=True)
    replied = request.seen_message(user, request.body["reply_to"]) if request.body.get("reply_to") else None
    fields: Json = pings(world, channel, content, None, replied)
    if replied:
        reference = {"message_id": replied["id"], "channel_id": channel["id"]}
        reference |= {"guild_id": channel["guild_id"]} if channel["guild_id"] else {}
        fields |= {"type": REPLY, "reference": reference}
    kept = [request.sandbox.attachments.keep(world, channel["id"], file) for file in files]
    made = messages.create(world, channel, user["id"], content=content, attachments=kept, **fields)
    return shown(world, made, user)


async def change(request: ControlRequest) -> Any:
    user = request.person()
    record = request.seen_message(user)
    if record["author_id"] != user["id"]:
        raise ControlError("not_the_author", "Only its author may edit a message.", status=403)
    content = str(request.need("content"))
    if len(content) > 2000 or not (content.strip() or record["attachments"]):
        raise ControlError("bad_content", "A message must have 1 to 2000 characters.")
    messages.edit(request.world, record, content=content)
    return {}


async def delete(request: ControlRequest) -> Any:
    """Delete a message, or dismiss one that only this person sees (the bot is not told)."""
    user = request.person()
    record = request.seen_message(user)
    channel = request.world.tables["channel"][record["channel_id"]]
    own = user["id"] in (record["author_id"], record["visible_to"])
    if not own and not request.world.may(user["id"], channel, "manage_messages"):
        raise ControlError("not_permitted", "This is somebody else's message.", status=403)
    messages.delete(request.world, record)
    return {}


async def read(request: ControlRequest) -> Any:
    """Oldest first, those after an id if one is given."""
    user = request.person(request.query.get("as") or request.need("as"))
    channel = request.seen_channel(user, request.query.get("channel") or request.need("channel"))
    after = request.query.get("after") or "0"
    if not after.isdecimal():
        raise ControlError("wrong_field", "after must be a message's id.")
    records = request.world.messages_in(channel["id"])
    seen = (r for r in records if int(r["id"]) > int(after) and visible(request.world, r, user))
    return [shown(request.world, record, user) for record in seen]


ROUTES: list[Route] = [
    ("GET", "/messages", read),
    ("POST", "/messages", write),
    ("PATCH", "/messages/{id}", change),
    ("DELETE", "/messages/{id}", delete),
]
