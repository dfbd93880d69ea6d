"""Reactions under messages."""

from urllib.parse import unquote

from sandbox.errors import refuse
from sandbox.reactions import MOST_EMOJI, add_reaction, clear_reactions, remove_reaction
from sandbox.rest.request import RestRequest, Route
from sandbox.serializers import user_object
from sandbox.validate import is_emoji
from sandbox.value_types import Reply


def _emoji(request: RestRequest) -> str:
    emoji = unquote(request.params["emoji"])
    # No guild here has emoji of its own.
    if not is_emoji(emoji):
        raise refuse("unknown_emoji")
    return emoji


def add(request: RestRequest) -> Reply:
    channel = request.channel("read_message_history")
    record = request.message(channel)
    if _emoji(request) not in record["reactions"]:
        request.channel("add_reactions")
        if len(record["reactions"]) >= MOST_EMOJI:
            raise refuse("too_many_reactions")
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
    clear_reactions(request.world, record, _emoji(request) if "emoji" in request.params else None)
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
