"""Weights in prompts are read as Midjourney reads them, and everything else is left alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.prompt_weights import Part, Span, is_weighted, parse, unweighted


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
        ("(a boat) (::1 a tree)", [("(a boat) (", 0.5), ("a tree)", 0.5)]),
    ],
)
def test_a_number_right_after_the_colons_weighs_the_text_before(text: str, found: list[tuple[str, float]]) -> None:
    assert shares(text) == found


@pytest.mark.parametrize("text", ["a::1 b::-1", "a::-1", "a::0"])
def test_weights_must_add_up_to_more_than_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a::101", "the limit is 100"),
        ("(a:9)", "the limit is 4"),
        ("(year: 1999)", "is written `\\(` and `\\)`"),
        ("(a boat::2 a tree:1.2)", "closed before `::`"),
        ("(a (b::1 c:1.1):1.2) d", "closed before `::`"),
    ],
)
def test_weights_without_sense_are_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse(text)


def test_a_prompt_has_no_more_parts_than_an_encoder_gets_through_soon() -> None:
    assert len(parse("a::1 " * 64)) == 64
    with pytest.raises(ValueError, match="65 parts of this; the limit is 64"):
        parse("a::1 " * 65)


def test_emphasis_is_a_bracket_that_ends_in_a_number() -> None:
    (part,) = parse("a (red:1.3) boat (on water) at (12:30:0.5)")
    assert part.spans == (
        Span("a "), Span("red", 1.3), Span(" boat (on water) at "), Span("12:30", 0.5),
    )  # fmt: skip
    assert is_weighted("(red:1.3)")


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("a (red (fat cat:1.3):1.2)", [Span("a "), Span("red ", 1.2), Span("fat cat", 1.56)]),
        ("((a:1.5) (b:0.5):2) c", [Span("a", 3), Span(" ", 2), Span("b c")]),
        ("(((a:1.1):1.1):1.1)", [Span("a", 1.331)]),
        ("(a (small) boat:1.2)", [Span("a (small) boat", 1.2)]),
        ("((red:1.3)", [Span("("), Span("red", 1.3)]),
        ("(red:1.3))", [Span("red", 1.3), Span(")")]),
        (r"(miku \(name\):1.2)", [Span("miku (name)", 1.2)]),
        (r"miku \(name\), \[x\], a\\b", [Span(r"miku (name), [x], a\b")]),
        (r"\(red:1.3\)", [Span("(red:1.3)")]),
        ("(red:-0.5) sea", [Span("red", -0.5), Span(" sea")]),
        ("(red:1,3)", [Span("red", 1.3)]),
        ("（红色：１．３） 船", [Span("红色", 1.3), Span(" 船")]),
        ("a cat :3) and (: a dog :1.2)", [Span("a cat :3) and "), Span(": a dog ", 1.2)]),
    ],
)
def test_emphasis_nests_and_multiplies_and_escaped_brackets_are_words(text: str, spans: list[Span]) -> None:
    (part,) = parse(text)
    assert part.spans == tuple(spans)


@pytest.mark.parametrize(
    "text",
    ["a clock that shows (12:30)", "(16:9)", "(1920:1080)", "(2.35:1)", "（12：30）", "( 3 : 2 )", "(1:2:3)",
     "(John 3:16)", "(at 12:30)", "(a scale of 1:100)", "(in 16:9)", "( :1.3)", "a (:2) b"],
)  # fmt: skip
def test_a_time_or_a_ratio_in_brackets_is_words(text: str) -> None:
    assert parse(text) == (Part((Span(text),)),)
    assert not is_weighted(text)


def test_a_number_with_a_fraction_is_an_emphasis_also_behind_a_number() -> None:
    assert parse("(7:1.5)")[0].spans == (Span("7", 1.5),)
    assert parse("(robot 3:2)")[0].spans == (Span("robot 3", 2),)


@pytest.mark.parametrize("text", ["((a:3):3)", "(a:-4.5)", "(a (b:9) c)"])
def test_brackets_that_multiply_to_too_much_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the limit is 4"):
        parse(text)


def test_a_model_without_weights_gets_the_words_alone() -> None:
    assert unweighted(r"a boat \(red\)::3") == "a boat (red)"
    assert unweighted("a (red:1) boat") == "a red boat"
    assert unweighted("at 12:30 (or later)") == "at 12:30 (or later)"


@given(st.text(max_size=60) | st.text("(:) 1.2a\\[]-，：", max_size=60))
def test_any_text_has_parts_whose_shares_add_up_to_one_or_a_sentence(text: str) -> None:
    try:
        parts = parse(text)
    except ValueError as error:
        assert str(error).endswith(".")
        return
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert all(part.spans for part in parts)
