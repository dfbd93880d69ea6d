"""All that is wrong with a prompt is said at once, and what can only have been meant in one way is mended already."""

import pytest

from core.errors import PromptError
from tests.core.prompts import read, wrong


def test_all_mistakes_are_named_at_once_in_the_order_of_their_places() -> None:
    error = wrong("a boat --choas 30 --steps 500 --model sdlx --seed x --lora inc")
    assert error.sentence.splitlines() == [
        "This prompt has several mistakes:",
        "- `--choas` is not a parameter here. Did you mean `--chaos`?",
        "- `--steps` takes a whole number from 1 to 100, not `500`.",
        "- There is no model `sdlx` here. Did you mean `sdxl`?",
        "- `--seed` takes a whole number from 0 to 4294967295, not `x`.",
    ]


def test_what_the_model_cannot_do_is_named_with_everything_else_that_it_cannot_do() -> None:
    error = wrong("a boat --model flux --tile --no people --sampler euler")
    assert [mistake.word for mistake in error.mistakes] == ["--tile", "--no", "euler"]


def test_of_many_mistakes_the_first_are_told_and_the_rest_counted() -> None:
    lines = wrong("a boat " + " ".join(f"--zz{letter}qx 1" for letter in "abcdefghij")).sentence.splitlines()
    assert (len(lines), lines[-1]) == (8, "- and 4 more")


@pytest.mark.parametrize(
    ("typed", "corrected"),
    [
        ("a boat --choas 30", "a boat --chaos 30"),
        ("a boat --steps 500 --choas 30", "a boat --steps 100 --chaos 30"),
        ("a boat --seed 7 in the sea", "a boat in the sea --seed 7"),
        ("--ar 3:2 a boat", "a boat --ar 3:2"),
        ("a boat --fast now", "a boat now --fast"),
        ("a boat --tile --tile", "a boat --tile"),
        ("a boat--ar 3:2", "a boat --ar 3:2"),
        ("a boat -- ar 3:2", "a boat --ar 3:2"),
        ("a boat -ar3:2", "a boat --ar 3:2"),
        ("a boat --ar 9:1", "a boat --ar 4:1"),
        ("a boat --ar 1:9", "a boat --ar 1:4"),
        ("a boat --chaos -5", "a boat --chaos 0"),
        ("a boat --count 2.7", "a boat --count 3"),
        ("a boat --quality 9", "a boat --quality 4"),
        ("a boat --sampler eular", "a boat --sampler euler"),
        ("a boat --model sdlx", "a boat --model sdxl"),
        ("a boat --lora inc:0.5", "a boat --lora ink:0.5"),
        ("a boat --lora ink:-3", "a boat --lora ink:-2"),
        ("a boat --without fog --steps 0", "a boat --no fog --steps 1"),
    ],
)
def test_what_was_surely_meant_is_corrected_and_runs(typed: str, corrected: str) -> None:
    assert wrong(typed).corrected() == corrected
    read(corrected)


@pytest.mark.parametrize(
    "typed",
    ["a boat --seed 7 --seed 8", "a boat --size 512", "a boat --zzqqx 1", "a boat --cfg", "a boat --fast --relax", ""],
)
def test_what_only_its_author_knows_stays_as_it_was_typed(typed: str) -> None:
    assert wrong(typed).corrected() == typed


def test_a_correction_never_brings_a_mistake_of_its_own() -> None:
    error = wrong("a boat --stepps --aspekt 3:2 here --no")
    with pytest.raises(PromptError) as again:
        read(error.corrected())
    assert len(again.value.mistakes) < len(error.mistakes)
