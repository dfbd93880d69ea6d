"""Sizes that a model is asked for."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import POSTCARD, SAMPLERS, SD15, Model, from_info
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


def test_a_model_is_the_same_after_a_trip_through_plain_values():
    values = {name: getattr(POSTCARD, name) for name in POSTCARD.__slots__}
    assert Model.from_dict({**values, "sizes": [list(size) for size in POSTCARD.sizes], "newer": 1}) == POSTCARD


def test_what_the_worker_says_replaces_what_was_assumed_but_trained_sizes_stay():
    info = ModelInfo(
        name="postcard",
        family="sd",
        digest="d",
        dtype="float32",
        native=256,
        multiple=16,
        steps=24,
        guidance=4.0,
        sampler="euler",
        samplers=tuple(SAMPLERS),
    )
    model = from_info(info, POSTCARD.path, POSTCARD)
    assert (model.steps, model.guidance, model.sizes) == (24, 4.0, POSTCARD.sizes)
    other = from_info(info, "somewhere", SD15)
    assert (other.sizes, other.size_for(1, 1)) == ((), (256, 256))
