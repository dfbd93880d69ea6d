"""Draws the lattice of areas: over a picture, for people to choose from, and as a mask for the worker.

Pure work on bytes with pillow; callers run it in a thread. Knows no jobs and no messages.
"""

import io
from collections.abc import Collection

from PIL import Image, ImageDraw, ImageFont

from core import lattice

#: Sides of what people look at, in pixels; a phone shows no more.
_LEAST, _MOST = 512, 1024
_LINE, _SHADE, _CHOSEN = (255, 255, 255), (0, 0, 0), (255, 64, 160)


def mask(size: tuple[int, int], areas: Collection[int]) -> bytes:
    """A greyscale PNG of that size (width, height): white where the areas are."""
    image = Image.new("L", size, 0)
    for area in areas:
        image.paste(255, lattice.box(area, size))
    return _saved(image, "PNG")


def numbered(png: bytes, areas: Collection[int] = ()) -> bytes:
    """A JPEG of the picture under the numbered lattice; the chosen areas stand out on any picture, to any eye."""
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    longer = max(picture.size)
    scale = min(max(longer, _LEAST), _MOST) / longer
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    for area in areas:
        place = lattice.box(area, size)
        picture.paste(Image.blend(picture.crop(place), Image.new("RGB", _extent(place), _CHOSEN), 0.5), place)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, min(size) // 14))
    for area in range(lattice.AREAS):
        place = lattice.box(area, size)
        text, around, frame = (_SHADE, _LINE, 8) if area in areas else (_LINE, _SHADE, 0)
        draw.rectangle(place, outline=_SHADE, width=frame)
        draw.rectangle(place, outline=_LINE, width=2)
        at = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        draw.text(at, str(area + 1), text, font, anchor="mm", stroke_width=4, stroke_fill=around)
    return _saved(picture, "JPEG")


def _extent(place: lattice.Box) -> tuple[int, int]:
    return place[2] - place[0], place[3] - place[1]


def _saved(image: Image.Image, how: str) -> bytes:
    out = io.BytesIO()
    image.save(out, how, quality=85)
    return out.getvalue()
