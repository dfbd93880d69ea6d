"""The index of prompts: any words in any script, one person's or one server's, newest first."""

from dataclasses import replace

import pytest

from core.search_terms import terms_of


async def made(store, prompt, *, user="alice", private=False, **wishes):
    """A finished job with this prompt."""
    wanted = store.make(user, **wishes)
    request = replace(wanted.request, prompt=prompt)
    await store.admit(replace(wanted, request=request, where=replace(wanted.where, private=private)))
    claimed = await store.claim()
    return await store.jobs.finish(claimed.id, claimed.attempt, 10)


async def found(store, words, **scope):
    """Prompts that are found, newest first."""
    long, short = terms_of(words)
    hits = await store.search.find(long, short, **(scope or {"user": "alice"}))
    return [entry.job.request.prompt for entry in await store.history.rows(hits.rows)]


PROMPTS = (
    "A Red Boat, at the sea::2",
    "3D ox on a box",
    "月光下的红色猫咪",
    "夜の東京タワー、雨",
    "푸른 바다의 등대",
    "ДОМ у моря",
    'He said "no" (red:1.3)',
    "🚀 to mars",
)


@pytest.mark.parametrize(
    ("words", "which"),
    [
        ("red boat", [0]),
        ("BOAT", [0]),
        ("oat", [0]),
        ("red", [6, 0]),
        ("3d", [1]),
        ("ox", [1]),
        ("at", [0]),
        ("ox box", [1]),
        ("猫", [2]),
        ("红色", [2]),
        ("红色猫", [2]),
        ("月 猫咪", [2]),
        ("色红", []),
        ("東京", [3]),
        ("タワー", [3]),
        ("雨", [3]),
        ("바다", [4]),
        ("등", [4]),
        ("дом", [5]),
        ("у", [5]),
        ('"no"', [6]),
        ("no", [6]),
        ("🚀", [7]),
        ("sea::2", [0]),
        ("boat AND nothing", []),
        ("boat*", []),
        ("words : boat", []),
    ],
)
async def test_a_prompt_is_found_by_any_of_its_words_in_any_script(store, words, which):
    for prompt in PROMPTS:
        await made(store, prompt)
    assert await found(store, words) == [PROMPTS[number] for number in which]


async def test_a_search_is_one_persons_or_one_servers_without_what_is_private(store):
    await made(store, "a boat of alice")
    await made(store, "a boat of bob", user="bob")
    await made(store, "a private boat of bob", user="bob", private=True)
    assert await found(store, "boat", user="bob") == ["a private boat of bob", "a boat of bob"]
    assert await found(store, "boat", guild="guild") == ["a boat of bob", "a boat of alice"]
    assert await found(store, "boat", guild="guild", without="bob") == ["a boat of alice"]
    assert await found(store, "boat", guild="other") == [] and await found(store, "boat", user="carol") == []


async def test_words_that_look_like_codes_find_nothing_of_others(store):
    await made(store, "a boat of bob", user="bob")
    sneaky = "".join(chr(0xE001 + number) for number in (0, 0, 1))
    await made(store, f"{sneaky} boat")
    assert await found(store, sneaky) == [] and await found(store, "boat") == [f"{sneaky} boat"]


async def test_only_what_was_made_is_found_and_deleted_jobs_are_not(store):
    job = await made(store, "a red boat")
    await store.admit()
    assert await found(store, "red boat") == ["a red boat"]
    await store.history.delete(job.id, by_moderator=False)
    assert await found(store, "red boat") == []


async def test_what_was_made_before_the_index_is_put_into_it_and_nothing_twice(store, monkeypatch):
    monkeypatch.setattr("storage.search.BACKLOG_AT_ONCE", 2)
    jobs = [await made(store, f"boat {number}") for number in range(5)]
    running = await store.running()
    async with store.db.transaction() as tx:
        await tx.execute("UPDATE search_backlog SET seq = (SELECT max(seq) + 1 FROM job)")
        await tx.execute("DROP TABLE search")
        await tx.execute(
            "CREATE VIRTUAL TABLE search USING fts5 (words, short, owner, place, content = '', tokenize = 'trigram')"
        )
    assert await found(store, "boat") == [] and not await store.search.is_complete()
    assert await store.search.catch_up()
    assert await found(store, "boat") == ["boat 4"], "newest first; the running one comes when it is done"
    await store.jobs.finish(running.id, running.attempt, 10)
    while await store.search.catch_up():
        pass
    assert await store.search.is_complete() and len(jobs) == 5
    assert await found(store, "boat") == ["a red boat", *(f"boat {number}" for number in (4, 3, 2, 1, 0))]


async def test_a_search_goes_back_in_windows(store, monkeypatch):
    monkeypatch.setattr("storage.search.WINDOW", 3)
    for number in range(8):
        await made(store, f"boat {number}" if number in (0, 6) else "a cat")
    first = await store.search.find(("boat",), (), user="alice")
    assert len(first.rows) == 1 and first.before is not None
    rows, before = [], first.before
    while before is not None:
        more = await store.search.find(("boat",), (), user="alice", before=before)
        rows, before = [*rows, *more.rows], more.before
    assert [entry.job.request.prompt for entry in await store.history.rows(rows)] == ["boat 0"]


async def test_a_job_that_was_shown_in_another_place_is_found_there(store):
    job = await made(store, "a private boat", private=True)
    assert await found(store, "boat", guild="guild") == []
    assert await store.history.moved(job.id, guild="guild", channel="channel", message="m")
    assert await found(store, "boat", guild="guild") == ["a private boat"] == await found(store, "boat")
    assert await store.history.moved(job.id, guild=None, channel="direct", message="m2")
    assert await found(store, "boat", guild="guild") == ["a private boat"], (
        "in a direct message it is only shown beside"
    )


async def test_a_search_from_beyond_the_newest_job_begins_with_it(store, monkeypatch):
    monkeypatch.setattr("storage.search.WINDOW", 3)
    await made(store, "a boat")
    assert (await store.search.find(("boat",), (), user="alice", before=10**17)).rows == (1,)
