"""Kept pictures: which are there, which may go first, and which must stay."""

from core.job import Source, State

SHA = "ab" * 32


async def delivered(store, pictures=4, size=100):
    """A finished job with pictures whose result was posted."""
    job = await store.running()
    for index in range(pictures):
        await store.results.add(job.id, index, f"{job.id}-{index}.png", size, SHA)
        store.clock.now += 1
    await store.jobs.finish(job.id, 1, 10)
    await store.outbox.posted(job.id, f"message of {job.id}")
    return job


async def candidates(store, over):
    return [(picture.job, picture.index) for picture in await store.results.prune_candidates(over)]


async def test_pictures_are_listed_in_order_with_their_files(store):
    job = await delivered(store, 2)
    assert [(p.index, p.file, p.bytes, p.pruned) for p in await store.results.of(job.id)] == [
        (0, f"{job.id}-0.png", 100, False),
        (1, f"{job.id}-1.png", 100, False),
    ]
    assert (await store.results.get(job.id, 1)).sha256 == SHA
    assert await store.results.get(job.id, 2) is None
    assert await store.results.total_bytes() == 200


async def test_the_longest_unused_go_first_and_no_more_than_needed(store):
    job = await delivered(store, 3)
    await store.results.touch(job.id, 0)
    assert await candidates(store, 0) == []
    assert await candidates(store, 100) == [(job.id, 1)]
    assert await candidates(store, 101) == [(job.id, 1), (job.id, 2)]
    assert await candidates(store, 10_000) == [(job.id, 1), (job.id, 2), (job.id, 0)]


async def test_a_pruned_picture_counts_no_more_until_it_is_rendered_again(store):
    job = await delivered(store, 2)
    await store.results.mark_pruned(job.id, 0)
    assert (await store.results.get(job.id, 0)).pruned
    assert await store.results.total_bytes() == 100
    await store.results.add(job.id, 0, "again.png", 120, SHA)
    again = await store.results.get(job.id, 0)
    assert (again.pruned, again.file, again.bytes) == (False, "again.png", 120)


async def test_pictures_of_a_job_that_lives_or_is_not_delivered_stay(store):
    running = await store.running()
    await store.results.add(running.id, 0, "a.png", 100, SHA)
    assert await candidates(store, 1000) == []
    await store.jobs.finish(running.id, 1, 10)
    assert await candidates(store, 1000) == []
    await store.outbox.posted(running.id, "m")
    assert await candidates(store, 1000) == [(running.id, 0)]


async def test_a_picture_that_a_living_job_starts_from_stays(store):
    parent = await delivered(store, 2)
    child = await store.admit(source=Source(job=parent.id, index=1))
    assert await candidates(store, 1000) == [(parent.id, 0)]
    await store.jobs.cancel_waiting(child.id)
    await store.outbox.posted(child.id, "m2")
    assert await candidates(store, 1000) == [(parent.id, 0), (parent.id, 1)]


async def test_a_picture_stays_until_the_crop_that_shows_it_is_posted(store):
    parent = await delivered(store, 1)
    crop = store.make(estimate=0, state=State.PREPARING, source=Source(job=parent.id, index=0))
    async with store.db.transaction() as tx:
        await store.jobs.submit(tx, crop)
        await store.jobs.finish_at_once(tx, crop.id)
    assert await candidates(store, 1000) == []
    await store.outbox.posted(crop.id, "m2")
    assert await candidates(store, 1000) == [(parent.id, 0)]


async def test_more_pictures_than_are_looked_at_at_once_go_round_by_round(store, monkeypatch):
    monkeypatch.setattr("storage.image_retention.MOST_AT_ONCE", 2)
    job, gone = await delivered(store, 5), []
    while found := await candidates(store, await store.results.total_bytes() - 100):
        assert len(found) <= 2
        for picture in found:
            await store.results.mark_pruned(*picture)
        gone += found
    assert gone == [(job.id, index) for index in range(4)]


async def test_what_the_kept_pictures_take_is_known_whatever_becomes_of_them(store):
    job = await delivered(store, 3)
    await store.results.add(job.id, 0, "a.png", 150, SHA)
    await store.results.mark_pruned(job.id, 1)
    await store.results.mark_pruned(job.id, 1)
    await store.results.forget(job.id)
    await store.results.add(job.id, 2, "again.png", 70, SHA)
    assert await store.results.total_bytes() == 70
    async with store.db.transaction() as tx:
        await tx.execute("DELETE FROM picture")
    assert await store.results.total_bytes() == 0


async def test_a_picture_can_be_added_inside_a_larger_transaction(store):
    job = await store.running()
    async with store.db.transaction() as tx:
        await store.results.add(job.id, 0, "a.png", 100, SHA, tx=tx)
    assert len(await store.results.of(job.id)) == 1
