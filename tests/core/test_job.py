"""What a job is: legal ways, faithful copies, honest sums."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.job import FINAL, TRANSITIONS, Account, Job, Kind, Lane, MadeWith, PayerKind, Request, State, Where

REQUEST = Request(prompt="a cat", width=256, height=320, seed=7, steps=20, guidance=4.0, sampler="euler", model="m")
WHERE = Where(guild="1", channel="2", message=None, interaction="3", token="a-secret", token_expires_at=9.0)
JOB = Job(id="a1", kind=Kind.GRID, state=State.QUEUED, lane=Lane.FAST, user="5", where=WHERE, typed="a cat",
          account=Account(kind=PayerKind.MEMBER, server="1", id="5"), request=REQUEST, created_at=1.0)  # fmt: skip


def test_every_state_has_its_ways_and_the_final_ones_have_none():
    assert set(TRANSITIONS) == set(State)
    assert {State.DONE, State.FAILED, State.CANCELLED} == FINAL
    assert State.QUEUED in TRANSITIONS[State.RUNNING]
    assert all(State.PREPARING not in following for following in TRANSITIONS.values())


@pytest.mark.parametrize("state", State)
def test_every_state_can_reach_an_end(state):
    reached, frontier = set(), {state}
    while frontier:
        reached |= frontier
        frontier = {later for early in frontier for later in TRANSITIONS[early]} - reached
    assert reached & FINAL


def test_a_job_is_final_when_nothing_can_change_it():
    assert [replace(JOB, state=state).is_final for state in State] == [state in FINAL for state in State]


def test_an_account_is_one_string_and_back():
    for kind in PayerKind:
        account = Account(kind=kind, server="home", id="7")
        assert Account.parse(account.key()) == account


@pytest.mark.parametrize("key", ["", "member:1", "member:1:2:3", "ghost:1:2"])
def test_a_key_that_is_no_account_is_refused(key):
    with pytest.raises(ValueError):
        Account.parse(key)


def test_a_request_survives_its_row_and_a_newer_programs_keys():
    assert Request.from_dict(REQUEST.to_dict()) == REQUEST
    assert Request.from_dict({**REQUEST.to_dict(), "tiling": True}) == REQUEST
    made = MadeWith(model="m", digest="d", dtype="float32", device="cpu", engine="1")
    assert MadeWith.from_dict({**made.to_dict(), "compiler": "x"}) == made


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, 20),
        ({"stop": 50}, 10),
        ({"strength": 0.6}, 12),
        ({"strength": 0.6, "stop": 50}, 2),
        ({"strength": 0.01}, 1),
        ({"stop": 10, "strength": 0.1}, 1),
        ({"steps": 1}, 1),
        ({"steps": 1, "strength": 0.8}, 1),
        ({"steps": 2, "strength": 0.8}, 1),
        ({"steps": 2, "strength": 0.8, "stop": 50}, 1),
        ({"steps": 20, "strength": 0.99}, 19),
    ],
)
def test_a_request_runs_only_the_steps_between_its_start_and_its_stop(changes, steps):
    assert replace(REQUEST, **changes).steps_to_run() == steps


@given(st.integers(1, 200), st.integers(1, 100), st.floats(0.01, 1.0))
@settings(deadline=None)
def test_steps_to_run_are_at_least_one_and_at_most_all(steps, stop, strength):
    assert 1 <= replace(REQUEST, steps=steps, stop=stop, strength=strength).steps_to_run() <= steps


def test_work_counts_pixels_steps_and_pictures():
    assert REQUEST.work() == 256 * 320 * 20 * 4


def test_rows_share_a_batch_by_model_and_size_alone():
    assert REQUEST.batch_key() == "m:256x320"
    assert replace(REQUEST, steps=5, seed=1, sampler="dpmpp_2m", guidance=9.0).batch_key() == REQUEST.batch_key()
    assert replace(REQUEST, width=320).batch_key() != REQUEST.batch_key()


def test_a_token_never_shows_up_where_a_job_is_printed():
    assert "a-secret" not in repr(JOB)
