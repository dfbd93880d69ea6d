"""The outbox: filled with the end of a job, emptied once, patient in between."""

import pytest

from storage.outbox import TOLD_FOR_SECONDS, DeliveryKind, DeliveryState, Way
from tests.harness.opened_storage import NOON


@pytest.fixture
async def job(store):
    running = await store.running()
    await store.jobs.set_message(running.id, "progress")
    return await store.jobs.finish(running.id, 1, 100)


async def due(store, after=0.0):
    return [delivery.job for delivery in await store.outbox.undelivered(store.clock() + after)]


async def test_a_delivery_is_due_until_it_is_posted(store, job):
    assert await due(store) == [job.id]
    assert (await store.outbox.begin(job.id, Way.NEW)).tries == 1
    assert await store.outbox.posted(job.id, "result")
    assert await due(store, 1e9) == []
    delivery = await store.outbox.get(job.id)
    assert (delivery.kind, delivery.state, delivery.message) == (DeliveryKind.RESULT, DeliveryState.POSTED, "result")
    assert (await store.jobs.by_message("result")).id == job.id  # its buttons lead back to it


async def test_nothing_is_posted_twice(store, job):
    assert await store.outbox.posted(job.id, "first")
    assert not await store.outbox.posted(job.id, "second")
    assert await store.outbox.begin(job.id, Way.EDIT) is None
    assert not await store.outbox.retry(job.id, 0.0, "again")
    assert not await store.outbox.undeliverable(job.id, "gone")
    assert (await store.outbox.get(job.id)).message == "first"


async def test_the_way_of_the_first_try_stays_until_it_is_closed(store, job):
    await store.outbox.begin(job.id, Way.NEW)
    second = await store.outbox.begin(job.id, Way.EDIT)
    assert (second.tries, second.way) == (2, Way.NEW)
    assert await store.outbox.change_way(job.id, Way.EDIT)
    assert (await store.outbox.begin(job.id, Way.NEW)).way is Way.EDIT


async def test_a_retry_waits_for_its_time_and_says_why(store, job):
    now = store.clock()
    assert await store.outbox.next_due() == now
    assert await store.outbox.retry(job.id, now + 30, "Discord answered 503.")
    assert await due(store, 29) == []
    assert await due(store, 30) == [job.id]
    assert await store.outbox.next_due() == now + 30
    assert (await store.outbox.get(job.id)).note == "Discord answered 503."


async def test_an_undeliverable_result_is_told_to_its_owner_once(store, job):
    assert await store.outbox.undeliverable(job.id, "The channel is gone.")
    assert await store.outbox.next_due() is None
    assert [(row.job, row.note) for row in await store.outbox.untold("alice")] == [(job.id, "The channel is gone.")]
    assert await store.outbox.untold("bob") == []
    await store.outbox.told(job.id)
    assert await store.outbox.untold("alice") == []


async def test_the_longest_due_comes_first_and_no_more_than_asked_for(store):
    ids = []
    for _ in range(3):
        running = await store.running()
        ids.append((await store.jobs.finish(running.id, 1, 1)).id)
        store.clock.now += 1
    assert await due(store) == ids
    assert [row.job for row in await store.outbox.undelivered(store.clock(), limit=1)] == ids[:1]
    assert await store.outbox.get("nothing") is None


async def test_a_delivery_put_off_by_a_clock_that_was_set_back_since_is_due(store, job):
    await store.outbox.retry(job.id, store.clock() + 3600, "an hour ahead")
    assert await due(store) == [job.id]


async def test_a_sent_result_whose_progress_message_still_stands_stays_due_and_counts_removals(store, job):
    now = store.clock()
    for _ in range(3):
        await store.outbox.begin(job.id, Way.NEW)
    assert await store.outbox.sent(job.id, "result", now + 1, "left behind")
    assert await due(store) == [] and await due(store, 1) == [job.id]
    again = await store.outbox.begin(job.id, Way.NEW)
    assert (again.tries, again.message) == (1, "result")
    assert await store.outbox.sent(job.id, "result", now + 3, "left behind")
    assert (await store.outbox.get(job.id)).tries == 1
    assert (await store.jobs.get(job.id)).where.message == "progress"
    assert await store.outbox.posted(job.id, "result")
    assert not await store.outbox.sent(job.id, "result", now, "left behind")


async def test_what_is_late_is_told_of_while_it_is_still_tried_and_no_more_once_it_is_posted(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 1)
    assert await store.outbox.late(job.id)
    (told,) = await store.outbox.untold("alice")
    assert (told.job, told.late_at, told.state) == (job.id, NOON, "pending") and not told.is_posted
    assert [one.job for one in await store.outbox.undelivered(NOON)] == [job.id]
    await store.outbox.posted(job.id, "1")
    assert await store.outbox.untold("alice") == [] and (await store.outbox.get(job.id)).is_posted


async def test_what_could_not_be_posted_is_told_of_until_it_was_told_or_for_a_month(store):
    jobs = [await store.running() for _ in range(2)]
    for job in jobs:
        await store.jobs.finish(job.id, job.attempt, 1)
        await store.outbox.undeliverable(job.id, "gone")
    assert [one.job for one in await store.outbox.untold("alice")] == [job.id for job in jobs]
    await store.outbox.told(jobs[0].id)
    assert [one.job for one in await store.outbox.untold("alice")] == [jobs[1].id]
    store.clock.now += TOLD_FOR_SECONDS
    assert await store.outbox.untold("alice") == []


async def test_whoever_has_more_untold_than_are_named_hears_how_many(store):
    jobs = [await store.running() for _ in range(5)]
    for job in jobs:
        await store.jobs.finish(job.id, job.attempt, 1)
        await store.outbox.undeliverable(job.id, "gone")
    await store.outbox.told(jobs[0].id)
    assert len(await store.outbox.untold("alice", limit=2)) == 2
    assert await store.outbox.count_untold("alice") == 4 and await store.outbox.count_untold("bob") == 0
    assert await store.outbox.count_untold("alice", most=3) == 3


async def test_what_was_deleted_is_neither_posted_nor_told_of(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 1)
    await store.outbox.deleted(job.id)
    assert not await store.outbox.posted(job.id, "1") and not await store.outbox.sent(job.id, "1", NOON, "")
    assert not await store.outbox.late(job.id) and not await store.outbox.undeliverable(job.id, "gone")
    assert not await store.outbox.told_by(job.id, "2", "3")
    assert await store.outbox.untold("alice") == []


async def test_what_is_deleted_while_a_direct_message_tells_of_it_is_not_told(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 1)
    assert await store.outbox.undeliverable(job.id, "gone")
    await store.outbox.deleted(job.id)
    assert not await store.outbox.told_by(job.id, "2", "3") and await store.outbox.untold("alice") == []


async def test_what_was_posted_stays_known_when_it_is_deleted(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 1)
    await store.outbox.posted(job.id, "1")
    await store.outbox.deleted(job.id)
    assert (await store.outbox.get(job.id)).message == "1" and (await store.outbox.get(job.id)).is_posted


async def test_what_is_deleted_while_a_new_message_may_be_on_its_way_is_looked_for_until_it_is_gone(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 1)
    await store.outbox.begin(job.id, Way.NEW)
    await store.outbox.deleted(job.id)
    (found,) = await store.outbox.undelivered(NOON)
    assert found.is_deleted and await store.outbox.begin(job.id, Way.NEW) is None
    assert not await store.outbox.posted(job.id, "1") and not await store.outbox.retry(job.id, NOON, "later")
    await store.outbox.look_again(job.id, NOON + 60)
    assert await store.outbox.undelivered(NOON) == [] and await store.outbox.next_due() == NOON + 60
    await store.outbox.gone(job.id)
    assert await store.outbox.next_due() is None and await store.outbox.untold("alice") == []
