"""What a person made, liked and deleted, in pages; deleted pictures are kept for a week, and go first."""

from core.job import Kind, Source
from storage.history import KEPT_SECONDS


async def made(store, **wishes):
    """A finished job with its pictures."""
    job = await store.running(**wishes)
    for index in range(job.request.count):
        await store.results.add(job.id, index, f"{job.id}-{index}.png", 100, "0" * 64)
    done = await store.jobs.finish(job.id, job.attempt, 10)
    await store.outbox.posted(done.id, f"message-{done.id}")
    return done


async def names(found):
    return [entry.job.id for entry in await found]


async def test_pages_go_back_and_forth_through_ones_own_finished_jobs(store):
    jobs = [await made(store) for _ in range(5)]
    await made(store, user="bob")
    await store.admit()
    made_by = store.history.made
    first = await made_by("alice", "guild", limit=2)
    assert [entry.job.id for entry in first] == [jobs[4].id, jobs[3].id]
    second = await made_by("alice", None, before=first[-1].at, limit=2)
    assert [entry.job.id for entry in second] == [jobs[2].id, jobs[1].id]
    assert await names(made_by("alice", None, after=second[0].at, limit=2)) == [jobs[4].id, jobs[3].id]
    assert await names(made_by("alice", "elsewhere", limit=2)) == []


async def test_what_is_deleted_is_hidden_and_can_be_taken_back_for_a_week(store):
    job = await made(store)
    await store.history.delete(job.id, by_moderator=False)
    assert await names(store.history.made("alice", None, limit=9)) == []
    assert await names(store.history.deleted("alice", "guild", limit=9)) == [job.id]
    assert await store.history.take_back(job.id, "bob") is None
    back = await store.history.take_back(job.id, "alice")
    assert back.deleted_at is None and await names(store.history.made("alice", None, limit=9)) == [job.id]
    await store.history.delete(job.id, by_moderator=False)
    store.clock.now += KEPT_SECONDS + 1
    assert await names(store.history.deleted("alice", None, limit=9)) == []
    assert await store.history.take_back(job.id, "alice") is None


async def test_a_moderators_delete_cannot_be_taken_back_whoever_deletes_it_before_or_after(store):
    for order in ((True,), (False, True), (True, False)):
        job = await made(store)
        for by_moderator in order:
            await store.history.delete(job.id, by_moderator=by_moderator)
        assert await names(store.history.deleted("alice", None, limit=9)) == []
        assert await store.history.take_back(job.id, "alice") is None


async def test_deleted_pictures_are_kept_for_a_week_count_as_kept_and_go_first_when_room_is_short(store):
    old, deleted, new = [await made(store) for _ in range(3)]
    await store.history.delete(deleted.id, by_moderator=False)
    store.clock.now += 3700
    assert await store.results.total_bytes() == 1200
    assert await store.results.prune_candidates(0) == [], "they may still be taken back"
    assert {picture.job for picture in await store.results.prune_candidates(400)} == {deleted.id}
    assert {picture.job for picture in await store.results.prune_candidates(500)} == {deleted.id, old.id}
    store.clock.now += KEPT_SECONDS
    assert {picture.job for picture in await store.results.prune_candidates(0)} == {deleted.id}
    assert new.deleted_at is None


async def test_taken_back_pictures_are_kept_as_others_are(store):
    job = await made(store)
    await store.history.delete(job.id, by_moderator=False)
    await store.history.take_back(job.id, "alice")
    store.clock.now += 2 * KEPT_SECONDS
    assert await store.results.prune_candidates(0) == []


async def test_a_picture_that_arrives_after_its_job_was_deleted_is_a_deleted_one(store):
    for by_moderator, stays in ((False, KEPT_SECONDS), (True, 3600.0)):
        job = await store.running()
        await store.history.delete(job.id, by_moderator=by_moderator)
        await store.results.add(job.id, 0, f"{job.id}.png", 100, "0" * 64)
        await store.jobs.finish(job.id, job.attempt, 10)
        await store.outbox.deleted(job.id)
        store.clock.now += stays - 10
        assert job.id not in {picture.job for picture in await store.results.prune_candidates(0)}
        store.clock.now += 20
        assert job.id in {picture.job for picture in await store.results.prune_candidates(0)}


async def test_a_favourite_is_a_picture_whichever_of_its_messages_was_pressed(store):
    grid = await made(store)
    source = Source(job=grid.id, index=1)
    crops = [await made(store, kind=Kind.CROP, source=source, count=1) for _ in range(2)]
    like, liked = store.history.like, store.history.liked
    assert await like("bob", crops[0]) is True
    assert await store.history.likes("bob", [grid, *crops]) == {crop.id for crop in crops}
    assert await names(liked("bob", "guild", limit=9)) == [crops[0].id]
    assert await names(liked("bob", None, limit=9)) == [], "in direct messages only one's own"
    assert await like("bob", crops[1]) is False and await names(liked("bob", "guild", limit=9)) == []
    assert await like("alice", grid) is True and await like("alice", grid, like=True) is True
    assert await names(liked("alice", None, limit=9)) == [grid.id]
    await store.history.delete(grid.id, by_moderator=False)
    assert await names(liked("alice", None, limit=9)) == []


async def test_a_job_shown_elsewhere_stands_there_and_is_posted_with_it(store):
    job = await store.running()
    await store.jobs.finish(job.id, job.attempt, 10)
    await store.jobs.set_message(job.id, "m1")
    assert await store.history.moved(job.id, guild="guild", channel="other", message="m2")
    after = await store.jobs.get(job.id)
    assert (after.where.channel, after.where.message, after.where.token) == ("other", "m2", "")
    assert [(one.channel, one.message) for one in await store.history.postings(job.id)] == [("channel", "m1")]
    assert (await store.outbox.get(job.id)).is_posted and not await store.outbox.posted(job.id, "late")
    await store.history.delete(job.id, by_moderator=False)
    assert not await store.history.moved(job.id, guild=None, channel="third", message="m3")
    await store.history.message_gone(job.id)
    assert (await store.jobs.get(job.id)).where.message is None and await store.history.postings(job.id) == []


async def test_the_jobs_of_one_person_that_live_are_found_whoever_pays(store):
    first, second = await store.admit(), await store.admit()
    await made(store, user="bob")
    await store.jobs.cancel_waiting(first.id)
    assert [job.id for job in await store.jobs.live_of_user("alice")] == [second.id]
