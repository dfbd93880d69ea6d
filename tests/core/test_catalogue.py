"""Sizes that a model is asked for."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import FAMILIES, POSTCARD, SAMPLERS, SD15, Choices, LoraFile, fits, name_of
from core.events import ModelInfo


def test_postcard_is_only_asked_for_sizes_that_it_was_trained_at():
    assert POSTCARD.size_for(1, 1) == (256, 256)
    assert POSTCARD.size_for(16, 9) == (352, 192)
    assert POSTCARD.size_for(1, 4) == (160, 384)


def test_its_sizes_are_those_that_its_training_wrote_down():
    trained = json.loads((Path(__file__).parents[2] / POSTCARD.path / "sizes.json").read_text())
    assert [list(size) for size in POSTCARD.sizes] == trained


def test_a_checkpoint_gets_the_pixels_of_its_native_square_in_the_ratio_asked_for():
    assert SD15.size_for(1, 1) == (512, 512)
    assert SD15.size_for(3, 2) == (576, 384)


@given(st.floats(0.25, 4))
def test_any_ratio_has_a_size_of_whole_multiples_with_about_the_native_pixels(ratio):
    width, height = SD15.size_for(ratio, 1)
    assert width % SD15.multiple == 0 and height % SD15.multiple == 0
    assert 0.8 <= width * height / SD15.native**2 <= 1.1


def info(**changes: Any) -> ModelInfo:
    plain = {
        "name": "postcard", "family": "sd", "digest": "d", "dtype": "float32", "native": 256, "multiple": 16,
        "steps": 24, "guidance": 5.0, "sampler": "euler_a", "samplers": tuple(SAMPLERS), "edits": ("tile",),
    }  # fmt: skip
    return ModelInfo(**(plain | changes))


def test_what_the_worker_says_replaces_what_was_assumed_but_trained_sizes_stay():
    model = POSTCARD.refined_by(info())
    assert (model.steps, model.guidance, model.sampler, model.sizes) == (24, 5.0, "euler_a", POSTCARD.sizes)
    assert (model.digest, model.edits, model.multiple) == ("d", ("tile",), 16)
    other = SD15.refined_by(info())
    assert (other.sizes, other.size_for(1, 1)) == ((), (256, 256))


def test_what_the_catalogue_fixes_no_worker_changes():
    model = replace(SD15, fixed=("steps", "guidance", "native", "sampler")).refined_by(info())
    assert (model.native, model.steps, model.guidance, model.sampler) == (512, SD15.steps, SD15.guidance, SD15.sampler)
    assert model.digest == "d"
    assert replace(SD15, sampler="lcm", fixed=("sampler",)).refined_by(info(samplers=("euler_a",))).sampler == "euler_a"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("owner/Some-Model", "some-model"),
        ("/models/My Model/", "my-model"),
        ("/loras/Ink (v2).safetensors", "ink-v2"),
        ("/models/красный.safetensors", "красный"),
        ("/models/---", "model"),
        ("v1.5", "v1.5"),
    ],
)
def test_a_name_is_one_word_that_a_prompt_can_hold(path, name):
    assert name_of(path) == name
    assert name_of(name) == name


def test_a_lora_fits_unless_both_files_tell_otherwise():
    lora = LoraFile(name="ink", path="x", shape="sdxl")
    assert fits(lora, FAMILIES["sdxl"]) and not fits(lora, FAMILIES["sd1"])
    assert fits(lora, FAMILIES["any"]) and fits(replace(lora, shape=""), FAMILIES["sd1"])


def test_a_name_that_an_older_version_wrote_with_blanks_is_found():
    model = replace(SD15, name="my-model")
    choices = Choices(default="my-model", models={"my-model": model})
    assert choices.get("my model") == choices.usual() == model
    assert choices.get("other") is None


@given(st.sampled_from(sorted(FAMILIES)), st.floats(0.25, 4))
def test_every_family_has_a_size_for_every_ratio(family, ratio):
    model = FAMILIES[family]
    width, height = model.size_for(ratio, 1)
    assert width % model.multiple == 0 and height % model.multiple == 0
    assert abs(math.log(width / height / ratio)) < 0.2
