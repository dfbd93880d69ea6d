"""Makes the file that a result is posted as: four pictures in a grid, as large as Discord takes it.

Pure work on bytes with pillow; slow, so callers run it in a thread of its own. Knows nothing of jobs and messages.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from core.grid_layout import columns

#: What every server's upload limit is at least.
UPLOAD_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to write a picture; `scale` shrinks both sides."""

    ending: str
    options: dict[str, Any]
    scale: float = 1.0


#: Lossless as long as it fits, then smaller and smaller. The kept pictures stay as they are.
ENCODINGS: tuple[Encoding, ...] = (
    Encoding(".png", {"format": "PNG", "optimize": False}),
    Encoding(".webp", {"format": "WEBP", "lossless": True, "quality": 50}),
    Encoding(".webp", {"format": "WEBP", "quality": 92}),
    Encoding(".webp", {"format": "WEBP", "quality": 75}),
    Encoding(".jpg", {"format": "JPEG", "quality": 70}),
    Encoding(".jpg", {"format": "JPEG", "quality": 70}, scale=0.5),
    Encoding(".jpg", {"format": "JPEG", "quality": 60}, scale=0.25),
)


def encode(pictures: Sequence[bytes], encoding: Encoding) -> bytes:
    """The pictures (PNG) as one file in that encoding. A single PNG is handed on byte for byte."""
    if len(pictures) == 1 and encoding is ENCODINGS[0]:
        return pictures[0]
    sheet = _sheet(pictures)
    if encoding.scale != 1.0:
        size = (max(1, round(sheet.width * encoding.scale)), max(1, round(sheet.height * encoding.scale)))
        sheet = sheet.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    sheet.save(out, **encoding.options)
    return out.getvalue()


def _sheet(pictures: Sequence[bytes]) -> Image.Image:
    with Image.open(io.BytesIO(pictures[0])) as first:
        width, height = first.size
    across = columns(len(pictures))
    sheet = Image.new("RGB", (width * across, height * -(-len(pictures) // across)))
    for place, picture in enumerate(pictures):
        with Image.open(io.BytesIO(picture)) as opened:  # one after the other: each takes megabytes
            sheet.paste(opened.convert("RGB"), (place % across * width, place // across * height))
    return sheet
