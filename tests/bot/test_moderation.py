"""Who may use the bot where, and which words it does not take."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.config.config import Config
from bot.moderation import Moderation
from core.errors import NotAllowed
from tests.harness.sample_jobs import a_job

SERVER, OTHER, CHANNEL, THREAD = "1" * 18, "2" * 18, "3" * 18, "4" * 18


def moderation(owners: tuple[str, ...] = (), **environ: str) -> Moderation:
    return Moderation(Config.from_env(environ, Path("/nonexistent")), owners)


@pytest.mark.parametrize("text", ["a grass field", "classic", "asses", "b.a.s.s"])
def test_a_blocked_word_does_not_block_words_that_contain_it(text: str) -> None:
    moderation(DARKROOM_BLOCKED="ass").check_text(text)


@pytest.mark.parametrize(
    "text", ["an ass", "ASS", "ass!", "(ass)", "an_ass", "ａｓｓ", "a\u200bss", "àss", "big ass boat", "-ass-"]
)
def test_a_blocked_word_is_found_however_it_is_written(text: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        moderation(DARKROOM_BLOCKED="ass").check_text("fine", text, prompt="typed")
    assert "“ass”" in caught.value.sentence
    assert (caught.value.rule, caught.value.prompt) == ("DARKROOM_BLOCKED", "typed")


def test_a_blocked_phrase_spans_any_blanks() -> None:
    with pytest.raises(NotAllowed):
        moderation(DARKROOM_BLOCKED="two words").check_text("two \n\t words")
    moderation(DARKROOM_BLOCKED="two words").check_text("two more words")


@pytest.mark.parametrize(
    "text",
    ["two (words:1.2)", "(two) words", "[two] words", "((two):1.3) words", "two::2 words", "two::words",
     "（two：1.1） words", "t(wo) words", "two [words : 0.5]", "{two}words"],
)  # fmt: skip
def test_weights_and_brackets_do_not_part_a_blocked_phrase(text: str) -> None:
    with pytest.raises(NotAllowed, match="“two words”"):
        moderation(DARKROOM_BLOCKED="two words").check_text(text)


@pytest.mark.parametrize("text", ["(two:1.2) more words", "grass (red:1.2)", "cl::2ass", "a clock at 10:30 (two)"])
def test_weights_and_brackets_make_no_blocked_word_of_others(text: str) -> None:
    moderation(DARKROOM_BLOCKED="two words, ass").check_text(text)


def test_terms_with_signs_are_taken_literally() -> None:
    rules = moderation(DARKROOM_BLOCKED="c++, (x)")
    with pytest.raises(NotAllowed):
        rules.check_text("a c++ book")
    rules.check_text("a c book, x")


def test_only_configured_channels_are_served() -> None:
    rules = moderation(("9",), DARKROOM_CHANNELS=CHANNEL)
    rules.check_place("5", SERVER, CHANNEL)
    rules.check_place("5", SERVER, THREAD, CHANNEL)
    rules.check_place("5", None, "77")
    with pytest.raises(NotAllowed, match=f"Try <#{CHANNEL}>"):
        rules.check_place("5", SERVER, THREAD, beside=(CHANNEL, THREAD))


def test_of_many_channels_a_few_of_the_same_server_are_named() -> None:
    many = [str(10**17 + n) for n in range(90)]
    rules = moderation(DARKROOM_CHANNELS=",".join(many))
    with pytest.raises(NotAllowed) as caught:
        rules.check_place("5", SERVER, CHANNEL, beside=(*many[:7], CHANNEL))
    named = ", ".join(f"<#{channel}>" for channel in many[:5])
    assert caught.value.sentence == f"Darkroom does not work in this channel. Try {named} and 2 more."
    with pytest.raises(NotAllowed, match=r"channel\. The bot's owner can add it\.$"):
        rules.check_place("5", SERVER, CHANNEL, beside=(CHANNEL,))


def test_owners_may_do_everything_also_those_that_discord_names_later() -> None:
    owners: set[str] = set()
    rules = Moderation(Config.from_env({"DARKROOM_CHANNELS": CHANNEL}, Path("/nonexistent")), owners)
    with pytest.raises(NotAllowed):
        rules.check_place("9", SERVER, THREAD)
    owners.add("9")
    rules.check_place("9", SERVER, THREAD)


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"user": "5", "guild": SERVER, "manage_messages": False}, True),
        ({"user": "6", "guild": SERVER, "manage_messages": False}, False),
        ({"user": "6", "guild": SERVER, "manage_messages": True}, True),
        ({"user": "6", "guild": OTHER, "manage_messages": True}, False),
        ({"user": "9", "guild": None, "manage_messages": False}, True),
    ],
)
def test_a_job_is_managed_by_who_asked_by_owners_and_by_moderators_of_its_server(
    person: dict[str, Any], expected: bool
) -> None:
    job = a_job(user="5")
    job = replace(job, where=replace(job.where, guild=SERVER))
    user = person.pop("user")
    assert moderation(("9",)).may_manage(user, job, **person) is expected
