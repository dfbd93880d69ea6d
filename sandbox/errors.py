"""Discord's refusals by name, each with its status and code, and our own. Knows nothing of when they are due."""

from typing import Any

from sandbox.value_types import Json

# name: (HTTP status, Discord's code, Discord's words)
CATALOGUE: dict[str, tuple[int, int, str]] = {
    "unauthorized": (401, 0, "401: Unauthorized"),
    "unknown_account": (404, 10001, "Unknown Account"),
    "unknown_application": (404, 10002, "Unknown Application"),
    "unknown_channel": (404, 10003, "Unknown Channel"),
    "unknown_guild": (404, 10004, "Unknown Guild"),
    "unknown_member": (404, 10007, "Unknown Member"),
    "unknown_message": (404, 10008, "Unknown Message"),
    "unknown_role": (404, 10011, "Unknown Role"),
    "unknown_user": (404, 10013, "Unknown User"),
    "unknown_emoji": (400, 10014, "Unknown Emoji"),
    "unknown_webhook": (404, 10015, "Unknown Webhook"),
    "unknown_interaction": (404, 10062, "Unknown interaction"),
    "unknown_command": (404, 10063, "Unknown application command"),
    "too_large": (413, 40005, "Request entity too large"),
    "already_acknowledged": (400, 40060, "Interaction has already been acknowledged."),
    "missing_access": (403, 50001, "Missing Access"),
    "wrong_channel_type": (400, 50024, "Cannot execute action on this channel type"),
    "not_the_author": (403, 50005, "Cannot edit a message authored by another user"),
    "empty_message": (400, 50006, "Cannot send an empty message"),
    "dms_closed": (403, 50007, "Cannot send messages to this user"),
    "missing_permissions": (403, 50013, "Missing Permissions"),
    "too_many_reactions": (400, 30010, "Maximum number of reactions reached (20)"),
    "invalid_token": (401, 50027, "Invalid Webhook Token"),
    "invalid_form": (400, 50035, "Invalid Form Body"),
    "invalid_json": (400, 50109, "The request body contains invalid JSON."),
    "archived_thread": (400, 50083, "Thread is archived"),
    "bad_request": (400, 0, "400: Bad Request"),
}


class ApiError(Exception):
    """A refusal on its way to the bot."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status, self.code, self.message, self.errors = status, code, message, errors

    def body(self) -> Json:
        body: Json = {"message": self.message, "code": self.code}
        if self.errors:
            body["errors"] = self.errors
        return body


class RateLimited(ApiError):
    """A 429. `retry_after` is in seconds; `scope` is user, global or shared."""

    def __init__(self, retry_after: float, *, scope: str = "user", code: int = 0, message: str | None = None) -> None:
        super().__init__(429, code, message or "You are being rate limited.")
        self.retry_after, self.scope = round(max(retry_after, 0.001), 3), scope

    def body(self) -> Json:
        known: Json = {"message": self.message, "code": self.code, "retry_after": self.retry_after}
        return known | {"global": self.scope == "global"}

    def headers(self) -> dict[str, str]:
        """`Via` is what tells discord.py that this is Discord's own limit and not a ban at the edge."""
        found = {"Via": "1.1 sandbox", "Retry-After": f"{self.retry_after:.3f}", "X-RateLimit-Scope": self.scope}
        return found | ({"X-RateLimit-Global": "true"} if self.scope == "global" else {})


class Page(ApiError):
    """An answer of whatever stands before Discord: HTML, and without `Via`."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(status, 0, "You are being blocked from accessing our API")
        self.retry_after = retry_after

    def html(self) -> str:
        return f"<!DOCTYPE html>\n<html>\n<title>Access denied</title>\n<p>{self.message}</p>\n</html>\n"

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:.3f}"}


def refuse(name: str, errors: Json | None = None) -> ApiError:
    """The refusal of that name, ready to be raised."""
    status, code, message = CATALOGUE[name]
    return ApiError(status, code, message, errors)


class ControlError(Exception):
    """A refusal on its way to the page or a test: a code for programs, a sentence for people."""

    def __init__(self, code: str, sentence: str, *, status: int = 400, **more: Any) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.status, self.more = code, sentence, status, more

    def body(self) -> Json:
        return {"error": {"code": self.code, "sentence": self.sentence, **self.more}}


class CannotStart(Exception):
    """The sandbox cannot start like this; the sentence says why, and the cure."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
