"""What a model lacks is said in one sentence, before anything is queued."""

from dataclasses import replace
from typing import Any

import pytest

from core.catalogue import FAMILIES, POSTCARD, Capability, Model
from core.job import Canvas, Input, Kind, Lora, Request, Role, Upscale
from core.model_capabilities import capabilities, missing_capability, needed_capabilities

FLUX = replace(FAMILIES["flux"], name="flux")
ANY = replace(FAMILIES["any"], name="other")


def request(prompt: str = "a red boat", **changes: Any) -> Request:
    plain = {"width": 64, "height": 64, "seed": 1, "steps": 4, "guidance": 5.0, "sampler": "euler", "model": "postcard"}
    return Request(prompt=prompt, **(plain | changes))


CASES: list[tuple[Capability, dict[str, Any], Kind]] = [
    (Capability.VARIATION, {"strength": 0.5}, Kind.VARIATION),
    (Capability.INPAINT, {"inputs": (Input(role=Role.MASK, of="a/0"),)}, Kind.EDIT),
    (Capability.OUTPAINT, {"canvas": Canvas(left=0, top=0, width=64, height=64)}, Kind.EDIT),
    (Capability.TILE, {"tile": True}, Kind.GRID),
    (Capability.IMAGE_PROMPT, {"inputs": (Input(role=Role.PROMPT, of="a/0"),)}, Kind.GRID),
    (Capability.STYLE, {"inputs": (Input(role=Role.STYLE, of="a/0"),)}, Kind.GRID),
    (Capability.CHARACTER, {"inputs": (Input(role=Role.CHARACTER, of="a/0"),)}, Kind.GRID),
    (Capability.UPSCALE, {"upscale": Upscale(factor=2)}, Kind.UPSCALE),
    (Capability.REFINE, {"upscale": Upscale(factor=2, creative=True)}, Kind.UPSCALE),
    (Capability.DESCRIBE, {}, Kind.DESCRIBE),
    (Capability.LORA, {"loras": (Lora(name="ink"),)}, Kind.GRID),
    (Capability.NEGATIVE, {"negative": "fog"}, Kind.GRID),
    (Capability.WEIGHTS, {"prompt": "a (red:1.3) boat"}, Kind.GRID),
    (Capability.WEIGHTS, {"prompt": "red::2 boat::1"}, Kind.GRID),
    (Capability.STOP, {"stop": 60}, Kind.GRID),
    (Capability.CHAOS, {"chaos": 50}, Kind.GRID),
]


@pytest.mark.parametrize(("capability", "changes", "kind"), CASES)
def test_each_edit_is_asked_for_by_what_needs_it_and_refused_with_one_sentence(capability, changes, kind):
    wish = request(**changes)
    assert capability in needed_capabilities(wish, kind)
    found = missing_capability(wish, ANY, kind)
    assert found is not None and found[0] is capability
    assert "`other`" in found[1] and found[1].endswith(".") and "\n" not in found[1]
    able = replace(ANY, edits=tuple(Capability))
    assert missing_capability(wish, able, kind) is None
    assert (
        f"`--model {POSTCARD.name}`"
        in missing_capability(wish, ANY, kind, [replace(POSTCARD, edits=tuple(Capability))])[1]
    )


def test_every_edit_that_a_request_can_ask_for_was_tried():
    assert {capability for capability, _, _ in CASES} == set(Capability) - {Capability.PREVIEW}


def test_a_plain_grid_and_the_crop_of_any_job_need_nothing():
    assert missing_capability(request(), ANY) is None
    assert missing_capability(request(strength=0.5, tile=True, stop=50), ANY, Kind.CROP) is None


@pytest.mark.parametrize("prompt", ["a boat: red", "at 10:30", "a (small) boat"])
def test_a_colon_alone_is_no_weight(prompt):
    assert needed_capabilities(request(prompt)) == ()


def test_weights_in_what_is_left_out_are_asked_for_too():
    assert Capability.WEIGHTS in needed_capabilities(request(negative="(fog:1.3)"))


def test_before_a_worker_has_spoken_the_family_and_the_companions_tell():
    def can(model: Model) -> set[Capability]:
        return set(capabilities(model))

    assert Capability.TILE in can(POSTCARD) and Capability.TILE not in can(FLUX)
    assert Capability.STYLE not in can(POSTCARD) and Capability.STYLE in can(replace(POSTCARD, adapter="x"))
    assert Capability.UPSCALE in can(replace(POSTCARD, upscaler="x")) and Capability.DESCRIBE in can(
        replace(POSTCARD, classifier="x")
    )


def test_what_a_worker_says_counts_and_words_of_a_newer_one_are_passed_over():
    assert capabilities(replace(POSTCARD, edits=("variation", "levitation"))) == {Capability.VARIATION}


def test_one_image_prompt_alone_needs_no_adapter_but_two_do_and_transformers_take_none() -> None:
    one = Input(role=Role.PROMPT, of="a/0")
    assert missing_capability(request(inputs=(one,)), FLUX) is None
    assert missing_capability(request(inputs=(one, one)), FLUX) is not None
    assert missing_capability(request(inputs=(one,)), ANY) is not None
    named = replace(FLUX, adapter="somewhere")
    assert missing_capability(request(inputs=(replace(one, role=Role.STYLE),)), named) is not None


def test_a_model_of_which_its_worker_says_that_it_can_do_nothing_more_can_do_nothing_more():
    named = replace(ANY, upscaler="owner/upscaler")
    assert Capability.UPSCALE in capabilities(named), "before a worker has spoken the catalogue counts"
    assert capabilities(replace(named, edits=())) == frozenset()
