"""Says what an error of a request to Discord means for what we do next. Sends nothing."""

from enum import Enum, auto

import aiohttp
import discord

#: What asking Discord for something can raise, besides a cancellation.
REQUEST_ERRORS = (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError)

_MESSAGE_GONE = {10008}
_CHANNEL_GONE = {10003, 10004, 50007}  # 50007: direct messages are closed
_TOKEN_DEAD = {50027, 10015, 10062}
_TOO_LARGE = {40005}
_ANSWERED = 40060
_OLD_EDITS = 30046
_ARCHIVED = 50083


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
    if error.code in _CHANNEL_GONE or error.status == 404:
        return ErrorKind.CHANNEL_GONE
    if error.status == 403:
        return ErrorKind.FORBIDDEN
    if error.status == 429 or error.status >= 500 or error.code == _OLD_EDITS:
        return ErrorKind.LATER
    return ErrorKind.REFUSED


def already_answered(error: Exception) -> bool:
    """The interaction has its first answer: an earlier try of ours arrived although it looked lost."""
    return isinstance(error, discord.HTTPException) and error.code == _ANSWERED
