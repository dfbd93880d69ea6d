"""The lattice: sixteen areas that fill a picture, and sets of them that fit into an id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import lattice

SETS = st.frozensets(st.integers(0, 15), min_size=1, max_size=15)


@given(SETS)
def test_areas_are_read_as_they_were_written(areas):
    assert lattice.areas_of(lattice.code(areas)) == areas


@pytest.mark.parametrize("said", ["0000", "ffff", "", "1", "00g0", "FFF0", "12345", "٠٠٠١"])
def test_what_names_no_part_of_a_picture_is_refused(said):
    with pytest.raises(ValueError, match="Choose 1 to 15"):
        lattice.areas_of(said)


@given(st.integers(4, 900), st.integers(4, 900))
def test_the_areas_fill_the_picture_without_a_gap_and_without_meeting(width, height):
    boxes = [lattice.box(area, (width, height)) for area in range(16)]
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) == width * height
    assert boxes[0][:2] == (0, 0) and boxes[15][2:] == (width, height)
    assert all(boxes[n][2] == boxes[n + 1][0] for n in range(15) if n % 4 != 3)


def test_areas_are_named_by_number_and_place():
    assert [lattice.name(area) for area in (0, 6, 15)] == [
        "1 · top left", "7 · upper centre right", "16 · bottom right"
    ]  # fmt: skip
