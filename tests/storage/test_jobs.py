"""The queue's transitions: each happens once, to whom it belongs, with its money and its message."""

from core.job import State


async def test_a_job_lives_from_the_queue_to_the_outbox(store):
    admitted = await store.admit(estimate=1000)
    assert admitted.state is State.QUEUED
    assert await store.balance() == 59_000
    claimed = await store.claim()
    assert (claimed.id, claimed.state, claimed.attempt) == (admitted.id, State.RUNNING, 1)
    done = await store.jobs.finish(claimed.id, 1, 812)
    assert (done.state, done.gpu_ms, done.charged_ms) == (State.DONE, 812, 812)
    assert await store.balance() == 59_188
    assert [(told.job, told.kind) for told in await store.outbox.undelivered(store.clock())] == [(done.id, "result")]
