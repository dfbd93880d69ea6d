"""Reads what an order brings besides words: its source, its mask, its reference pictures; refuses what cannot be.

All refusals of edits are here, before anything is computed. One picture is decoded at a time. Knows no device.
"""

import io
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.edits import FACTORS, MOST_PICTURES, MOST_PIXELS
from core.events import Submit
from core.job import Canvas, Kind, Request, Role
from worker.edits.picture_files import orientation, pixels_only
from worker.errors import CannotCompute
from worker.interfaces import Pixels
from worker.vision import CompanionKind, Companions

Mask = NDArray[np.uint8]  # [height, width]: 255 = to be made anew

FORMATS = ("PNG", "JPEG", "WEBP")
#: Pixels of a picture that an order brings, and of one that is enlarged.
MAX_PIXELS = MOST_PIXELS
#: Pixels of a picture that is only looked at: no network sees more of it, and a job may bring many.
MAX_REFERENCE_PIXELS = 4 << 20

#: What makes a picture upright, by how its file says that it was held.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Colour = tuple[int, int, int, int]
WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)

_NAMES = {Role.PROMPT: "image prompts", Role.STYLE: "style references", Role.CHARACTER: "character references"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A picture that speaks beside the words, or in their place."""

    role: Role
    pixels: Pixels = field(repr=False)
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All pictures of an order, decoded; `source` at its own size."""

    source: Pixels | None = field(repr=False)
    mask: Mask | None = field(repr=False)
    references: tuple[Reference, ...]


def wanted_companions(order: Submit) -> frozenset[CompanionKind]:
    """What it is drawn with, where that lies beside the model."""
    if order.kind is Kind.DESCRIBE:
        return frozenset({CompanionKind.DESCRIBER})
    if order.request.upscale is not None:
        return frozenset({CompanionKind.UPSCALER})
    follows = any(one.role is not Role.MASK for one in order.request.inputs)
    return frozenset({CompanionKind.ADAPTER} if follows else ())


def needed_companions(order: Submit) -> frozenset[CompanionKind]:
    """Of those, what it cannot be without."""
    upscale = order.request.upscale
    pictures = [one.role for one in order.request.inputs if one.role is not Role.MASK]
    # A creative upscale may start from plain enlarging; and one image prompt can be what the picture starts near.
    creative = upscale is not None and upscale.creative
    simple = pictures == [Role.PROMPT] and not order.source and order.kind is not Kind.DESCRIBE
    return frozenset() if creative or (upscale is None and simple) else wanted_companions(order)


def read_inputs(order: Submit, companions: Companions) -> Generator[None, None, Inputs]:
    """Checks and decodes all that the order brings; pauses after each picture. Raises CannotCompute."""
    request = order.request
    if len(order.pictures) != len(request.inputs):
        raise CannotCompute(f"The order names {len(request.inputs)} pictures, but brings {len(order.pictures)}.")
    _check(order, companions)
    source = mask = None
    if order.source:
        source = decode(order.source, "The picture to start from")
        yield
    if source is not None and request.upscale is not None:
        _check_enlarged(source, request)
    references: list[Reference] = []
    for place, (one, data) in enumerate(zip(request.inputs, order.pictures, strict=True), start=1):
        if one.role is Role.MASK:
            mask = _mask(data, request)
        else:
            seen = decode(data, f"Picture {place}", most=MAX_REFERENCE_PIXELS)
            references.append(Reference(role=one.role, pixels=seen, weight=one.weight))
        yield
    return Inputs(source=source, mask=mask, references=tuple(references))


def decode(data: bytes, what: str, *, ground: Colour = WHITE, most: int = MAX_PIXELS) -> Pixels:
    """A picture's bytes as RGB, upright, transparent parts on `ground`; smaller where it has more pixels than `most`.

    Only its pixels and which way up they are count; what else the file holds is not looked at. Raises CannotCompute.
    """
    try:
        bare, held = pixels_only(data), orientation(data)
        with Image.open(io.BytesIO(bare), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CannotCompute(f"{what} has {image.width}×{image.height} pixels: too many to read.")
            # A photograph is not even decoded larger than it has to be.
            image.draft("RGB", _at_most(image.size, most))
            upright = _of_bytes(_turned(image, held))
        clear = upright.has_transparency_data
        upright = upright.convert("RGBA" if clear else "RGB")
    except CannotCompute:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CannotCompute(f"{what} has too many pixels to read.") from error
    except Exception as error:
        # Pillow raises many kinds on broken files; all mean the same here.
        raise CannotCompute(f"{what} cannot be read: it has to be a whole PNG, JPEG or WebP file.") from error
    size = _at_most(upright.size, most)
    if upright.size != size:
        upright = upright.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if clear:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, ground), upright)
    return np.asarray(upright.convert("RGB"))


def _at_most(size: tuple[int, int], most: int) -> tuple[int, int]:
    """The same ratio in at most so many pixels."""
    factor = min(1.0, math.sqrt(most / (size[0] * size[1])))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _turned(image: Image.Image, held: int) -> Image.Image:
    """Decoded, so that its file may be closed."""
    turn = _TURNS.get(held)
    return image.copy() if turn is None else image.transpose(turn)


def _of_bytes(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in 8: Pillow would cut off at 255 what is to be divided. Its transparent value becomes alpha."""
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image)
    eight = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:
        eight.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
    return eight


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The whole picture at (width, height), whatever its ratio."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def covering(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture's middle that fills (width, height), nothing stretched."""
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), size, Image.Resampling.LANCZOS))


def _mask(data: bytes, request: Request) -> Mask:
    mask: Mask = decode(data, "The mask", ground=BLACK).max(axis=2)
    height, width = mask.shape
    if (width, height) != (request.width, request.height):
        raise CannotCompute(
            f"The mask has {width}×{height} pixels, but the picture {request.width}×{request.height}: "
            "both have to be the same size."
        )
    if not mask.any():
        raise CannotCompute("The mask is completely black: white marks what is to be drawn again.")
    return mask


def _check(order: Submit, companions: Companions) -> None:
    """What can be told from the numbers alone."""
    request = order.request
    roles = [one.role for one in request.inputs]
    problems: Mapping[str, bool] = {
        **_source_problems(order, roles, companions),
        **_reference_problems(order, roles, companions),
        "A picture's weight has to be between 0 and 3.": any(not 0 <= one.weight <= 3 for one in request.inputs),
        "Chaos has to be between 0 and 100.": not 0 <= request.chaos <= 100,
        "The weight of a house style has to be between 0 and 1.": request.house is not None
        and not 0 <= request.house.weight <= 1,
        "This worker has nothing that describes pictures: the model needs a classifier or a describer beside it.": (
            CompanionKind.DESCRIBER in needed_companions(order) and companions.describer is None
        ),
    }
    _refuse(problems)
    if request.canvas is not None:
        _refuse(_canvas_problems(request.canvas, request))


def _source_problems(order: Submit, roles: Sequence[Role], companions: Companions) -> Mapping[str, bool]:
    request, brings = order.request, bool(order.source)
    alone = len([role for role in roles if role is not Role.MASK]) == 1
    factor = request.upscale.factor if request.upscale is not None else FACTORS[0]
    return {
        "There is no picture to describe.": order.kind is Kind.DESCRIBE and not brings,
        "There is no picture to enlarge.": request.upscale is not None and not brings,
        "An upscale takes only the picture: no mask, no wider canvas and no other pictures.": (
            request.upscale is not None and (bool(roles) or request.canvas is not None)
        ),
        f"A picture can become 2 or 4 times as large, not {factor} times.": factor not in FACTORS,
        "This model has no upscaler; a creative upscale works without one.": (
            CompanionKind.UPSCALER in needed_companions(order) and companions.upscaler is None
        ),
        "A creative upscale draws on the picture: its strength has to be below 1.": (
            request.upscale is not None and request.upscale.creative and request.strength >= 1
        ),
        "There is no picture for the mask.": Role.MASK in roles and not brings,
        "A job takes one mask, not several.": roles.count(Role.MASK) > 1,
        "There is no picture to put on the wider canvas.": request.canvas is not None and not brings,
        "This job starts from a picture, but has none.": request.strength < 1 and not (brings or alone),
    }


def _reference_problems(order: Submit, roles: Sequence[Role], companions: Companions) -> Mapping[str, bool]:
    counts = {name: roles.count(role) for role, name in _NAMES.items()}
    return {
        **{f"A job takes {MOST_PICTURES} {name} at most, not {n}.": n > MOST_PICTURES for name, n in counts.items()},
        "This model has no image adapter: it can start near one picture, but not follow several side by side, "
        "blend them, or take a style or a character from one.": (
            CompanionKind.ADAPTER in needed_companions(order) and companions.adapter is None
        ),
    }


def _canvas_problems(canvas: Canvas, request: Request) -> Mapping[str, bool]:
    right, bottom = canvas.left + canvas.width, canvas.top + canvas.height
    return {
        f"The picture lies outside its new canvas of {request.width}×{request.height}.": (
            min(canvas.left, canvas.top) < 0
            or min(canvas.width, canvas.height) < 1
            or right > request.width
            or bottom > request.height
        ),
        "The new canvas is no larger than the picture: there is nothing to fill.": (
            (canvas.width, canvas.height) == (request.width, request.height)
        ),
    }


def _check_enlarged(source: Pixels, request: Request) -> None:
    height, width = source.shape[:2]
    factor = request.upscale.factor if request.upscale is not None else 1
    if (width * factor, height * factor) != (request.width, request.height):
        raise CannotCompute(
            f"The picture of {width}×{height}, {factor} times as large, is {width * factor}×{height * factor}, "
            f"not {request.width}×{request.height}."
        )
    if request.width * request.height > MAX_PIXELS:
        raise CannotCompute(f"{request.width}×{request.height} are too many pixels: enlarge the picture by less.")


def _refuse(problems: Mapping[str, bool]) -> None:
    for sentence, wrong in problems.items():
        if wrong:
            raise CannotCompute(sentence)
