"""What would change nothing is refused or said at once, and what changes something is taken without a word."""

from dataclasses import replace

import pytest

from core.catalogue import FAMILIES, Choices, Model, Style
from core.errors import PromptError
from core.prompt import Defaults, Parsed, parse

SD = replace(FAMILIES["sd1"], name="sd", path="s")
TURBO = replace(FAMILIES["sdxl"], name="turbo", path="t", steps=4, guidance=1.0)
SCHNELL = replace(FAMILIES["flux"], name="schnell", path="f", steps=4, guidance=1.0, ignores=("cfg",))
#: A pipeline that is guided from 0 on.
LOW = replace(FAMILIES["any"], name="low", path="l", guidance=1.0, edits=("negative",), negative_above=0.0)


def read(text: str, model: Model) -> Parsed:
    choices = Choices(default=model.name, models={model.name: model})
    return parse(text, choices=choices, defaults=Defaults(), seed=1)


@pytest.mark.parametrize(("model", "more"), [(TURBO, ""), (SD, " --cfg 1"), (SD, " --steps 9 --cfg 1")])
def test_no_without_guidance_is_refused_with_its_cure(model: Model, more: str) -> None:
    sentence = r"`--no` counts only with guidance.*would draw this with 1.*`--cfg 2`"
    with pytest.raises(PromptError, match=sentence) as error:
        read(f"a boat --no people{more}", model)
    assert (error.value.mistakes[0].word, error.value.mistakes[0].start) == ("--no", 7)


def test_no_is_refused_where_the_files_tell_that_it_changes_nothing_before_a_worker_has_spoken() -> None:
    with pytest.raises(PromptError, match="`sd` cannot be told what to leave out") as error:
        read("a boat --no people", replace(SD, ignores=("no",)))
    assert error.value.mistakes[0].word == "--no"


@pytest.mark.parametrize(("model", "more"), [(TURBO, " --cfg 2"), (TURBO, " --cfg 1.5"), (SD, ""), (LOW, "")])
def test_no_with_guidance_is_taken(model: Model, more: str) -> None:
    assert read(f"a boat --no people{more}", model).request.negative == "people"


def test_a_house_style_that_avoids_something_is_nobodys_mistake() -> None:
    styled = replace(TURBO, style=Style(positive="calm", negative="fog"))
    assert read("a boat", styled).request.house is not None


@pytest.mark.parametrize(
    ("model", "typed", "note"),
    [
        (SCHNELL, "--cfg 5", "`--cfg` changes nothing: `schnell` takes no guidance."),
        (TURBO, "--quality 0.9", "`--quality 0.9` changes nothing: it would still be 4 steps."),
        (TURBO, "--steps 1 --quality 0.5", "`--quality 0.5` changes nothing: it would still be 1 step."),
        (TURBO, "--stop 90", "`--stop 90` changes nothing: it leaves out none of 4 steps."),
    ],
)
def test_what_changes_nothing_is_said(model: Model, typed: str, note: str) -> None:
    assert note in read(f"a boat {typed}", model).notes


def test_a_style_that_is_said_in_phrases_has_as_many_steps_as_phrases() -> None:
    own = replace(FAMILIES["any"], name="own", path="o", style=Style(positive="calm light, soft, blue"))
    said = [read(f"a boat --stylize {much}", own).notes for much in (0, 100, 200, 400, 1000)]
    assert said[2] == ("`--stylize 200` changes nothing: it says as much of `own`'s style as 100.",)
    assert not any(said[:2] + said[3:])


@pytest.mark.parametrize(
    "typed",
    ["--cfg 5", "--quality 0.5", "--quality 1", "--stop 50", "--stop 100", "--steps 8 --stop 90", "--stylize 9"],
)
def test_of_what_changes_something_nothing_is_said(typed: str) -> None:
    styled = replace(SD, style=Style(positive="calm light"))
    parsed = read(f"a boat {typed}", styled)
    assert not parsed.notes and not parsed.ignored


@pytest.mark.parametrize(
    ("model", "style", "more", "counts"),
    [
        (SD, Style(positive="calm"), "", True),
        (SD, Style(negative="fog"), "", True),
        (SD, Style(negative="fog"), " --cfg 1", False),
        (SCHNELL, Style(negative="fog"), "", False),
        (SD, Style(guidance=9), "", True),
        (SD, Style(guidance=9), " --cfg 3", False),
        (SCHNELL, Style(guidance=9), "", False),
        (SD, Style(lora="not-here"), "", False),
        (SD, None, "", False),
    ],
)
def test_a_style_that_cannot_be_turned_up_is_named(model: Model, style: Style, more: str, counts: bool) -> None:
    parsed = read(f"a boat --stylize 800{more}", replace(model, style=style))
    assert any(note.startswith("`--stylize` changes nothing") for note in parsed.notes) != counts
