"""Logs: sentences with their job, and no secret in any of them."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bot.log_setup import Sentences, set_up


def line(record: logging.LogRecord, *secrets: str) -> str:
    return Sentences(secrets).format(record)


def record(message: str, *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("bot.test", logging.INFO, __file__, 1, message, args, None)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_line_ends_with_the_job_it_is_about() -> None:
    assert line(record("A job is %s.", "done", job="abc", attempt=2)).endswith("A job is done. [job=abc attempt=2]")


def test_what_comes_from_elsewhere_ends_no_line_and_moves_no_cursor() -> None:
    text = line(record("%s cannot be used.", "my\n\x1b[2Jlora\udcff"))
    assert text.endswith(r"my\x0a\x1b[2Jlora\xff cannot be used.")


def test_the_token_is_blackened_wherever_it_turns_up() -> None:
    try:
        raise RuntimeError("login with tok.en.value failed")
    except RuntimeError:
        told = record("It failed with %s", "tok.en.value")
        told.exc_info = sys.exc_info()
    text = line(told, "tok.en.value")
    assert "tok.en.value" not in text
    assert "•••" in text
    assert "RuntimeError" in text


def test_tokens_in_addresses_of_interactions_are_blackened() -> None:
    text = line(record("PATCH https://discord.com/api/v10/webhooks/123/aW50ZXJhY3Rpb24/messages/@original 429"))
    assert "aW50" not in text
    assert "/webhooks/123/•••/messages/@original" in text


def test_tokens_in_printed_events_are_blackened() -> None:
    text = line(record("received %s", {"type": 2, "token": "aW50ZXJhY3Rpb24", "id": "1"}))
    assert "aW50" not in text
    assert "'token': '•••', 'id': '1'" in text


@contextmanager
def kept() -> Iterator[None]:
    """Afterwards the tests' own log is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = before


def test_setting_up_again_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    with kept():
        for _ in range(2):
            set_up("info", ["s3cret-value"], stream)
        logging.getLogger("bot.x").info("once s3cret-value")
    assert stream.getvalue().count("once •••") == 1


def test_a_vain_try_to_reach_discord_again_is_one_line() -> None:
    stream = io.StringIO()
    with kept():
        set_up("info", [], stream)
        try:
            raise OSError("100% gone")
        except OSError:
            logging.getLogger("discord.client").exception("Attempting a reconnect in %.2fs", 1.5)
            logging.getLogger("discord.client").exception("Something else")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("discord.client: Attempting a reconnect in 1.50s (OSError: 100% gone)")
    assert "Traceback" in others[1]
