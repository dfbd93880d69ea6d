"""Who has the worker between two steps: lanes in order, relax in slices, members in turn, models without swaps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fairness import Scope, WaitingJob
from core.job import Lane
from core.preemption import (
    COLD_SLICE_MS,
    PAUSED_ROWS,
    SLICE_MS,
    Capacity,
    RunningJob,
    arrange,
    capacity_of,
    enter,
    fits,
    holder,
    jobs_to_displace,
)

WARM = frozenset({"x"})


def waiting(account="alice", lane=Lane.FAST, estimate=1000, key="x:256x256", order=0, **more):
    return WaitingJob(job=f"job{order}", account=account, lane=lane, estimate_ms=estimate, key=key, order=order, **more)


def running(job="a", lane=Lane.FAST, account="alice", model="x", rows=4, **more):
    return RunningJob(job=job, lane=lane, account=account, model=model, rows=rows, **more)


def runs(*jobs, rows=8, credit_ms=0.0, holding=None, warm=WARM):
    return set(arrange(jobs, rows=rows, credit_ms=credit_ms, holding=holding, warm=warm).runs)


def capacity(*jobs, lane=Lane.FAST, rows=8, warm=WARM, cap=3):
    return capacity_of(jobs, rows=rows, lane=lane, warm=warm, running_per_account=cap)


# --- lanes ---------------------------------------------------------------------------------------------------------


def test_an_idle_worker_is_nobodys():
    assert holder([], 0.0, None) is None
    assert arrange([], rows=8, credit_ms=0.0, holding=None).runs == frozenset()


def test_turbo_goes_before_fast_and_fast_before_relax():
    assert holder(Lane, 0.0, Lane.RELAX) is Lane.TURBO
    assert holder({Lane.FAST, Lane.RELAX}, 0.0, Lane.RELAX) is Lane.FAST
    assert holder({Lane.RELAX}, -1e6, None) is Lane.RELAX


def test_relax_takes_a_slice_when_it_has_saved_one_up_and_keeps_the_worker_until_it_is_spent():
    both = {Lane.FAST, Lane.RELAX}
    assert holder(both, SLICE_MS - 1, Lane.FAST) is Lane.FAST
    assert holder(both, SLICE_MS, Lane.FAST) is Lane.RELAX
    assert holder(both, 1, Lane.RELAX) is Lane.RELAX
    assert holder(both, 0, Lane.RELAX) is Lane.FAST


def test_when_fast_work_comes_relax_pauses_and_goes_on_afterwards():
    relaxed = running("r", Lane.RELAX, rows=8)
    fast = running("f")
    assert runs(relaxed) == {"r"}
    assert runs(relaxed, replace(fast, queueing=True), holding=Lane.RELAX) == {"r"}  # not there yet: no step is lost
    assert runs(relaxed, fast, holding=Lane.RELAX) == {"f"}
    assert runs(relaxed, fast, holding=Lane.FAST, credit_ms=SLICE_MS) == {"r"}
    assert runs(relaxed, holding=Lane.FAST) == {"r"}


def test_while_a_job_is_on_its_way_those_below_fill_the_gap_if_their_model_is_loaded():
    fast, relaxed = running("f", queueing=True), running("r", Lane.RELAX)
    for warm, filling in ((WARM, {"r"}), (frozenset(), set())):
        shift = arrange([relaxed, fast], rows=8, credit_ms=50.0, holding=Lane.FAST, warm=warm)
        assert (shift.lane, set(shift.runs)) == (Lane.FAST, filling), "filling a gap is no slice"
    ended = replace(fast, over=True)
    assert runs(relaxed, ended, warm=frozenset()) == {"r"}
    shift = arrange([relaxed, ended], rows=8, credit_ms=0.0, holding=Lane.FAST, expected={Lane.FAST})
    assert (shift.lane, shift.runs) == (Lane.FAST, frozenset())


def test_fast_work_goes_on_while_relax_is_on_its_way_to_its_slice():
    jobs = running("f", model="loading"), running("r", Lane.RELAX, queueing=True)
    assert runs(*jobs, credit_ms=SLICE_MS, holding=Lane.FAST) == {"f"}


def test_relax_saves_up_for_longer_where_its_model_would_have_to_be_loaded():
    jobs = running("r", Lane.RELAX, model="y"), running("f")
    assert runs(*jobs, credit_ms=SLICE_MS, holding=Lane.FAST) == {"f"}
    assert runs(*jobs, credit_ms=COLD_SLICE_MS, holding=Lane.FAST) == {"r"}


def test_a_job_that_must_run_alone_is_left_alone():
    assert runs(running("r", Lane.RELAX, solo=True), holding=Lane.RELAX, credit_ms=-1e4) == {"r"}
    assert capacity(running("r", Lane.RELAX, solo=True)) is None


# --- rows ----------------------------------------------------------------------------------------------------------


def test_the_jobs_of_a_lane_run_together_as_far_as_they_fit():
    assert runs(running("a"), running("b"), running("c")) == {"a", "b"}
    assert runs(running("a", rows=20)) == {"a"}, "a job of more pictures than rows is computed in turns"


def test_a_displaced_job_goes_on_when_there_is_room_again():
    displaced = running("a", displaced=True)
    assert runs(displaced, running("b"), running("c")) == {"b", "c"}
    assert runs(displaced, running("b")) == {"a", "b"}


def test_rows_that_pause_take_none_of_the_others_room():
    relaxed = running("r", Lane.RELAX, rows=8)
    assert capacity(relaxed).rows == 8
    assert capacity(relaxed, running("f")).rows == 4
    assert capacity(running("f"), lane=Lane.RELAX).rows == 8


def test_the_memory_for_paused_rows_is_bounded():
    full = [running(f"r{n}", Lane.RELAX, rows=4) for n in range((8 + PAUSED_ROWS) // 4 - 1)]
    assert fits(waiting(rows=4), capacity(*full))
    assert not fits(waiting(rows=4), capacity(*full, running("last", Lane.RELAX, rows=4)))


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Lane)), st.integers(1, 4), st.booleans(), st.booleans()), min_size=1, max_size=30
    ),
    st.floats(-1000, 1000),
    st.sampled_from([None, *Lane]),
)
def test_whatever_is_there_one_lane_runs_it_fits_and_somebody_does(jobs, credit_ms, holding):
    jobs = [
        running(str(n), lane, rows=rows, displaced=displaced, queueing=queueing)
        for n, (lane, rows, displaced, queueing) in enumerate(jobs)
    ]
    shift = arrange(jobs, rows=8, credit_ms=credit_ms, holding=holding, warm=WARM)
    chosen = [job for job in jobs if job.job in shift.runs]
    assert bool(chosen) == any(not job.queueing for job in jobs)
    assert len({job.lane for job in chosen}) <= 1 and not any(job.queueing for job in chosen)
    assert sum(job.rows for job in chosen) <= 8


def test_a_member_is_capped_by_what_is_computed_at_once_and_not_by_what_pauses():
    jobs = running("r", Lane.RELAX), running("d", displaced=True), running("f")
    assert capacity(*jobs).off_gpu == {"r", "d"}


# --- members -------------------------------------------------------------------------------------------------------


def service_of(**accounts):
    return {(Scope.ACCOUNT, Lane.FAST, name): float(ms) for name, ms in accounts.items()}


def test_a_short_job_does_not_wait_for_the_end_of_a_long_one_of_a_member_who_was_served_more():
    long = [running(f"l{n}", booked_ms=10_000, measured_ms=800) for n in range(2)]
    service = service_of(alice=20_000, bob=10_000)  # bob was lifted to where alice was when her second one began
    assert jobs_to_displace(waiting("bob", estimate=800, rows=4), capacity(*long), service) == ("l1",)
    assert jobs_to_displace(waiting("bob", estimate=900, rows=4), capacity(*long), service) == (), (
        "alice is not that far ahead"
    )


def test_nobody_is_displaced_for_an_own_job_or_for_one_that_must_run_alone():
    long = [running(f"l{n}", booked_ms=10_000, measured_ms=5000) for n in range(2)]
    assert jobs_to_displace(waiting("alice", estimate=10, rows=4), capacity(*long), service_of(alice=20_000)) == ()
    assert (
        jobs_to_displace(waiting("bob", estimate=10, rows=4, solo=True), capacity(*long), service_of(alice=20_000))
        == ()
    )


def test_equal_grids_of_equal_members_run_to_their_end():
    first = [running(name, account=name, booked_ms=1000, measured_ms=900) for name in ("ann", "bob")]
    service = service_of(ann=1000, bob=1000)
    assert enter([waiting("carl", rows=4)], service, capacity(*first)) is None


def test_as_many_give_way_as_are_needed_the_most_served_first():
    jobs = [running("a", account="ann", rows=2), running("b", account="bob", rows=3), running("c", account="c", rows=3)]
    service = service_of(ann=9000, bob=8000, c=0)
    assert jobs_to_displace(waiting("dan", estimate=500, rows=4), capacity(*jobs), service) == ("a", "b")


def test_of_one_members_jobs_the_newest_gives_way_first():
    jobs = [running(f"a{n}", rows=2, booked_ms=1000, measured_ms=500) for n in range(4)]
    assert jobs_to_displace(waiting("bob", estimate=2000, rows=4), capacity(*jobs), service_of(alice=4000)) == (
        "a3",
        "a2",
    )


def test_a_job_that_gave_way_is_next_unless_its_member_is_ahead_by_as_much():
    jobs = running("d", displaced=True), running("f", account="bob", rows=8)
    assert capacity(*jobs).rows == 0
    assert not fits(waiting("carl", rows=1), capacity(*jobs))


# --- models --------------------------------------------------------------------------------------------------------


def test_models_that_are_not_all_loaded_take_no_turns_in_a_lane():
    other = waiting(key="y:256x256", rows=4)
    assert not fits(other, capacity(running("a")))
    assert fits(other, capacity(running("a"), warm=frozenset({"x", "y"})))
    assert fits(other, capacity()), "an empty worker may load it"
    assert fits(other, capacity(running("r", Lane.RELAX))), "a paused job takes no turns"


def test_no_job_gives_way_to_one_whose_model_would_have_to_be_loaded():
    jobs = [running(rows=8, booked_ms=1000, measured_ms=900)]
    service = service_of(alice=90_000)
    assert jobs_to_displace(waiting("bob", rows=4), capacity(*jobs), service) == ("a",)
    assert jobs_to_displace(waiting("bob", key="y:256x256", rows=4), capacity(*jobs), service) == ()


def test_jobs_of_several_models_go_on_together_only_where_all_are_loaded():
    jobs = running("a"), running("b", model="y", rows=2), running("c", rows=2)
    assert runs(*jobs) == {"a", "c"}
    assert runs(*jobs, warm=frozenset({"x", "y"})) == {"a", "b", "c"}
    assert not fits(waiting(rows=1), capacity(*jobs)), "the one that waits for its model is not overtaken"


def test_a_loaded_model_enters_before_one_that_is_not():
    heads = [waiting("ann", key="y:256x256", order=0), waiting("bob", key="x:256x256", order=1)]
    assert enter(heads, {}, capacity()).turn.waiting.account == "bob"
    assert enter(heads, service_of(bob=1001), capacity()).turn.waiting.account == "ann"


@pytest.mark.parametrize(
    ("space", "job", "enters"),
    [
        (Capacity(), waiting(), True),
        (Capacity(rows=4, alone=False), waiting(rows=4), True),
        (Capacity(rows=3, alone=False), waiting(rows=4), False),
        (Capacity(rows=3, alone=True), waiting(rows=4), True),
        (Capacity(alone=False), waiting(solo=True), False),
        (Capacity(alone=True), waiting(solo=True), True),
    ],
)
def test_who_may_enter_now(space, job, enters):
    assert fits(job, space) is enters
