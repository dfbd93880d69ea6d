"""The 4×4 lattice over a picture, by whose numbered areas a person says which part of it is to be drawn again.

Pure: areas as a set of numbers, as a word for an id or a row, and as rectangles. Draws nothing.
"""

import re

#: Areas across and down.
SIDE = 4
AREAS = SIDE * SIDE
#: With all of them nothing of the picture would stay.
MOST = AREAS - 1
_ROWS, _COLUMNS = ("top", "upper", "lower", "bottom"), ("left", "centre left", "centre right", "right")
#: Of `Input.of`: a mask that the bot draws by itself, from the areas behind it.
PREFIX = "lattice:"
_CODE = re.compile(r"[0-9a-f]{4}", re.ASCII)

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def code(areas: frozenset[int]) -> str:
    """The areas (0 … 15) as four characters; `areas_of` reads them."""
    return f"{sum(1 << area for area in areas):04x}"


def areas_of(said: str) -> frozenset[int]:
    """The areas of a code. Raises ValueError for what is none, and for none or all of them."""
    bits = int(said, 16) if _CODE.fullmatch(said) else 0
    areas = frozenset(area for area in range(AREAS) if bits >> area & 1)
    if not 1 <= len(areas) <= MOST:
        raise ValueError(f"Choose 1 to {MOST} of the {AREAS} areas.")
    return areas


def box(area: int, size: tuple[int, int]) -> Box:
    """Where an area lies in a picture of that size; together they fill it without a gap."""
    row, column = divmod(area, SIDE)
    width, height = size
    return (
        column * width // SIDE, row * height // SIDE, (column + 1) * width // SIDE, (row + 1) * height // SIDE
    )  # fmt: skip


def name(area: int) -> str:
    """As people read it: "7 · upper centre right"."""
    row, column = divmod(area, SIDE)
    return f"{area + 1} · {_ROWS[row]} {_COLUMNS[column]}"
