"""Whatever the hub's library raises, people read one sentence that says what to do."""

import errno

import pytest
from huggingface_hub import errors

from core.hub_messages import gigabytes, no_room, why


class Answer:
    """As much of an answer of the hub's as its errors look at."""

    def __init__(self, status: int = 0) -> None:
        self.status_code, self.headers, self.request = status, {}, None


def hub_error(kind: type[errors.HfHubHTTPError], status: int = 0) -> errors.HfHubHTTPError:
    return kind("it went wrong", response=Answer(status))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (hub_error(errors.GatedRepoError, 403), "asks everybody to accept its terms"),
        (hub_error(errors.RepositoryNotFoundError, 401), "The hub has no model a/b, or it is private"),
        (errors.HFValidationError("a/b/c"), "The hub has no model a/b"),
        (hub_error(errors.RevisionNotFoundError, 404), "was changed on the hub just now"),
        (hub_error(errors.RemoteEntryNotFoundError, 404), "was changed on the hub just now"),
        (hub_error(errors.DisabledRepoError, 403), "The hub has closed a/b"),
        (errors.OfflineModeIsEnabled("x"), "HF_HUB_OFFLINE is set"),
        (hub_error(errors.HfHubHTTPError, 401), "The hub wants another token for a/b"),
        (hub_error(errors.HfHubHTTPError, 403), "HF_TOKEN may not read a/b"),
        (hub_error(errors.HfHubHTTPError, 500), "The hub did not give a/b (it went wrong). Check the network"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk was full before a/b was here"),
        (TimeoutError(), "The hub did not give a/b (TimeoutError). Check the network"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_becomes_a_sentence_also_behind_another_one(error: Exception, told: str) -> None:
    assert told in why(error, "a/b", has_token=True)
    try:
        raise errors.LocalEntryNotFoundError("Cannot find it.") from error
    except errors.LocalEntryNotFoundError as outer:
        sentence = why(outer, "a/b", has_token=True)
    assert told.partition(" (")[0] in sentence


def test_without_a_token_one_is_asked_for() -> None:
    assert "make a token" in why(hub_error(errors.GatedRepoError, 403), "a/b", has_token=False)
    assert "wants a token for a/b" in why(hub_error(errors.HfHubHTTPError, 401), "a/b", has_token=False)


def test_room_is_what_is_free_but_for_what_stays_free() -> None:
    assert no_room(5, 10, "/data", 5) == ""
    assert no_room(7_000_000_000, 7_200_000_000, "/data", 500_000_000) == (
        "7.0 GB are to be fetched, and 7.2 GB are free on the disk of /data, of which 500 MB stay free for the bot. "
        "Make room first."
    )
    assert (gigabytes(2_140_000_000), gigabytes(340_000_000)) == ("2.1 GB", "340 MB")
