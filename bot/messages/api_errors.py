"""Says what an error of a request to Discord means for what we do next. Sends nothing."""

import time
from email.utils import parsedate_to_datetime
from enum import Enum, auto

import aiohttp
import discord

#: What asking Discord for something can raise, besides a cancellation.
REQUEST_ERRORS = (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError)

_MESSAGE_GONE = {10008}
#: 50007: direct messages are closed; 50278: the person shares no server with us any more.
_CHANNEL_GONE = {10003, 10004, 50007, 50278}
_TOKEN_DEAD = {50027, 10015, 10062}
_TOO_LARGE = {40005}
_ANSWERED = 40060
_OLD_EDITS = 30046
_ARCHIVED = 50083
_MOST_WORDS = 300


class ErrorKind(Enum):
    """What went wrong, by what helps."""

    MESSAGE_GONE = auto()  # somebody deleted it: post anew
    ARCHIVED = auto()  # its thread is closed: nothing in it can be changed, but a new message opens it again
    CHANNEL_GONE = auto()  # nothing can be posted there any more
    FORBIDDEN = auto()  # a permission is missing: it may come back
    TOKEN_DEAD = auto()  # the interaction's webhook is closed: go through the channel
    TOO_LARGE = auto()  # a smaller file may pass
    LATER = auto()  # busy or broken for now: try again
    REFUSED = auto()  # this request can never pass


def error_kind(error: Exception) -> ErrorKind:
    """The sort of trouble that one of REQUEST_ERRORS is."""
    if not isinstance(error, discord.HTTPException):
        return ErrorKind.LATER
    if error.code in _TOO_LARGE or error.status == 413:
        return ErrorKind.TOO_LARGE
    if error.code in _TOKEN_DEAD or error.status == 401:
        return ErrorKind.TOKEN_DEAD
    if error.code in _MESSAGE_GONE:
        return ErrorKind.MESSAGE_GONE
    if error.code == _ARCHIVED:
        return ErrorKind.ARCHIVED
    if error.code in _CHANNEL_GONE or (error.status == 404 and error.code):
        return ErrorKind.CHANNEL_GONE
    if error.status == 403 and error.code:
        return ErrorKind.FORBIDDEN
    # A 403 or 404 without a code is a page of something in between, not Discord's own word; so is any 408.
    if error.status in (403, 404, 408, 429) or error.status >= 500 or error.code == _OLD_EDITS:
        return ErrorKind.LATER
    return ErrorKind.REFUSED


def already_answered(error: Exception) -> bool:
    """The interaction has its first answer: an earlier try of ours arrived although it looked lost."""
    return isinstance(error, discord.HTTPException) and error.code == _ANSWERED


def in_one_line(error: BaseException) -> str:
    """The error for a log or a sentence: what stands between us and Discord answers with whole pages."""
    if isinstance(error, discord.HTTPException):
        status = f"{error.status} {error.response.reason or ''}".strip()
        words = " ".join(error.text.split())
        if not words or words.startswith("<") or len(words) > _MOST_WORDS:
            return f"{status}, {'a page' if words else 'no words'} instead of an answer"
        return f"{status}, code {error.code}: {words}" if error.code else f"{status}: {words}"
    return " ".join(str(error).split())[:_MOST_WORDS] or type(error).__name__


def retry_after(error: BaseException) -> float | None:
    """Seconds after which Discord wants to be asked again, where it says so."""
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    said = error.response.headers.get("Retry-After", "") if isinstance(error, discord.HTTPException) else ""
    try:
        return max(0.0, float(said)) if said[:1].isdigit() else _until(said)
    except ValueError:
        return None


def _until(date: str) -> float | None:
    """Seconds until a date as HTTP writes it. Raises ValueError for what is none."""
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time()) if date else None
