"""The queue's transitions: each happens once, to whom it belongs, with its money and its message."""

from dataclasses import replace

import pytest

from core.job import Lane, Source, State
from core.preemption import Capacity
from storage.jobs import DOUBLE_PRESS_SECONDS, Dedupe
from storage.ledger import NotEnough
from storage.outbox import DeliveryKind
from tests.harness.opened_storage import MADE, NOON


async def told(store):
    return [(delivery.job, delivery.kind) for delivery in await store.outbox.undelivered(store.clock())]


async def test_a_job_lives_from_the_queue_to_the_outbox(store):
    admitted = await store.admit(estimate=1000)
    assert admitted.state is State.QUEUED
    assert await store.balance() == 59_000
    claimed = await store.claim()
    assert (claimed.id, claimed.state, claimed.attempt) == (admitted.id, State.RUNNING, 1)
    started = await store.jobs.started(claimed.id, 1, MADE)
    assert (started.made_with, started.started_at) == (MADE, NOON)
    done = await store.jobs.finish(claimed.id, 1, 812)
    assert (done.state, done.gpu_ms, done.charged_ms, done.finished_at) == (State.DONE, 812, 812, NOON)
    assert await store.balance() == 59_188
    assert await told(store) == [(done.id, DeliveryKind.RESULT)]


async def test_a_row_gives_back_the_value_that_was_put_in(store):
    parent = await store.admit()
    job = replace(
        store.make(lane=Lane.RELAX, source=Source(job=parent.id, index=3), state=State.PREPARING),
        notes=("Ignored: --chaos.",),
        typed="größer 🚤 --seed 7",
    )
    async with store.db.transaction() as tx:
        assert await store.jobs.submit(tx, job) == job
    assert await store.jobs.get(job.id) == job


async def test_an_account_without_enough_time_inserts_nothing(store):
    with pytest.raises(NotEnough) as refusal:
        await store.admit(estimate=60_001)
    assert (refusal.value.balance_ms, refusal.value.needed_ms) == (60_000, 60_001)
    assert await store.rows("job") == []
    await store.admit(estimate=60_000)
    assert await store.balance() == 0


async def test_relax_costs_nothing_whatever_it_takes(store):
    job = await store.running(lane=Lane.RELAX, estimate=1000)
    done = await store.jobs.finish(job.id, 1, 5000)
    assert (done.charged_ms, done.reserved_ms) == (0, 0)
    assert await store.balance() == 60_000
    assert [(row["payer"], row["gpu_ms"]) for row in await store.rows("usage")] == [("account", 5000)]


async def test_turbo_costs_double(store):
    job = await store.running(lane=Lane.TURBO, estimate=1000)
    assert job.reserved_ms == 2000
    assert (await store.jobs.finish(job.id, 1, 601)).charged_ms == 1202


async def test_a_member_never_pays_more_than_was_quoted_and_the_rest_is_overhead(store):
    job = await store.running(estimate=1000)
    assert (await store.jobs.finish(job.id, 1, 1300)).charged_ms == 1000
    usage = [(row["payer"], row["cause"], row["gpu_ms"]) for row in await store.rows("usage")]
    assert usage == [("account", "done", 1000), ("house", "over quote", 300)]


async def test_the_same_interaction_twice_is_one_job(store):
    first = await store.admit(interaction="same")
    again = await store.admit(interaction="same")
    assert again.id == first.id
    assert await store.balance() == 59_000


async def test_several_jobs_of_one_interaction_differ_by_their_ordinal(store):
    async with store.db.transaction() as tx:
        await store.ledger.renew(tx, store.make().account, store.plan, NOON)
        ids = {(await store.jobs.submit(tx, store.make(interaction="batch"), ordinal=n)).id for n in range(3)}
    assert len(ids) == 3


async def test_a_button_pressed_twice_within_three_seconds_is_one_job(store):
    press = Dedupe(parent="job0", verb="v", index=2, presser="alice")
    first = await store.admit(dedupe=press)
    store.clock.now += DOUBLE_PRESS_SECONDS - 0.1
    assert (await store.admit(dedupe=press)).id == first.id
    store.clock.now += 0.2
    assert (await store.admit(dedupe=press)).id != first.id


@pytest.mark.parametrize("other", [{"presser": "bob"}, {"index": 1}, {"verb": "u"}, {"parent": "job9"}])
async def test_another_press_is_another_job(store, other):
    press = Dedupe(parent="job0", verb="v", index=2, presser="alice")
    first = await store.admit(dedupe=press)
    assert (await store.admit(dedupe=replace(press, **other))).id != first.id


async def test_a_button_may_be_pressed_again_at_once_after_its_job_was_cancelled(store):
    press = Dedupe(parent="job0", verb="v", index=2, presser="alice")
    first = await store.admit(dedupe=press)
    await store.jobs.cancel_waiting(first.id)
    assert (await store.admit(dedupe=press)).id != first.id


async def test_a_late_worker_can_neither_finish_nor_charge_a_job_that_another_has(store):
    job = await store.running()
    await store.jobs.requeue(job.id, 1)
    again = await store.claim()
    assert again.attempt == 2
    assert await store.jobs.started(job.id, 1, MADE) is None
    assert await store.jobs.finish(job.id, 1, 900) is None
    assert await store.jobs.fail(job.id, 1, "late", gpu_ms=900) is None
    assert await store.jobs.cancelled(job.id, 1, 900) is None
    assert await store.jobs.requeue(job.id, 1, strike=True) is None
    assert await store.jobs.renew([(job.id, 1, 900)]) == set()
    assert (await store.jobs.get(job.id)).state is State.RUNNING
    assert (await store.jobs.finish(job.id, 2, 700)).charged_ms == 700
    assert await store.jobs.finish(job.id, 2, 700) is None


async def test_cancelled_job_is_refunded_once_even_if_the_worker_finishes_late(store):
    job = await store.running(estimate=1000)
    cancelled = await store.jobs.cancelled(job.id, 1, 300)
    assert (cancelled.state, cancelled.charged_ms) == (State.CANCELLED, 300)
    assert await store.jobs.finish(job.id, 1, 1000) is None
    assert await store.jobs.cancelled(job.id, 1, 300) is None
    assert await store.balance() == 59_700
    assert await told(store) == [(job.id, DeliveryKind.CANCELLED)]


@pytest.mark.parametrize("state", [State.QUEUED, State.PREPARING])
async def test_a_job_cancelled_before_it_ran_costs_nothing(store, state):
    job = await store.admit(estimate=1000, state=state)
    assert (await store.jobs.cancel_waiting(job.id)).charged_ms == 0
    assert await store.jobs.cancel_waiting(job.id) is None
    assert await store.balance() == 60_000
    assert await store.jobs.claim(boot="boot1", worker="w", capacity=Capacity()) is None


async def test_a_running_job_is_not_cancelled_behind_its_workers_back(store):
    job = await store.running()
    assert await store.jobs.cancel_waiting(job.id) is None


async def test_a_failed_job_is_free_and_its_time_is_overhead(store):
    job = await store.running(estimate=1000)
    failed = await store.jobs.fail(job.id, 1, "The source picture is broken.", gpu_ms=400)
    assert (failed.state, failed.charged_ms, failed.failure) == (State.FAILED, 0, "The source picture is broken.")
    assert await store.balance() == 60_000
    assert [(row["payer"], row["gpu_ms"]) for row in await store.rows("usage")] == [("house", 400)]
    assert await told(store) == [(job.id, DeliveryKind.FAILURE)]


async def test_a_waiting_job_that_can_never_run_fails_without_an_attempt(store):
    job = await store.admit()
    assert (await store.jobs.fail(job.id, None, "No worker can do this.")).state is State.FAILED
    running = await store.running()
    assert await store.jobs.fail(running.id, None, "No worker can do this.") is None


async def test_three_strikes_end_a_job_free_of_charge(store):
    job = await store.running(estimate=1000)
    for attempt in (1, 2):
        waiting = await store.jobs.requeue(job.id, attempt, strike=True, solo=True, lost_ms=50)
        assert (waiting.state, waiting.strikes, waiting.solo) == (State.QUEUED, attempt, True)
        await store.claim()
    failed = await store.jobs.requeue(job.id, 3, strike=True, lost_ms=50)
    assert (failed.state, failed.strikes, failed.charged_ms) == (State.FAILED, 3, 0)
    assert "three times" in failed.failure
    assert await store.balance() == 60_000
    assert [(row["payer"], row["cause"], row["gpu_ms"]) for row in await store.rows("usage")] == [
        ("house", "lost", 50), ("house", "lost", 50), ("house", "failed", 50)]  # fmt: skip
    assert await told(store) == [(job.id, DeliveryKind.FAILURE)]


async def test_a_requeue_without_a_strike_never_counts(store):
    job = await store.running()
    for attempt in range(1, 6):
        assert (await store.jobs.requeue(job.id, attempt)).strikes == 0
        await store.claim()


async def test_what_a_lost_attempt_had_computed_is_overhead_as_last_heard(store):
    job = await store.running()
    assert await store.jobs.renew([(job.id, 1, 120), ("other", 1, 5)]) == {job.id}
    await store.jobs.renew([(job.id, 1, 90)])  # less: it began anew
    await store.jobs.requeue(job.id, 1)
    await store.claim()
    await store.jobs.requeue(job.id, 2)  # nothing was heard of this one
    assert [(row["payer"], row["cause"], row["gpu_ms"]) for row in await store.rows("usage")] == [("house", "lost", 90)]


async def test_a_new_boot_takes_back_what_older_boots_were_running(store):
    job = await store.running()
    waiting = await store.admit()
    preparing = await store.admit(state=State.PREPARING)
    await store.jobs.renew([(job.id, 1, 70)])
    assert [row.id for row in await store.jobs.new_boot("boot2")] == [job.id]
    assert await store.jobs.finish(job.id, 1, 900) is None
    back = await store.jobs.get(job.id)
    assert (back.state, back.strikes, back.started_at) == (State.QUEUED, 0, None)
    assert (await store.jobs.get(waiting.id)).state is State.QUEUED
    assert (await store.jobs.get(preparing.id)).state is State.FAILED
    store.boot = "boot2"
    assert (await store.claim()).attempt == 2
    assert await store.jobs.new_boot("boot3") != []


async def test_a_job_that_is_being_prepared_is_not_claimed(store):
    await store.admit(state=State.PREPARING)
    assert await store.jobs.claim(boot="boot1", worker="w", capacity=Capacity()) is None


async def test_a_crop_of_a_kept_picture_is_inserted_and_done_in_one_transaction(store):
    job = store.make(estimate=0, state=State.PREPARING)
    async with store.db.transaction() as tx:
        await store.jobs.submit(tx, job)
        done = await store.jobs.finish_at_once(tx, job.id)
    assert (done.state, done.charged_ms) == (State.DONE, 0)
    assert await told(store) == [(job.id, DeliveryKind.RESULT)]


async def test_counts_and_lists_say_who_waits_and_who_runs(store):
    running = await store.running(user="alice")
    waiting = await store.admit(user="alice")
    await store.admit(user="bob")
    finished = await store.admit(user="carol")
    await store.jobs.cancel_waiting(finished.id)
    counts = await store.jobs.counts(running.account)
    assert (counts.running, counts.waiting) == (1, 1)
    assert await store.jobs.waiting_total() == 2
    assert [job.id for job in await store.jobs.live_of(running.account)] == [running.id, waiting.id]
    assert len(await store.jobs.live()) == 3


async def test_counts_inside_a_transaction_see_what_it_did(store):
    job = store.make()
    async with store.db.transaction() as tx:
        await store.ledger.renew(tx, job.account, store.plan, NOON)
        await store.jobs.submit(tx, job)
        assert (await store.jobs.counts(job.account, tx=tx)).waiting == 1
        assert await store.jobs.waiting_total(tx=tx) == 1
        assert (await store.jobs.get(job.id, tx=tx)).id == job.id


async def test_a_message_leads_to_its_job(store):
    job = await store.admit()
    await store.jobs.set_message(job.id, "m1")
    assert (await store.jobs.by_message("m1")).id == job.id
    assert await store.jobs.by_message("m2") is None


async def test_a_job_that_already_ended_cannot_enter_the_queue(store):
    with pytest.raises(ValueError, match="not as done"):
        await store.admit(state=State.DONE)


async def test_a_running_job_that_nobody_wants_any_more_ends_as_cancelled_when_the_bot_dies(store):
    job = await store.running()
    await store.jobs.renew([(job.id, 1, 40)])
    assert (await store.jobs.request_cancel(job.id)).cancel_requested
    assert await store.jobs.new_boot("later") == []
    ended = await store.jobs.get(job.id)
    assert (ended.state, ended.gpu_ms, ended.charged_ms) == (State.CANCELLED, 40, 40)
    assert await store.jobs.claim(boot="later", worker="w", capacity=Capacity()) is None
    assert await told(store) == [(job.id, DeliveryKind.CANCELLED)]
    assert await store.ledger.audit() == []


async def test_what_a_worker_has_forgiven_is_not_charged_when_the_bot_dies(store):
    job = await store.running()
    await store.jobs.renew([(job.id, 1, 40)])
    await store.jobs.renew([(job.id, 1, 5)])
    await store.jobs.request_cancel(job.id)
    await store.jobs.new_boot("later")
    assert (await store.jobs.get(job.id)).charged_ms == 5
    assert await store.ledger.audit() == []


@pytest.mark.parametrize("strike", [True, False])
async def test_a_running_job_that_nobody_wants_any_more_ends_as_cancelled_when_its_worker_is_lost(store, strike):
    job = await store.running()
    await store.jobs.request_cancel(job.id)
    ended = await store.jobs.requeue(job.id, 1, strike=strike, lost_ms=30)
    assert (ended.state, ended.charged_ms, ended.strikes) == (State.CANCELLED, 30, 0)
    assert await store.jobs.requeue(job.id, 1) is None
    assert await store.ledger.audit() == []


async def test_only_a_running_job_can_become_unwanted_and_it_may_still_be_done_in_time(store):
    waiting = await store.admit()
    assert await store.jobs.request_cancel(waiting.id) is None
    job = await store.claim()
    await store.jobs.request_cancel(job.id)
    assert (await store.jobs.finish(job.id, job.attempt, 10)).state is State.DONE


async def test_a_token_that_has_ended_does_not_stay_in_the_database(store):
    old, new = await store.admit(), await store.admit()
    async with store.db.transaction() as tx:
        await tx.execute("UPDATE job SET token_expires_at = token_expires_at + 60 WHERE id = :id", {"id": new.id})
    store.clock.now = old.where.token_expires_at
    assert await store.jobs.forget_tokens() == 1
    assert [(await store.jobs.get(job.id)).where.token for job in (old, new)] == ["", "secret"]
    assert await store.jobs.forget_tokens() == 0
