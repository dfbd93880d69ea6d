"""Takes a PNG, JPEG or WebP file apart: the bytes that its pixels are made of, and which way up it was held.

Whatever stands beside the pixels (profiles, comments, thumbnails, animation) is left out before anything decodes the
file, so that nothing in it, broken or huge, can refuse a picture that is whole. Files that are built otherwise than
they should be are handed on as they are: the decoder has the word on pixels. Decodes no pixel.
"""

import re
import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
#: The header, the palette, its transparent entries, the pixels, and the end.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_WEBP_PIXELS = frozenset({b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"})
#: In a WebP's VP8X: a profile, Exif and XMP follow.
_WEBP_NOTES = 0x20 | 0x08 | 0x04
#: Where application segments of a JPEG say how its colours are stored; all other segments are notes.
_JFIF, _ADOBE = b"JFIF\0", b"Adobe"
_SHORTEST = {_JFIF: 14, _ADOBE: 12}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PNG_EXIF, _PNG_XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
#: Notes are looked at for the orientation up to here, unpacked.
_MOST_NOTES = 1 << 20
_ORIENTATION = 0x0112
_NUMBERS = {1: "B", 3: "H", 4: "I"}  # Exif's kinds of whole numbers
_IN_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])[\"'<]")

Part = tuple[bytes, bytes, bytes]  # its name, what it holds, and all its bytes


def pixels_only(data: bytes) -> bytes:
    """The file without its notes; where it is none that can be taken apart, as it is."""
    try:
        if data.startswith(_PNG):
            return _PNG + b"".join(whole for name, _, whole in _png_chunks(data) if name in _PNG_PIXELS)
        if data.startswith(b"\xff\xd8\xff"):
            return b"\xff\xd8" + b"".join(whole for name, held, whole in _jpeg_parts(data) if _tells_pixels(name, held))
        if _is_webp(data):
            return _webp_without_notes(data)
    except (struct.error, IndexError):
        pass
    return data


def orientation(data: bytes) -> int:
    """As Exif counts it, 1 to 8; 1, upright, where nothing says so that can be read."""
    try:
        for notes in _notes(data):
            found = _in_exif(notes.removeprefix(_EXIF)) or _in_xmp(notes)
            if found:
                return found
    except (struct.error, IndexError):
        pass
    return 1


def _png_chunks(data: bytes) -> Iterator[Part]:
    at = len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        yield name, data[at + 8 : end - 4], data[at:end]
        if name == b"IEND":
            return
        at = end


def _jpeg_parts(data: bytes) -> Iterator[Part]:
    """The segments up to the first scan; the last part is that scan and all behind it."""
    at = 2
    while data[at : at + 1] == b"\xff":
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        name = data[at : at + 2]
        if name == b"\xff\xda":
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        yield name, data[at + 4 : end], data[at:end]
        at = end
    yield b"", b"", data[at:]


def _tells_pixels(name: bytes, held: bytes) -> bool:
    """Not the application segments 0 to 15 and the comment, but for whole ones that tell how colours are stored."""
    if not name or not (0xE0 <= name[1] <= 0xEF or name[1] == 0xFE):
        return True
    return any(held.startswith(start) and len(held) >= least for start, least in _SHORTEST.items())


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def _webp_chunks(data: bytes) -> Iterator[Part]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        yield name, data[at + 8 : at + 8 + length], data[at:end]
        at = end


def _webp_without_notes(data: bytes) -> bytes:
    parts = []
    for name, held, whole in _webp_chunks(data):
        if name == b"VP8X":
            parts.append(whole[:8] + bytes([held[0] & ~_WEBP_NOTES & 0xFF]) + whole[9:])
        elif name in _WEBP_PIXELS:
            parts.append(whole)
    inside = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def _notes(data: bytes) -> Iterator[bytes]:
    """Exif and XMP, Exif first where the format has it so."""
    if data.startswith(_PNG):
        chunks = [(name, held) for name, held, _ in _png_chunks(data) if name in (b"eXIf", b"zTXt", b"tEXt", b"iTXt")]
        yield from (held for name, held in chunks if name == b"eXIf")
        yield from (_png_profile(name, held) for name, held in chunks if held.startswith(_PNG_EXIF))
        yield from (held for name, held in chunks if name == b"iTXt" and held.startswith(_PNG_XMP))
    elif data.startswith(b"\xff\xd8\xff"):
        held = [held for name, held, _ in _jpeg_parts(data) if name == b"\xff\xe1"]
        yield from sorted((one for one in held if one.startswith((_EXIF, _XMP))), key=lambda one: one.startswith(_XMP))
    elif _is_webp(data):
        yield from (held for name, held, _ in sorted(_webp_chunks(data)) if name in (b"EXIF", b"XMP "))


def _png_profile(name: bytes, held: bytes) -> bytes:
    """Exif as older programs put it into a PNG: hexadecimal digits behind three lines, mostly packed."""
    text = held[len(_PNG_EXIF) :]
    if name == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST_NOTES)
        except zlib.error:
            return b""
    digits = b"".join(text[:_MOST_NOTES].split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _in_exif(tiff: bytes) -> int:
    """The first directory's orientation; 0 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + _NUMBERS.get(kind, "H"), tiff, entry + 8)
                return value if 1 <= value <= 8 else 0
    except struct.error:
        pass
    return 0


def _in_xmp(xml: bytes) -> int:
    match = _IN_XMP.search(xml[:_MOST_NOTES])
    return int(match[1]) if match else 0
