"""How large the pictures of an order come out, which its worker says before it sends them and the bot knows beforehand.

Pure: reads the first bytes of a PNG, and decodes no pixel.
"""

from core.events import Submit

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def size_of_png(png: bytes) -> tuple[int, int] | None:
    """(width, height) by its header; None where the bytes do not begin as a PNG does."""
    if not png.startswith(_SIGNATURE) or png[12:16] != b"IHDR" or len(png) < 24:
        return None
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def result_size(order: Submit) -> tuple[int, int]:
    """(width, height) in pixels: as the request says, but where a picture is only made larger, as that says."""
    request = order.request
    source = size_of_png(order.source)
    if request.upscale is not None and not request.upscale.creative and source is not None:
        return source[0] * request.upscale.factor, source[1] * request.upscale.factor
    return request.width, request.height
