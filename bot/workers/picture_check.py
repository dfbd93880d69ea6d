"""Looks into pictures that came over the wire: what is kept, or shown, can be decoded and is as large as was said.

Slow, so callers run it in a thread of their own. Decodes nothing whose header tells of more pixels than are expected.
"""

import io

from PIL import Image

from core.errors import FrameError
from core.wire_values import MAX_PREVIEW_SIDE


class BadPicture(FrameError):
    """`job`: for which it came."""

    def __init__(self, sentence: str, job: str) -> None:
        super().__init__(sentence)
        self.job = job


def check_png(png: bytes, size: tuple[int, int], job: str) -> None:
    """Raises BadPicture unless it is a whole PNG of that size. Takes as much memory as those pixels do."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            fits = picture.size == size
            if fits:
                picture.verify()  # the sums; it has to be opened again to be decoded
        if fits:
            with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
                picture.load()
    except Exception as error:  # pillow raises of all kinds for what is none
        raise BadPicture("It sent a picture that is damaged.", job) from error
    if not fits:
        raise BadPicture("It sent a picture of another size than it had said.", job)


def check_preview(jpeg: bytes) -> None:
    """Raises FrameError unless it is a JPEG that can be shown."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            fits = max(picture.size) <= MAX_PREVIEW_SIDE
            if fits:
                picture.load()
    except Exception as error:  # as above
        raise FrameError("It sent a preview that is damaged.") from error
    if not fits:
        raise FrameError("It sent a preview that is too large.")
