"""The grid has one shape, in previews and in results."""

import pytest

from core.grid_layout import columns


@pytest.mark.parametrize(("count", "across"), [(1, 1), (2, 2), (3, 3), (4, 2)])
def test_four_are_two_by_two_and_fewer_lie_in_one_row(count: int, across: int) -> None:
    assert columns(count) == across


@pytest.mark.parametrize(("count", "across"), [(5, 3), (6, 3), (9, 3), (10, 4)])
def test_more_come_as_near_a_square_as_holds_them(count: int, across: int) -> None:
    assert columns(count) == across
