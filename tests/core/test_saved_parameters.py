"""What somebody has saved holds where a prompt says nothing, and an error that it causes says where it comes from."""

import pytest

from core import prompt_macros
from core.errors import PromptError
from core.job import Lane, Lora
from core.prompt import Defaults, Parsed, parse
from core.prompt_reading import Saved
from tests.core.prompts import CHOICES

SUFFIX = "your suffix (`/prefer suffix`)"


def read(text: str, *saved: str) -> Parsed:
    layers = [Saved(text=one, origin=SUFFIX if number == 0 else "your settings") for number, one in enumerate(saved)]
    return parse(text, choices=CHOICES, defaults=Defaults(), seed=1, saved=layers)


def test_the_prompt_wins_over_the_suffix_and_the_suffix_over_the_settings() -> None:
    request = read("a boat --steps 5", "--steps 6 --cfg 3", "--steps 7 --cfg 4 --count 2").request
    assert (request.steps, request.guidance, request.count) == (5, 3.0, 2)


@pytest.mark.parametrize(("prompt", "lane"), [("--fast", Lane.FAST), ("", Lane.RELAX)])
def test_a_lane_in_the_prompt_is_the_only_one(prompt: str, lane: Lane) -> None:
    assert read(f"a boat {prompt}", "--relax").lane is lane


def test_stylize_in_the_prompt_takes_no_raw_from_elsewhere() -> None:
    request = read("a boat --model styled --stylize 500", "--raw").request
    assert request == read("a boat --model styled --stylize 500").request


def test_what_was_added_stands_in_what_was_typed_so_that_it_means_the_same_for_everybody() -> None:
    parsed = read("a boat --steps 5", "--steps 6 --lora ink:0.5 --tile", "--cfg 4")
    assert parsed.typed == "a boat --steps 5 --lora ink:0.5 --tile --cfg 4"
    again = read(parsed.typed)
    assert again.request == parsed.request and again.request.loras == (Lora(name="ink", weight=0.5),)
    assert read("a boat").typed == "a boat"


@pytest.mark.parametrize(
    ("text", "suffix", "told"),
    [
        ("a boat", "--model zzz", "There is no model `zzz` here."),
        ("a boat", "--steps 900", "`--steps` takes a whole number from 1 to 100, not `900`."),
        ("a boat --model flux", "--tile", "cannot make pictures that tile"),
        ("a boat --cfg 1", "--no fog", "`--no` counts only with guidance"),
        ("a boat --model sdxl", "--lora glow", "The LoRA `glow`"),
        ("a boat --model flux", "--sampler ddim", "cannot use the sampler `ddim`"),
    ],
)
def test_an_error_that_a_saved_setting_causes_says_which(text: str, suffix: str, told: str) -> None:
    with pytest.raises(PromptError) as caught:
        read(text, suffix)
    (mistake,) = caught.value.mistakes
    assert told in mistake.sentence and mistake.sentence.endswith(f"It comes from {SUFFIX}.")
    assert caught.value.corrected() == text


def test_what_is_ignored_in_a_suffix_is_named_with_the_rest() -> None:
    assert read("a boat --weird 3", "--v 7").ignored == ("--weird", "--v")


@pytest.mark.parametrize(
    ("text", "expanded", "behind"),
    [
        ("a boat --film", "a boat 35 mm photograph", "--cfg 6"),
        ("a boat --film at sea --ar 3:2", "a boat 35 mm photograph at sea --ar 3:2", "--cfg 6"),
        ("a boat --ar 3:2 --film", "a boat 35 mm photograph --ar 3:2", "--cfg 6"),
        ("a boat --tile --film --wide at dusk", "a boat 35 mm photograph at dusk --tile", "--cfg 6 --ar 3:1"),
        ("--film", "35 mm photograph", "--cfg 6"),
        ("a boat --ar 3:2", "a boat --ar 3:2", ""),
        ("a film of a boat", "a film of a boat", ""),
    ],
)
def test_a_macro_brings_its_words_among_the_words_and_its_parameters_behind_them(
    text: str, expanded: str, behind: str
) -> None:
    found, saved = prompt_macros.expand(text, {"film": "35 mm photograph --cfg 6", "wide": "--ar 3:1"})
    assert (found, " ".join(one.text for one in saved)) == (expanded, behind)


@pytest.mark.parametrize("name", ["ar", "aspect", "v", "size", "", "Film", "a b", "-a", "1a", "a" * 31, "ä"])
def test_a_macro_cannot_have_the_name_of_a_parameter_or_one_that_cannot_be_typed(name: str) -> None:
    assert prompt_macros.why_not(name)


@pytest.mark.parametrize("name", ["film", "my-look2", "a"])
def test_any_other_name_will_do(name: str) -> None:
    assert not prompt_macros.why_not(name)
