"""A prompt that was copied out of a message, with what stood around it."""

import pytest

from core.pasted_prompt import clean
from tests.core.prompts import read


@pytest.mark.parametrize(
    ("pasted", "prompt"),
    [
        ("**a red boat --ar 16:9 --v 6.1** - @alice (fast)", "a red boat --ar 16:9 --v 6.1"),
        ("**a red boat** - <@123456789012345678> (Waiting to start)", "a red boat"),
        ("**a red boat** - Variations (Strong) by <@123456789012345678> (relaxed, stealth)", "a red boat"),
        ("**a red boat --s 250** - Image #4 <@123456789012345678>", "a red boat --s 250"),
        ("**a red boat**", "a red boat"),
        ("a red boat --ar 16:9 - @alice (31%) (fast)", "a red boat --ar 16:9"),
        ("a red boat - Upscaled (Subtle) by @alice b. (turbo)", "a red boat"),
        ("a red boat - <@123456789012345678>", "a red boat"),
        ("**a red boat** · near picture 2 · <@123456789012345678>\n-# 256×256 · seed 7 · fast", "a red boat"),
        ("/imagine prompt: a red boat", "a red boat"),
        ("/imagine prompt:a red boat", "a red boat"),
        ("/Imagine a red boat", "a red boat"),
        ("prompt: a red boat", "a red boat"),
        ("`a red boat --ar 3:2`", "a red boat --ar 3:2"),
        ("```\na red boat\n```", "a red boat"),
        ("/imagine prompt: **a red boat** - @alice (fast)", "a red boat"),
    ],
)
def test_what_stands_around_a_copied_prompt_is_taken_off(pasted: str, prompt: str) -> None:
    assert clean(pasted) == prompt


@pytest.mark.parametrize(
    "words",
    [
        "a robot - @work",
        "a boat - by the sea (fast)",
        "**bold** letters on a wall",
        "a **bold** boat",
        "a sign that says `open`",
        "an imagined boat",
        "imagine a boat",
        "a prompt: what is it",
        "**one** and **two**",
        "a boat - 5% off @ the harbour",
    ],
)
def test_what_may_be_a_part_of_the_words_stays(words: str) -> None:
    assert clean(words) == words


@pytest.mark.parametrize("end", [".", "。", "...", " ."])
def test_a_full_stop_behind_the_parameters_ends_the_sentence_and_no_value(end: str) -> None:
    request = read(f"a boat. A sea --no fog --seed 7{end}").request
    assert (request.prompt, request.negative, request.seed) == ("a boat. A sea", "fog", 7)
    assert read(f"a boat --seed 7 --tile{end}").request.tile
    assert read(f"a boat --cfg 6.5{end}").request.guidance == 6.5


def test_words_alone_keep_their_full_stop() -> None:
    assert read("a boat on the sea.").request.prompt == "a boat on the sea."


@pytest.mark.parametrize(
    ("typed", "prompt"),
    [
        ("https://i.example/a.png a red boat", "a red boat"),
        ("<https://i.example/a.png> a red boat --seed 7", "a red boat"),
        ("a red boat https://i.example/a--ar.png?x=1 at sea", "a red boat at sea"),
        ("www.i.example/a.png, a red boat", "a red boat"),
        ("blob:https://i.example/1-2 a red boat", "a red boat"),
    ],
)
def test_an_address_is_never_drawn_as_words(typed: str, prompt: str) -> None:
    parsed = read(typed)
    assert parsed.request.prompt == prompt
    assert any(note.startswith("Left out: `") for note in parsed.notes)
    assert len(parsed.unread) == 1  # blocked words are looked for there too


def test_several_addresses_are_one_line() -> None:
    notes = read("https://i.example/a.png https://i.example/b.png a boat").notes
    assert notes == ("Left out: `https://i.example/a.png` and 1 more. Addresses are neither fetched nor drawn.",)


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("--v 7", "Ignored: `--v` (`--model` chooses what draws)."),
        ("--v7 --niji 6", "Ignored: `--v`, `--niji` (`--model` chooses what draws)."),
        ("--profile ab12 cd34 --p", "Ignored: `--profile`, `--p` (`--lora` adds a look)."),
        ("--sref 123456 --iw 2", "Ignored: `--sref` (describe the look in words); `--iw` (describe it in words)."),
        ("--sameseed 5", "Ignored: `--sameseed` (`--seed` keeps the seed)."),
        ("--video 1", "Ignored: `--video` (here are still pictures only)."),
        ("--vibe", "Ignored: `--vibe`."),
        ("--style cute", "Ignored: `--style` (`--model` chooses what draws)."),
        ("--niji", "Ignored: `--niji` (`--model` chooses what draws)."),
        ("--personalize", "Ignored: `--personalize` (`--lora` adds a look)."),
        ("--exp 10", "Ignored: `--exp` (`--chaos` comes nearest)."),
        ("--oref https://i.example/a.png", "Ignored: `--oref` (describe it in words)."),
    ],
)
def test_what_midjourney_has_and_this_has_not_stops_no_job_and_one_line_says_what_comes_nearest(
    typed: str, note: str
) -> None:
    assert read(f"a boat {typed}").notes == (note,)


@pytest.mark.parametrize("typed", ["--raw", "--style raw", "—style raw", "--style raw."])
def test_raw_leaves_the_house_style_out(typed: str) -> None:
    request = read(f"a boat --model styled {typed}").request
    plain = read("a boat --model styled --stylize 0").request
    assert request == plain != read("a boat --model styled").request


def test_raw_that_changes_nothing_is_named() -> None:
    assert read("a boat --raw").notes == ("`--raw` changes nothing: `postcard` has no house style.",)
    notes = read("a boat --model styled --raw --stylize 50").notes
    assert "`--raw` changes nothing: `--stylize 50` asks for the house style." in notes


@pytest.mark.parametrize("words", ["一艘红色的船", "красная лодка", "赤い船の絵 boat", "قارب أحمر", "빨간 배"])
def test_a_script_that_the_model_hardly_reads_gets_one_line(words: str) -> None:
    assert read(words).notes == ("`postcard` hardly reads this script. The same in English comes out better.",)


@pytest.mark.parametrize("words", ["ein rotes Boot", "une forêt en été", "a boat named 船", "🚤", "1234"])
def test_a_script_that_it_reads_gets_none(words: str) -> None:
    assert read(words).notes == ()
