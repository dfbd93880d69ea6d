"""Who may use the bot where, and which words it does not take."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.config import Config
from bot.lookalikes import spellings
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


@pytest.mark.parametrize(
    "text",
    ["naked1", "7naked", "a naked2 b", "naked_", "naked🌊sea", "NAKED’s", "(na(ked:1.1)", "::2naked",
     "nаked", "ΝАКЕD", "пakеd naкed", "nаkеd", "ｎａｋｅｄ", "𝓃𝒶𝓀𝑒𝒹", "ⓝⓐⓚⓔⓓ", "🅽🅰🅺🅴🅳", "ɴᴀᴋᴇᴅ", "nåkęđ", "⒩⒜⒦⒠⒟",
     "na\u200bked", "na\u00adked", "na\u034fked", "na\u3164ked", "n\ufe0faked", "na\U000e0041ked", "n̶a̶k̶e̶d̶",
     "naked™", "ⓐnaked", "Ⅷnaked", "naked㎏", "🅱naked🇩", "naked\u0336girl", "naked\u0e31girl", "naked\u20e3girl",
     "n\u20dda\u20ddk\u20dde\u20ddd", "n\u0e31a\u0e31k\u0e31e\u0e31d", "🇳🇦🇰🇪🇩", "ꓠꓮꓗꓰꓓ girl", "Ⲛaked", "ոаκеԁ"],
)  # fmt: skip
def test_a_blocked_word_is_read_as_a_tokenizer_reads_it_and_look_alikes_count(text: str) -> None:
    with pytest.raises(NotAllowed, match="“naked”"):
        moderation(DARKROOM_BLOCKED="naked, other").check_text(text)


@pytest.mark.parametrize(
    "text", ["bad, phrase", "bad-phrase", "bad. Phrase!", "bad / phrase", "bad1phrase", "bad1 phrase", "bad — phrase",
             "bad\u200bphrase", "bаd phrasе", "bad\u3164phrase", "bad,phrase2", "bad::0.5 phrase"]
)  # fmt: skip
def test_signs_do_not_part_a_blocked_phrase(text: str) -> None:
    with pytest.raises(NotAllowed, match="“bad phrase”"):
        moderation(DARKROOM_BLOCKED="bad phrase").check_text(text)


@pytest.mark.parametrize(
    ("blocked", "text"),
    [
        ("hot dogs", "hot 100 dogs"),
        ("naked", "snaked nakedness"),
        ("ass", "class1 grass2 4assets bass-assist"),
        ("pot", "рот кота и сыр, a pot-bellied stove".replace("pot-", "iron ")),
        ("4chan", "14 channels, 44chan"),
        ("cop", "сор"),
        ("か", "が"),
        ("कल", "कुल"),
        ("naked", "na ked"),
        ("ana", "a piñana añana"),
        ("disney™", "disney"),
        ("ọ́mọ", "o mo"),
    ],
)
def test_words_that_only_resemble_a_blocked_one_are_allowed(blocked: str, text: str) -> None:
    moderation(DARKROOM_BLOCKED=blocked).check_text(text)


@pytest.mark.parametrize(
    ("blocked", "text"),
    [
        ("裸体", "一个裸体女人"),
        ("ヌード", "美しいヌード写真"),
        ("누드", "nude 누드1"),
        ("เปลือย", "ภาพเปลือยกาย"),
        ("голый", "гoлый кот"),
        ("bad-phrase", "a bad phrase"),
        ("covid19", "covid 19"),
        ("4chan", "4chan"),
        ("a$$", "big a$$ boat"),
        ("🍆", "nice🍆pic"),
        ("nаked", "naked"),
    ],
)
def test_blocked_words_of_other_scripts_and_with_signs_are_found(blocked: str, text: str) -> None:
    with pytest.raises(NotAllowed):
        moderation(DARKROOM_BLOCKED=blocked).check_text(text)


def test_a_character_that_is_a_whole_sentence_makes_no_text_longer() -> None:
    assert max(map(len, spellings("\ufdfa" * 1000))) == 1000


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


@pytest.mark.parametrize("text", ["(two:1.2) more words", "grass (red:1.2)", "cl::2assets", "a clock at 10:30 (two)"])
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
