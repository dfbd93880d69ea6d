"""A picture's pixels count, and which way up it is: nothing else that its file holds can refuse or change it."""

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worker.edits.inputs import decode
from worker.edits.picture_files import orientation, pixels_only
from worker.errors import CannotCompute
from worker.interfaces import Pixels

PIXELS: Pixels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
KINDS = ("PNG", "JPEG", "WEBP")
BROKEN_EXIF = b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(PIXELS).save(file, kind, **lossless, **options)
    return file.getvalue()


def chunk(name: bytes, held: bytes, crc: int | None = None) -> bytes:
    """One of a PNG's."""
    sum_ = zlib.crc32(name + held) if crc is None else crc
    return struct.pack(">I", len(held)) + name + held + struct.pack(">I", sum_)


def png_with(*chunks: bytes) -> bytes:
    """Behind its header."""
    plain = saved("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """In front of all others."""
    plain = saved("JPEG")
    made = (b"\xff" + bytes([name]) + struct.pack(">H", len(held) + 2) + held for name, held in segments)
    return plain[:2] + b"".join(made) + plain[2:]


def webp_with(name: bytes, held: bytes) -> bytes:
    """Whatever its header says of notes."""
    plain = saved("WEBP", exif=BROKEN_EXIF)
    at = plain.index(b"EXIF")
    inside = plain[8:at] + name + struct.pack("<I", len(held)) + held + b"\0" * (len(held) % 2)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def sideways(order: str, number: str = "H", before: bytes = b"") -> bytes:
    """Exif that says: turn me to the right. `before`: an entry that stands in front."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    value = struct.pack(f"{order}{number}", 6).ljust(4, b"\0")
    entry = struct.pack(f"{order}HHI", 0x0112, {"H": 3, "I": 4}[number], 1) + value
    return start + struct.pack(f"{order}H", 1 + len(before) // 12) + before + entry + bytes(4)


IN_DIGITS = b"\nexif\n 38\n" + sideways("<").hex().encode()
PACKED = zlib.compress(bytes(3_000_000))
ODD: Mapping[str, bytes] = {
    "3 MB of packed text": png_with(chunk(b"zTXt", b"Comment\0\0" + PACKED)),
    "packed international text": png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0" + PACKED)),
    "a profile of 3 MB": png_with(chunk(b"iCCP", b"icc\0\0" + PACKED)),
    "a profile that is none": png_with(chunk(b"iCCP", b"icc\0\0rubbish")),
    "a note with a wrong sum": png_with(chunk(b"tEXt", b"Comment\0x", crc=1)),
    "a short note": png_with(chunk(b"pHYs", b"\0"), chunk(b"gAMA", b""), chunk(b"cHRM", b"\0"), chunk(b"sRGB", b"")),
    "broken Exif in a PNG": png_with(chunk(b"eXIf", BROKEN_EXIF)),
    "Exif that is none in a PNG": png_with(chunk(b"eXIf", b"rubbish")),
    "Exif that is none in a WebP": webp_with(b"EXIF", b"Exif\0\0rubbish"),
    "Exif that is none in a JPEG": jpeg_with((0xE1, b"Exif\0\0rubbish")),
    "Exif in digits that are none": png_with(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzz")),
    "a broken animation": png_with(chunk(b"acTL", b"\0\0")),
    "a JPEG's short header": jpeg_with((0xE0, b"JFIF\0")),
    "broken Exif in a JPEG": jpeg_with((0xE1, BROKEN_EXIF)),
    "several pictures in one that are none": jpeg_with((0xE2, b"MPF\0" + b"\xff" * 20)),
    "a profile in parts that are missing": jpeg_with((0xE2, b"ICC_PROFILE\0\x05\x09x")),
    "a broken block of another program": jpeg_with((0xED, b"Photoshop 3.0\x008BIM\x03")),
    "broken Exif in a WebP": webp_with(b"EXIF", BROKEN_EXIF),
    "a broken profile in a WebP": webp_with(b"ICCP", b"x"),
    "XMP that is cut off in a WebP": webp_with(b"XMP ", b"<x")[:-1],
}


@pytest.mark.parametrize("case", ODD)
def test_what_stands_beside_the_pixels_refuses_no_picture(case: str) -> None:
    data = ODD[case]
    kind = "PNG" if data.startswith(b"\x89PNG") else "WEBP" if data.startswith(b"RIFF") else "JPEG"
    assert np.array_equal(decode(data, "It"), decode(saved(kind), "It"))
    assert orientation(data) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_of_a_bare_file_stay_what_they_are(kind: str) -> None:
    data = saved(kind, icc_profile=b"p" * 9000, exif=Image.Exif())
    bare = pixels_only(data)
    assert len(bare) < len(data) and b"pppp" not in bare
    with Image.open(io.BytesIO(bare)) as ours, Image.open(io.BytesIO(data)) as theirs:
        assert ours.convert("RGB").tobytes() == theirs.convert("RGB").tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_palettes_transparency_and_other_colours_are_pixels_too(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture, file = Image.fromarray(PIXELS).convert(mode.partition(";")[0] if mode != "I;16" else "I;16"), io.BytesIO()
    picture.save(file, kind, **({"transparency": 3} if mode == "P" else {}))
    with Image.open(io.BytesIO(pixels_only(file.getvalue()))) as ours, Image.open(file) as theirs:
        assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())
        assert ours.info.get("transparency") == theirs.info.get("transparency")
        assert ours.info.get("adobe_transform") == theirs.info.get("adobe_transform")


@pytest.mark.parametrize(
    "data",
    [
        png_with(chunk(b"eXIf", sideways(">"))),
        png_with(chunk(b"eXIf", sideways("<", "I"))),
        png_with(chunk(b"zTXt", b"Comment\0\0" + PACKED), chunk(b"eXIf", b"Exif\0\0" + sideways(">"))),
        png_with(chunk(b"tEXt", b"Raw profile type exif\0" + IN_DIGITS)),
        png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(IN_DIGITS))),
        png_with(chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')),
        jpeg_with((0xE1, b"Exif\0\0" + sideways("<", before=b"\xff" * 12))),
        jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>6</tiff:Orientation>")),
        webp_with(b"EXIF", sideways(">", "I")),
        webp_with(b"XMP ", b"<x tiff:Orientation='6'/>"),
    ],
)  # fmt: skip
def test_a_picture_held_sideways_is_turned_upright_wherever_its_file_says_so(data: bytes) -> None:
    assert orientation(data) == 6
    assert decode(data, "It").shape == (40, 24, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(1, 9))
def test_each_way_to_hold_a_picture_is_the_one_that_others_know(kind: str, place: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = place
    data = saved(kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # of Image.Transpose
        upright = image.transpose(Image.Transpose(turns[place])) if place in turns else image
        assert np.array_equal(decode(data, "It"), np.asarray(upright.convert("RGB")))


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_that_are_cut_off_or_broken_are_refused_as_before(kind: str) -> None:
    data = saved(kind)
    for broken in (data[: len(data) // 2], data[:20], data[:8], b"", b"GIF89a" + data):
        with pytest.raises(CannotCompute, match="whole PNG, JPEG or WebP"):
            decode(broken, "It")


@pytest.mark.parametrize("sides", [(9000, 9000), (10_000, 10_000), (40_000, 40_000)])
def test_a_picture_with_too_many_pixels_is_refused_for_that_and_for_nothing_else(sides: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0)
    with pytest.raises(CannotCompute, match=r"too many to read|too many pixels"):
        decode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "It")


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_are_taken_apart_or_handed_on(kind: str) -> None:
    data, random = saved(kind, exif=sideways("<")), np.random.default_rng(7)
    for _ in range(300):
        torn = bytearray(data)
        for at in random.integers(0, len(torn), 3):
            torn[at] = random.integers(0, 256)
        torn = torn[: random.integers(1, len(torn))] if random.random() < 0.3 else torn
        assert isinstance(pixels_only(bytes(torn)), bytes)
        assert 1 <= orientation(bytes(torn)) <= 8
