"""Custom ids say all that a press needs, and those that stand in posted messages stay readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import ComponentId, Verb, job_component
from bot.messages.components import MAX_CUSTOM_ID


@pytest.mark.parametrize(
    ("component", "custom_id"),
    [
        (job_component("abc", Verb.VARY, 2), "job:abc:v:2"),
        (job_component("abc", Verb.AGAIN), "job:abc:again"),
        (ComponentId(job="abc", verb="v", index=0, relax=True), "job:abc:v:0:relax"),
        (ComponentId(job="abc", verb="again", relax=True), "job:abc:again:relax"),
        (job_component("abc", "zoom-out"), "job:abc:zoom-out"),
        (job_component("abc", "region", 2, "c0f3"), "job:abc:region:2:=c0f3"),
        (ComponentId(job="abc", verb="region", relax=True, argument="c0f3"), "job:abc:region:relax:=c0f3"),
        (ComponentId(verb="fix"), "ask:fix"),
        (ComponentId(verb="prompt"), "ask:prompt"),
        (ComponentId(verb="page", argument="2"), "ask:page:2"),
    ],
)
def test_a_custom_id_says_all_that_a_press_needs(component, custom_id):
    assert str(component) == custom_id
    assert ComponentId.parse(custom_id) == component


@pytest.mark.parametrize(
    "custom_id",
    [
        "job:ABC:v:1",
        "job:abc:X:1",
        "job:abc:v:100",
        "job::v",
        "job:abc:v:1;drop",
        "job:abc:v:1:relax:x",
        "job:abc:v:1:=",
        "job:abc:v:=c0f3:relax",
        "ask:",
        "u:abc",
    ],
)
def test_what_is_none_of_ours_means_nothing(custom_id):
    assert ComponentId.parse(custom_id) is None


@given(
    st.builds(
        ComponentId,
        job=st.from_regex(r"[0-9a-z]{1,20}", fullmatch=True),
        verb=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
        index=st.none() | st.integers(0, 99),
        relax=st.booleans(),
        argument=st.just("") | st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True),
    )
    | st.builds(
        ComponentId,
        verb=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
        argument=st.just("") | st.from_regex(r"[A-Za-z0-9_.-]{1,60}", fullmatch=True),
    )
)
def test_every_id_is_read_as_what_was_written_and_fits(component):
    assert len(str(component)) <= MAX_CUSTOM_ID
    read = ComponentId.parse(str(component))
    assert read == component


@pytest.mark.parametrize(
    "wrong",
    [
        {"verb": "take_off"},
        {"verb": "Reword", "job": "abc"},
        {"verb": "v" * 33},
        {"verb": "page", "argument": "two words"},
        {"verb": "page", "job": "abc", "argument": "two.words"},
        {"verb": "page", "job": "abc", "argument": "2" * 17},
        {"verb": "v", "job": "abc", "index": 100},
        {"verb": "page", "relax": True},
    ],
)
def test_an_id_that_could_not_be_read_again_is_never_made(wrong):
    with pytest.raises(ValueError, match="is not a custom id of ours"):
        ComponentId(**wrong)
