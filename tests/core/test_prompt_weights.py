"""Weights in prompts are read as Midjourney reads them, and everything else is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.prompt_weights import Part, Span, is_weighted, parse


def shares(text: str) -> list[tuple[str, float]]:
    return [("".join(span.text for span in part.spans), round(part.share, 4)) for part in parse(text)]


@pytest.mark.parametrize("text", ["a boat", "", "(a) [boat]", "12:30 in (1920:)", "a boat (by night)", "http://a"])
def test_a_plain_prompt_is_one_part_word_for_word(text: str) -> None:
    assert parse(text) == (Part((Span(text),)),)
    assert not is_weighted(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hot:: dog", [("hot", 0.5), ("dog", 0.5)]),
        ("hot::2 dog", [("hot", 0.6667), ("dog", 0.3333)]),
        ("hot::2 dog::2", [("hot", 0.5), ("dog", 0.5)]),
        ("a boat::1 sails::-0.5", [("a boat", 2), ("sails", -1)]),
        ("a::.5 b::1.5", [("a", 0.25), ("b", 0.75)]),
        ("a boat:: 2 oars", [("a boat", 0.5), ("2 oars", 0.5)]),
        ("a::2nd", [("a", 0.5), ("2nd", 0.5)]),
        ("a boat::3", [("a boat", 1)]),
    ],
)
def test_a_number_right_after_the_colons_weighs_the_text_before(text: str, found: list[tuple[str, float]]) -> None:
    assert shares(text) == found


@pytest.mark.parametrize("text", ["a::1 b::-1", "a::-1", "a::0"])
def test_weights_must_add_up_to_more_than_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        parse(text)


@pytest.mark.parametrize(("text", "sentence"), [("a::101", "the most is 100"), ("(a:9)", "the most is 4")])
def test_weights_without_sense_are_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(text)


def test_emphasis_is_a_bracket_that_ends_in_a_number() -> None:
    (part,) = parse("a (red:1.3) boat (on water) at (12:30:0.5)")
    assert part.spans == (
        Span("a "), Span("red", 1.3), Span(" boat (on water) at "), Span("12:30", 0.5),
    )  # fmt: skip
    assert is_weighted("(red:1.3)")


@given(st.text(max_size=60))
def test_any_text_has_parts_whose_shares_add_up_to_one_or_a_sentence(text: str) -> None:
    try:
        parts = parse(text)
    except ValueError as error:
        assert str(error).endswith(".")
        return
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert all(part.spans for part in parts)
