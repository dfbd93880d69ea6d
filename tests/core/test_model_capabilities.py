"""What a model lacks is said in one sentence, before anything is queued."""

from dataclasses import replace
from typing import Any

import pytest

from core.catalogue import FAMILIES, POSTCARD, Edit, Model
from core.job import Canvas, Input, Kind, Lora, Request, Role, Upscale
from core.model_capabilities import abilities, lacking, needs

FLUX = replace(FAMILIES["flux"], name="flux")
ANY = replace(FAMILIES["any"], name="other")


def request(prompt: str = "a red boat", **changes: Any) -> Request:
    plain = {"width": 64, "height": 64, "seed": 1, "steps": 4, "guidance": 5.0, "sampler": "euler", "model": "postcard"}
    return Request(prompt=prompt, **(plain | changes))


CASES: list[tuple[Edit, dict[str, Any], Kind]] = [
    (Edit.VARIATION, {"strength": 0.5}, Kind.VARIATION),
    (Edit.INPAINT, {"inputs": (Input(role=Role.MASK, of="a/0"),)}, Kind.EDIT),
    (Edit.OUTPAINT, {"canvas": Canvas(left=0, top=0, width=64, height=64)}, Kind.EDIT),
    (Edit.TILE, {"tile": True}, Kind.GRID),
    (Edit.IMAGE_PROMPT, {"inputs": (Input(role=Role.PROMPT, of="a/0"),)}, Kind.GRID),
    (Edit.STYLE, {"inputs": (Input(role=Role.STYLE, of="a/0"),)}, Kind.GRID),
    (Edit.CHARACTER, {"inputs": (Input(role=Role.CHARACTER, of="a/0"),)}, Kind.GRID),
    (Edit.UPSCALE, {"upscale": Upscale(factor=2)}, Kind.UPSCALE),
    (Edit.REFINE, {"upscale": Upscale(factor=2, creative=True)}, Kind.UPSCALE),
    (Edit.DESCRIBE, {}, Kind.DESCRIBE),
    (Edit.LORA, {"loras": (Lora(name="ink"),)}, Kind.GRID),
    (Edit.NEGATIVE, {"negative": "fog"}, Kind.GRID),
    (Edit.WEIGHTS, {"prompt": "a (red:1.3) boat"}, Kind.GRID),
    (Edit.WEIGHTS, {"prompt": "red::2 boat::1"}, Kind.GRID),
    (Edit.STOP, {"stop": 60}, Kind.GRID),
    (Edit.CHAOS, {"chaos": 50}, Kind.GRID),
]


@pytest.mark.parametrize(("edit", "changes", "kind"), CASES)
def test_each_edit_is_asked_for_by_what_needs_it_and_refused_with_one_sentence(edit, changes, kind):
    wish = request(**changes)
    assert edit in needs(wish, kind)
    found = lacking(wish, ANY, kind)
    assert found is not None and found[0] is edit
    assert "`other`" in found[1] and found[1].endswith(".") and "\n" not in found[1]
    able = replace(ANY, edits=tuple(Edit))
    assert lacking(wish, able, kind) is None
    assert f"`--model {POSTCARD.name}`" in lacking(wish, ANY, kind, [replace(POSTCARD, edits=tuple(Edit))])[1]


def test_every_edit_that_a_request_can_ask_for_was_tried():
    assert {edit for edit, _, _ in CASES} == set(Edit) - {Edit.PREVIEW}


def test_a_plain_grid_and_the_crop_of_any_job_need_nothing():
    assert lacking(request(), ANY) is None
    assert lacking(request(strength=0.5, tile=True, stop=50), ANY, Kind.CROP) is None


@pytest.mark.parametrize("prompt", ["a boat: red", "at 10:30", "a (small) boat"])
def test_a_colon_alone_is_no_weight(prompt):
    assert needs(request(prompt)) == ()


def test_before_a_worker_has_spoken_the_family_and_the_companions_tell():
    def can(model: Model) -> set[Edit]:
        return set(abilities(model))

    assert Edit.TILE in can(POSTCARD) and Edit.TILE not in can(FLUX)
    assert Edit.STYLE not in can(POSTCARD) and Edit.STYLE in can(replace(POSTCARD, adapter="x"))
    assert Edit.UPSCALE in can(replace(POSTCARD, upscaler="x")) and Edit.DESCRIBE in can(
        replace(POSTCARD, classifier="x")
    )


def test_what_a_worker_says_counts_and_words_of_a_newer_one_are_passed_over():
    assert abilities(replace(POSTCARD, edits=("variation", "levitation"))) == {Edit.VARIATION}


def test_one_image_prompt_alone_needs_no_adapter_but_two_do_and_transformers_take_none() -> None:
    one = Input(role=Role.PROMPT, of="a/0")
    assert lacking(request(inputs=(one,)), FLUX) is None
    assert lacking(request(inputs=(one, one)), FLUX) is not None
    assert lacking(request(inputs=(one,)), ANY) is not None
    named = replace(FLUX, adapter="somewhere")
    assert lacking(request(inputs=(replace(one, role=Role.STYLE),)), named) is not None
