"""Reactions under messages."""

from urllib.parse import unquote

from sandbox.errors import refuse
from sandbox.reactions import add_reaction, remove_reaction
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import user_object
from sandbox.value_types import Reply


def _emoji(request: RestRequest) -> str:
    emoji = unquote(request.params["emoji"])
    if not emoji or (emoji.isascii() and ":" not in emoji):
        raise refuse("unknown_emoji")
    return emoji


def add(request: RestRequest) -> Reply:
    channel = request.channel("read_message_history")
    record = request.message(channel)
    if _emoji(request) not in record["reactions"]:
        request.channel("add_reactions")
    add_reaction(request.world, record, request.world.bot_id, _emoji(request))
    return Reply(status=204)


def remove_own(request: RestRequest) -> Reply:
    remove_reaction(request.world, request.message(request.channel()), request.world.bot_id, _emoji(request))
    return Reply(status=204)


def remove_other(request: RestRequest) -> Reply:
    record = request.message(request.channel("manage_messages"))
    remove_reaction(request.world, record, request.params["user_id"], _emoji(request))
    return Reply(status=204)


def clear(request: RestRequest) -> Reply:
    record = request.message(request.channel("manage_messages"))
    wanted = [_emoji(request)] if "emoji" in request.params else list(record["reactions"])
    for emoji in wanted:
        for user_id in list(record["reactions"].get(emoji, [])):
            remove_reaction(request.world, request.world.tables["message"][record["id"]], user_id, emoji)
    return Reply(status=204)


def users(request: RestRequest) -> Reply:
    record = request.message(request.channel("read_message_history"))
    keys = record["reactions"].get(_emoji(request), [])
    return Reply(data=[user_object(request.world.tables["user"][key]) for key in keys])


BASE = "/channels/{channel_id}/messages/{message_id}/reactions"
ROUTES: list[Route] = [
    ("DELETE", BASE, clear),
    ("GET", BASE + "/{emoji}", users),
    ("DELETE", BASE + "/{emoji}", clear),
    ("PUT", BASE + "/{emoji}/@me", add),
    ("DELETE", BASE + "/{emoji}/@me", remove_own),
    ("DELETE", BASE + "/{emoji}/{user_id}", remove_other),
]
