"""From a checked body to a message: files, media, mentions, flags. Shared by channels, webhooks and callbacks."""

from typing import Any

from sandbox import messages
from sandbox.errors import refuse
from sandbox.messages import EPHEMERAL, REPLY, V2, message_object, pings
from sandbox.rest.component_renderer import ComponentRenderer, media_of
from sandbox.rest.request import RestRequest
from sandbox.validate import Path, Problems, check_message, flags_of, is_empty
from sandbox.value_types import Json


def create(
    request: RestRequest, channel: Json, body: Json, *, interaction: Json | None = None, prefix: Path = (), **more: Any
) -> Json:
    """Check a body and store it as the bot's new message."""
    flags = flags_of(body, interaction=interaction is not None)
    check_message(body, len(request.body.files), flags=flags, prefix=prefix)
    if is_empty(
        body.get("content"), body.get("embeds"), request.body.files, body.get("components"), v2=bool(flags & V2)
    ):
        raise refuse("empty_message")
    replied = _replied(request, channel, body)
    hidden = interaction["user_id"] if interaction and flags & EPHEMERAL else None
    attachments = _new_files(request, channel, body, ephemeral=hidden is not None)
    fields = _fields(request, channel, body, attachments, prefix)
    fields |= pings(request.world, channel, _texts(body), body.get("allowed_mentions"), replied)
    if replied:
        fields |= {"type": REPLY, "reference": _reference(replied)}
    fields |= {"flags": flags, "visible_to": hidden, "attachments": attachments, **more}
    return messages.create(request.world, channel, request.world.bot_id, **fields)


def edit(request: RestRequest, record: Json, body: Json, *, prefix: Path = ()) -> Json:
    """Check a body and change the bot's message by it: what is not named stays."""
    channel = channel_of(request, record)
    if channel["archived"]:
        raise refuse("archived_thread")
    flags = flags_of(body, interaction=False, before=record["flags"])
    check_message(body, len(request.body.files), flags=flags, prefix=prefix, existing=record)
    kept = _kept_files(record, body)
    after = {name: body[name] if name in body else record[name] for name in ("content", "embeds", "components")}
    files = [*kept, *request.body.files]
    if is_empty(after["content"], after["embeds"], files, after["components"], v2=bool(flags & V2)):
        raise refuse("empty_message")
    attachments = kept + _new_files(request, channel, body, ephemeral=record["visible_to"] is not None)
    if len(attachments) > 10:
        _too_many(prefix)
    fields = _fields(request, channel, body, attachments, prefix)
    fields |= {"flags": flags, "attachments": attachments}
    if "content" in body or "allowed_mentions" in body:
        fields |= pings(request.world, channel, _texts(after), body.get("allowed_mentions"), None)
    return messages.edit(request.world, record, **fields)


def answer(request: RestRequest, record: Json) -> Json:
    """The message as the bot is answered."""
    return message_object(request.world, request.world.tables["message"][record["id"]])


def channel_of(request: RestRequest, record: Json) -> Json:
    """The channel of a message or an interaction, if it is still there."""
    channel = request.world.get("channel", record["channel_id"])
    if channel is None:
        raise refuse("unknown_channel")
    return channel


def _too_many(prefix: Path) -> None:
    problems = Problems()
    problems.add((*prefix, "attachments"), "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    problems.raise_if_any()


def _replied(request: RestRequest, channel: Json, body: Json) -> Json | None:
    """The message that this one replies to; a missing one is refused unless the sender does not mind."""
    reference = body.get("message_reference")
    if not reference:
        return None
    record = request.world.get("message", reference.get("message_id"))
    if record is not None and record["channel_id"] == channel["id"] and not record["visible_to"]:
        return record
    if reference.get("fail_if_not_exists", True):
        problems = Problems()
        problems.add(("message_reference",), "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        problems.raise_if_any()
    return None


def _reference(record: Json) -> Json:
    found = {"message_id": record["id"], "channel_id": record["channel_id"]}
    return found | ({"guild_id": record["guild_id"]} if record["guild_id"] else {})


def _texts(body: Json) -> str:
    """All text in which a mention may stand: the content and the text parts of a layout."""
    texts = [body.get("content") or ""]

    def collect(parts: Any) -> None:
        for part in parts or []:
            if isinstance(part, dict):
                texts.append(part["content"] if part.get("type") == 10 else "")
                collect(part.get("components"))

    collect(body.get("components"))
    return "\n".join(texts)


def _kept_files(record: Json, body: Json) -> list[Json]:
    """Attachments that stay: all when the body does not speak of them, else those it lists."""
    if "attachments" not in body:
        return list(record["attachments"])
    by_id = {item["id"]: item for item in record["attachments"]}
    return [
        by_id[str(item["id"])] | _description(item) for item in body["attachments"] or [] if str(item["id"]) in by_id
    ]


def _description(item: Json) -> Json:
    return {"description": item["description"]} if item.get("description") else {}


def _new_files(request: RestRequest, channel: Json, body: Json, *, ephemeral: bool) -> list[Json]:
    """Store the uploaded files; a list in the body may rename and describe them."""
    described = {str(item["id"]): item for item in body.get("attachments") or []}
    made = []
    for number, upload in sorted(request.body.files.items()):
        item = described.get(str(number), {})
        made.append(
            request.sandbox.attachments.keep(request.world, channel["id"], upload, ephemeral=ephemeral)
            | _description(item)
        )
    return made


def _fields(request: RestRequest, channel: Json, body: Json, attachments: list[Json], prefix: Path) -> Json:
    """What the body says of content, embeds and components, with attachment:// addresses resolved."""
    by_name = {f"attachment://{item['filename']}": item for item in attachments}
    problems = Problems()
    found: Json = {}
    if "content" in body:
        found["content"] = body["content"] or ""
    if "embeds" in body:
        found["embeds"] = [_embed(embed, by_name) for embed in body["embeds"] or []]
    if "components" in body:
        found["components"] = ComponentRenderer(by_name, problems).parts(body["components"], (*prefix, "components"))
    problems.raise_if_any()
    return found


def _embed(embed: Json, by_name: dict[str, Json]) -> Json:
    found: Json = {"type": "rich", "content_scan_version": 0} | embed
    for name in ("image", "thumbnail"):
        media = found.get(name)
        if media and media.get("url") in by_name:
            found[name] = media | media_of(by_name[media["url"]])
    return found
