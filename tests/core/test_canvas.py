"""Wider canvas: the old picture lies where the wish says, whole, on the model's grid."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.canvas import Direction, fit, in_words, pan, square, zoom_out
from core.job import Canvas

SIDES = st.integers(4, 64).map(lambda units: units * 32)


def inside(size: tuple[int, int], canvas: Canvas) -> bool:
    """Whether the old picture lies within the new one, and leaves something to fill."""
    fits = canvas.left >= 0 and canvas.top >= 0
    fits &= canvas.left + canvas.width <= size[0] and canvas.top + canvas.height <= size[1]
    return fits and min(canvas.width, canvas.height) >= 1 and (canvas.width, canvas.height) != size


@given(width=SIDES, height=SIDES, factor=st.floats(1.01, 4))
def test_a_zoom_keeps_the_size_and_puts_the_picture_into_the_middle(width: int, height: int, factor: float) -> None:
    size, canvas = zoom_out((width, height), factor)
    assert size == (width, height)
    assert inside(size, canvas)
    assert 2 * canvas.left + canvas.width == width
    assert 2 * canvas.top + canvas.height == height
    assert canvas.width == pytest.approx(width / factor, abs=2)


@given(width=SIDES, height=SIDES, direction=st.sampled_from(Direction))
def test_a_pan_adds_half_on_one_side_and_leaves_the_other_where_it_was(
    width: int, height: int, direction: Direction
) -> None:
    size, canvas = pan((width, height), direction, multiple=8, most=1 << 30)
    assert inside(size, canvas)
    assert (canvas.width, canvas.height) == (width, height), "with room enough not a pixel is scaled"
    wide = direction in (Direction.LEFT, Direction.RIGHT)
    assert size == ((width * 3 // 2, height) if wide else (width, height * 3 // 2))
    at_start = direction in (Direction.RIGHT, Direction.DOWN)
    assert (canvas.left, canvas.top) == (0, 0) if at_start else (canvas.left + canvas.top) > 0


@given(width=SIDES, height=SIDES, direction=st.sampled_from(Direction), multiple=st.sampled_from([8, 32, 64]))
def test_a_pan_beyond_the_models_pixels_shrinks_the_picture(
    width: int, height: int, direction: Direction, multiple: int
) -> None:
    most = 512 * 512
    size, canvas = pan((width, height), direction, multiple=multiple, most=most)
    assert size[0] * size[1] <= most
    assert size[0] % multiple == size[1] % multiple == 0
    assert inside(size, canvas)
    wide = direction in (Direction.LEFT, Direction.RIGHT)
    assert canvas.height == size[1] if wide else canvas.width == size[0], "and it still fills the other side"


@given(width=SIDES, height=SIDES)
def test_a_square_holds_the_whole_picture_in_its_middle(width: int, height: int) -> None:
    if width == height:
        with pytest.raises(ValueError, match="already square"):
            square((width, height), multiple=8, most=1 << 30)
        return
    size, canvas = square((width, height), multiple=8, most=1 << 30)
    assert size[0] == size[1] == max(width, height)
    assert inside(size, canvas)
    assert (canvas.width, canvas.height) == (width, height)


@given(
    width=st.integers(64, 3000), height=st.integers(64, 3000), multiple=st.sampled_from([1, 8, 32, 64]),
    most=st.integers(64 * 64, 1 << 21),
)  # fmt: skip
@example(width=1000, height=700, multiple=64, most=1_000_000)
@example(width=1000, height=1001, multiple=64, most=64 * 64)
def test_a_square_is_one_whatever_size_it_was_made_of_and_however_few_pixels_it_may_have(
    width: int, height: int, multiple: int, most: int
) -> None:
    assume(width != height)
    size, canvas = square((width, height), multiple=multiple, most=most)
    assert size[0] == size[1] and size[0] % multiple == 0
    assert size[0] * size[1] <= most
    assert inside(size, canvas), "something is left to fill"
    assert max(canvas.width, canvas.height) == size[0], "the longer side fills it"
    assert canvas.width / canvas.height == pytest.approx(width / height, abs=1.5 * (1 + width / height) / canvas.height)


@pytest.mark.parametrize("factor", [1.0, 0.5, 5.0])
def test_a_zoom_that_leaves_nothing_to_fill_or_nothing_of_the_picture_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="not possible"):
        zoom_out((256, 256), factor)


@given(width=SIDES, height=SIDES, wide=SIDES, high=SIDES, factor=st.floats(1, 4))
def test_another_shape_holds_the_whole_picture_in_its_middle(
    width: int, height: int, wide: int, high: int, factor: float
) -> None:
    assume(factor > 1.01 or abs(width / height / (wide / high) - 1) > 0.05)
    size, canvas = fit((width, height), (wide, high), factor)
    assert size == (wide, high) and inside(size, canvas)
    assert abs(2 * canvas.left + canvas.width - wide) <= 1 and abs(2 * canvas.top + canvas.height - high) <= 1
    fills = max(canvas.width / wide, canvas.height / high)
    assert fills == pytest.approx(1 / factor, abs=1 / min(wide, high))


@pytest.mark.parametrize(("factor", "said"), [(0.9, "at least 1"), (4.1, "at most 4"), (1.0, "changes nothing")])
def test_another_shape_that_is_none_is_refused(factor: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit((320, 224), (320, 224), factor)


@pytest.mark.parametrize("size", [(256, 256), (320, 224), (160, 384), (1344, 768)])
def test_what_was_done_is_told_from_the_canvas(size: tuple[int, int]) -> None:
    room = {"multiple": 32, "most": 1 << 30}
    for direction in Direction:
        assert in_words(*pan(size, direction, **room)) == f"panned {direction}"
        assert in_words(*pan(size, direction, multiple=32, most=size[0] * size[1])) == f"panned {direction}"
    assert in_words(*zoom_out(size, 1.5)) == "zoomed out 1.5×" and in_words(*zoom_out(size, 2)) == "zoomed out 2×"
    if size[0] != size[1]:
        assert in_words(*square(size, **room)) == "made square"
    assert in_words(*fit(size, (704, 384), 1.0)) == "in another shape"
    assert in_words(*fit(size, (704, 384), 2.0)) == "zoomed out 2×"
