"""What cannot be done is said in one sentence before anything is computed."""

import itertools
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.events import Submit
from core.job import Canvas, HouseStyle, Input, Kind, Request, Role, Upscale
from tests.worker.edits.drawing import EditDriver, grey
from tests.worker.engine_driver import request
from worker.checkpoints import LoadedCheckpoint
from worker.edits import PrepareContext, check_text_only, prepare
from worker.edits.inputs import Inputs, decode, read_inputs
from worker.engine.image_encoding import png
from worker.errors import CannotCompute
from worker.interfaces import Pixels
from worker.vision import Companions

SIDE = 64
PIXELS: Pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
PNG = png(PIXELS)
MASK = Input(role=Role.MASK, of="mask")
PROMPT, STYLE = Input(role=Role.PROMPT, of="a/0"), Input(role=Role.STYLE, of="a/0")


class UntouchedFamily:
    """A family that nobody may ask for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was needed before the order was refused")


def refusal(wanted: Request, **more: Any) -> str:
    """The sentence."""
    companions: Any = more.pop("companions", Companions())
    order = Submit(job="a", attempt=1, request=wanted, indices=(0,), **more)
    family: Any = UntouchedFamily()
    with pytest.raises(CannotCompute) as refused:
        list(prepare(order, PrepareContext(family=family, companions=companions, text=family)))
    sentence = str(refused.value)
    assert sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence
    return sentence


WITH_ADAPTER: Any = Companions(adapter=UntouchedFamily(), describer=UntouchedFamily())  # type: ignore[arg-type]
WITH_UPSCALER: Any = Companions(upscaler=UntouchedFamily(), adapter=UntouchedFamily())  # type: ignore[arg-type]
TWICE = {"upscale": Upscale(factor=2), "width": 128, "height": 128}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "broken source": ({"strength": 0.5}, {"source": b"\x89PNG broken"}, "picture to start from cannot be read"),
    "no source": ({"strength": 0.5}, {}, "has none"),
    "cut off reference": (
        {"inputs": (PROMPT,)}, {"pictures": (PNG[:200],), "companions": WITH_ADAPTER}, "Picture 1 cannot be read"
    ),
    "fewer pictures than named": ({"inputs": (PROMPT, PROMPT)}, {"pictures": (PNG,)}, "names 2 pictures, but brings 1"),
    "mask of another size": (
        {"inputs": (MASK,)}, {"source": PNG, "pictures": (grey(np.full((32, SIDE), 255, np.uint8)),)},
        "64×32 pixels, but the picture 64×64",
    ),
    "black mask": (
        {"inputs": (MASK,)}, {"source": PNG, "pictures": (grey(np.zeros((SIDE, SIDE), np.uint8)),)}, "completely black"
    ),
    "two masks": ({"inputs": (MASK, MASK)}, {"source": PNG, "pictures": (PNG, PNG)}, "one mask"),
    "mask without a picture": ({"inputs": (MASK,)}, {"pictures": (PNG,)}, "no picture for the mask"),
    "canvas outside": (
        {"canvas": Canvas(left=40, top=0, width=32, height=64)}, {"source": PNG}, "outside its new canvas of 64×64"
    ),
    "canvas of nothing": (
        {"canvas": Canvas(left=0, top=0, width=64, height=64)}, {"source": PNG}, "nothing to fill"
    ),
    "canvas without a picture": ({"canvas": Canvas(left=0, top=0, width=32, height=64)}, {}, "no picture to put"),
    "six to blend": (
        {"inputs": (PROMPT,) * 6, "prompt": ""}, {"pictures": (PNG,) * 6, "companions": WITH_ADAPTER},
        "5 image prompts at most, not 6",
    ),
    "six styles": (
        {"inputs": (STYLE,) * 6}, {"pictures": (PNG,) * 6, "companions": WITH_ADAPTER},
        "5 style references at most, not 6",
    ),
    "blend without an adapter": ({"inputs": (PROMPT, PROMPT)}, {"pictures": (PNG, PNG)}, "no image adapter"),
    "style without an adapter": ({"inputs": (STYLE,)}, {"pictures": (PNG,)}, "no image adapter"),
    "image prompt beside a source without an adapter": (
        {"inputs": (PROMPT,), "strength": 0.5}, {"pictures": (PNG,), "source": PNG}, "no image adapter"
    ),
    "weight": (
        {"inputs": (Input(role=Role.PROMPT, of="a/0", weight=3.5),)}, {"pictures": (PNG,)}, "between 0 and 3"
    ),
    "factor of three": (
        {"upscale": Upscale(factor=3), "width": 192, "height": 192}, {"source": PNG}, "2 or 4 times as large, not 3"
    ),
    "upscale to another size": (
        {"upscale": Upscale(factor=2), "width": 192, "height": 128}, {"source": PNG, "companions": WITH_UPSCALER},
        "is 128×128, not 192×128",
    ),
    "upscale of nothing": ({"upscale": Upscale(factor=2)}, {}, "no picture to enlarge"),
    "upscale without an upscaler": (
        {"upscale": Upscale(factor=2), "width": 128, "height": 128}, {"source": PNG}, "has no upscaler"
    ),
    "upscale with a mask": (
        {**TWICE, "inputs": (MASK,)}, {"source": PNG, "pictures": (PNG,), "companions": WITH_UPSCALER},
        "only the picture",
    ),
    "upscale with a style": (
        {**TWICE, "inputs": (STYLE,)},
        {"source": PNG, "pictures": (PNG,), "companions": WITH_UPSCALER}, "only the picture",
    ),
    "upscale on a wider canvas": (
        {**TWICE, "canvas": Canvas(left=0, top=0, width=64, height=128)},
        {"source": PNG, "companions": WITH_UPSCALER}, "only the picture",
    ),
    "creative at full strength": (
        {"upscale": Upscale(factor=2, creative=True), "width": 128, "height": 128}, {"source": PNG}, "below 1"
    ),
    "description of nothing": ({}, {"kind": Kind.DESCRIBE, "companions": WITH_ADAPTER}, "no picture to describe"),
    "nobody describes": ({}, {"kind": Kind.DESCRIBE, "source": PNG}, "nothing that describes pictures"),
    "chaos": ({"chaos": 101}, {}, "between 0 and 100"),
    "house": ({"house": HouseStyle(positive="sunset", weight=1.5)}, {}, "between 0 and 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_is_refused_in_one_sentence_before_anything_is_computed(case: str) -> None:
    changes, more, words = CASES[case]
    assert words in refusal(request(**{"count": 1, **changes}), **more)


def read_all(wanted: Request, **more: Any) -> tuple[int, Inputs]:
    """In how many pieces the order's pictures were read, and what they are."""
    work = read_inputs(Submit(job="a", attempt=1, request=wanted, indices=(0,), **more), WITH_ADAPTER)
    for pieces in itertools.count():
        try:
            next(work)
        except StopIteration as end:
            return pieces, end.value
    raise AssertionError


def test_each_picture_is_read_in_a_piece_of_its_own_and_what_is_only_looked_at_becomes_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.edits.inputs.MAX_REFERENCE_PIXELS", 32 * 24)
    wide, photo = np.full((SIDE, 2 * SIDE, 3), 90, dtype=np.uint8), BytesIO()
    Image.fromarray(wide).save(photo, "JPEG")
    wanted = request(inputs=(PROMPT, STYLE, STYLE), strength=0.5, count=1)
    pieces, found = read_all(wanted, source=PNG, pictures=(PNG, png(wide), photo.getvalue()))
    assert pieces == 4
    assert found.source is not None and found.source.shape == PIXELS.shape
    for one, ratio in zip(found.references, (1, 2, 2), strict=True):
        height, width, _ = one.pixels.shape
        assert 32 * 24 / 1.2 < height * width <= 32 * 24
        assert width / height == pytest.approx(ratio, rel=0.1)
    assert np.abs(found.references[2].pixels.astype(int) - 90).max() <= 2


def test_a_mask_painted_on_nothing_is_white_only_where_it_was_painted() -> None:
    painted, file = np.zeros((SIDE, SIDE, 4), dtype=np.uint8), BytesIO()
    painted[8:24, 8:40] = 255
    Image.fromarray(painted).save(file, "PNG")
    _pieces, found = read_all(request(inputs=(MASK,), count=1), source=PNG, pictures=(file.getvalue(),))
    assert found.mask is not None and np.array_equal(found.mask, painted[..., 3])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_held_sideways_is_turned_upright(kind: str) -> None:
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    pixels = np.zeros((32, 64, 3), dtype=np.uint8)
    pixels[:16] = 255
    Image.fromarray(pixels).save(file, kind, exif=exif)
    for most, size in ((64 * 32, (64, 32)), (32 * 16, (32, 16))):
        upright = decode(file.getvalue(), "It", most=most)
        assert upright.shape[:2] == size
        assert upright[:, size[1] // 2 + 2 :].min() > 240 and upright[:, : size[1] // 2 - 2].max() < 16


def test_a_picture_of_too_many_pixels_is_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.edits.inputs.MAX_PIXELS", SIDE * SIDE - 1)
    assert "too many to read" in refusal(request(strength=0.5, count=1), source=PNG)


def test_what_the_numbers_tell_is_told_before_any_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any) -> None:
        raise AssertionError("a picture was decoded first")

    monkeypatch.setattr("worker.edits.inputs.decode", decode)
    for case in ("upscale without an upscaler", "upscale with a mask", "two masks", "canvas of nothing"):
        changes, more, words = CASES[case]
        assert words in refusal(request(**{"count": 1, **changes}), **more)


def test_transparent_pictures_lie_on_white_and_photographs_work_too(loaded: LoadedCheckpoint) -> None:
    clear, photo, deep = BytesIO(), BytesIO(), BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(clear, "PNG")
    Image.fromarray(PIXELS).save(photo, "JPEG")
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)).save(deep, "PNG")
    assert (decode(clear.getvalue(), "It") == 255).all()
    assert decode(photo.getvalue(), "It").shape == PIXELS.shape
    assert decode(deep.getvalue(), "It")[..., 0].tolist() == [[0, 128, 255]], "16 bits are not cut off at 255"
    deep.seek(0)
    Image.fromarray(np.array([[0, 0x8001, 0x8000]], dtype=np.uint16)).save(deep, "PNG", transparency=0x8000)
    assert decode(deep.getvalue(), "It")[..., 0].tolist() == [[0, 128, 255]], "one grey is transparent"
    assert len(EditDriver(loaded).draw(request(strength=0.5, count=1, steps=2), PIXELS)) == 1


@pytest.mark.parametrize(
    ("changes", "more"),
    [({"strength": 0.5}, {"source": PNG}), ({"inputs": (PROMPT,)}, {"pictures": (PNG,)}), ({"chaos": 5}, {})],
)
def test_a_model_that_draws_from_words_alone_refuses_the_rest(changes: Any, more: Any) -> None:
    order = Submit(job="a", attempt=1, request=request(**changes), indices=(0,), **more)
    with pytest.raises(CannotCompute, match="from words alone"):
        check_text_only(order)
    check_text_only(replace(order, request=request(), source=b"", pictures=()))
