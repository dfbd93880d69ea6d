"""Admission: rules, caps, quota and insert; a refusal leaves nothing behind and carries the prompt for correction."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.admission import PressedButton
from core.cost import period_of
from core.errors import DiskFull, Gone, NotAllowed, QueueFull, QuotaSpent, Refused
from core.job import Kind, Lane, Lora, Source, State
from tests.harness.headless_bot import headless_bot

NO_WORKER = {"DARKROOM_WORKER": "none"}


async def test_a_spent_quota_says_when_it_renews_and_leaves_relax_open(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    async with headless_bot(
        tmp_path, DARKROOM_FAST_MINUTES="0.01", build_with={"clock": lambda: now}, **NO_WORKER
    ) as bot:
        paid = await bot.imagine("a first one")
        with pytest.raises(QuotaSpent) as caught:
            await bot.imagine("a red boat")
        assert caught.value.renews_at == period_of(now)[1]
        assert f"<t:{period_of(now)[1]:.0f}:R>" in caught.value.sentence
        assert caught.value.prompt == "a red boat"
        assert [job.id for job in await bot.jobs.live()] == [paid.id]
        relaxed = await bot.imagine("a red boat", width=512, height=512, lane=Lane.RELAX)
        assert relaxed.reserved_ms == 0
        await bot.clean()


@pytest.mark.parametrize(
    ("fast_minutes", "lane", "told"),
    [
        ("0", Lane.FAST, r"^There is no fast time here; in relax it runs free of charge\.$"),
        (
            "0.001",
            Lane.FAST,
            r"more than the 0\.1 s you get in a month\. In relax .* fewer `--steps` or a smaller `--count`\.$",
        ),
        ("0.01", Lane.TURBO, r"about 0\.7 s of fast time \(in turbo .*\), more than the 0\.6 s you get in a month"),
    ],
)
async def test_a_job_that_a_whole_month_does_not_cover_is_promised_no_renewal(
    tmp_path: Path, fast_minutes: str, lane: Lane, told: str
) -> None:
    async with headless_bot(tmp_path, DARKROOM_FAST_MINUTES=fast_minutes, **NO_WORKER) as bot:
        with pytest.raises(QuotaSpent, match=told) as caught:
            await bot.imagine(lane=lane)
        assert "renews" not in caught.value.sentence


async def test_quota_and_insert_are_one_transaction(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_FAST_MINUTES="0.01", DARKROOM_WAITING="100", **NO_WORKER) as bot:
        wishes = [bot.imagine(f"boat {n}") for n in range(30)]
        answers = await asyncio.gather(*wishes, return_exceptions=True)
        taken = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert all(isinstance(answer, QuotaSpent) for answer in answers if isinstance(answer, BaseException))
        status = await bot.admission.account_status(bot.admission.account("alice", "1"))
        assert taken
        assert sum(job.reserved_ms for job in taken) + status.balance_ms == 600
        await bot.clean()


async def test_one_member_cannot_fill_the_queue_and_all_together_have_a_cap(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WAITING="2", DARKROOM_QUEUE="3", **NO_WORKER) as bot:
        for number in range(2):
            await bot.imagine(f"boat {number}")
        with pytest.raises(QueueFull, match="2 jobs waiting"):
            await bot.imagine()
        await bot.imagine(user="bob")
        with pytest.raises(QueueFull, match="queue is full"):
            await bot.imagine(user="carol")


async def test_a_request_made_twice_at_the_last_free_place_is_the_first_ones_job(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WAITING="1", DARKROOM_QUEUE="1", **NO_WORKER) as bot:
        job_request = bot.job_request("a red boat", pressed=PressedButton(parent="job1", verb="again"))
        first = await bot.admission.submit(job_request)
        assert (await bot.admission.submit(job_request)).id == first.id, "Discord may tell of one interaction twice"
        again = bot.job_request("a red boat", pressed=job_request.pressed)
        assert (await bot.admission.submit(again)).id == first.id, "and a person may click twice"
        with pytest.raises(QueueFull, match=r"You have 1 job waiting.*when it has started"):
            await bot.imagine()


async def test_a_job_admitted_as_the_month_turns_has_the_new_months_time(tmp_path: Path) -> None:
    turn = period_of(1_800_000_000.0)[1]
    now, named = [turn - 0.01], asyncio.Event()

    def new_id() -> str:
        named.set()
        return f"job{next(numbers)}"

    numbers = itertools.count()
    async with headless_bot(tmp_path, build_with={"clock": lambda: now[0], "new_id": new_id}, **NO_WORKER) as bot:
        async with bot.db.transaction():
            named.clear()
            waiting = asyncio.create_task(bot.imagine())
            await named.wait()  # then it stands before the database's lock
            now[0] = turn + 0.01
        job = await waiting
        assert job.created_at == now[0] and job.reserved_ms > 0
        await bot.clean()


async def test_a_job_of_too_much_work_is_refused_by_its_total(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_MAX_WORK="10", **NO_WORKER) as bot:
        with pytest.raises(Refused, match="105 megapixel steps; the limit is 10") as caught:
            await bot.imagine("big", width=512, height=512, steps=100)
        assert caught.value.prompt == "big"


async def test_the_two_numbers_of_too_much_work_differ_and_the_cure_can_be_done(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_MAX_WORK="0.16", **NO_WORKER) as bot:
        grid = await bot.imagine("a boat", steps=9)
        for wishes, told in (
            (
                {"steps": 10},
                "0.164 megapixel steps; the limit is 0.160. Use fewer `--steps` or a smaller `--count`.",
            ),
            ({"steps": 40, "count": 1}, "0.164 megapixel steps; the limit is 0.160. Use fewer `--steps`."),
            (
                {"steps": 10, "kind": Kind.VARIATION, "source": Source(job=grid.id, index=0)},
                "as its picture: make that",
            ),
        ):
            with pytest.raises(Refused) as caught:
                await bot.imagine("a boat", **wishes)
            assert told in caught.value.sentence


@pytest.mark.parametrize(("prompt", "negative"), [("a Kraken", ""), ("a boat", "fog, Kraken")], ids=["words", "no"])
async def test_a_blocked_word_is_refused_before_anything_is_stored(tmp_path: Path, prompt: str, negative: str) -> None:
    async with headless_bot(tmp_path, DARKROOM_BLOCKED="kraken", **NO_WORKER) as bot:
        with pytest.raises(NotAllowed):
            await bot.imagine(prompt, negative=negative)
        assert await bot.jobs.live() == []


async def test_a_nearly_full_disk_stops_admission_with_a_sentence(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_DISK_FREE_MB="999999999", **NO_WORKER) as bot:
        with pytest.raises(DiskFull, match="no new jobs are accepted"):
            await bot.imagine()


async def test_the_same_interaction_twice_is_one_job(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, **NO_WORKER) as bot:
        job_request = bot.job_request("a red boat")
        first, second = await asyncio.gather(bot.admission.submit(job_request), bot.admission.submit(job_request))
        assert first.id == second.id
        assert (await bot.jobs.counts(job_request.account)).waiting == 1
        await bot.clean()


async def test_two_presses_of_one_button_by_one_person_are_one_job(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, **NO_WORKER) as bot:
        pressed = PressedButton(parent="job1", verb="again")
        first = await bot.imagine(pressed=pressed)
        assert (await bot.imagine(pressed=pressed)).id == first.id
        assert (await bot.imagine(pressed=pressed, user="bob")).id != first.id
        assert (await bot.imagine(pressed=replace(pressed, verb="v", index=0))).id != first.id


async def test_a_source_that_never_was_is_gone(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, **NO_WORKER) as bot:
        with pytest.raises(Gone):
            await bot.imagine(kind=Kind.CROP, source=Source(job="nosuchjob", index=0), count=1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tile": True}, "cannot make pictures that tile"),
        ({"kind": Kind.DESCRIBE}, "describes pictures"),
        ({"loras": (Lora(name="glow"),)}, "`glow` is no longer here"),
        ({"model": "gone"}, "no longer here"),
    ],
)
async def test_what_the_model_lacks_is_said_before_anything_is_stored(tmp_path: Path, changes: Any, told: str) -> None:
    (tmp_path / "models.toml").write_text('[[model]]\nname = "mine"\nwhere = "owner/mine"\nfamily = "any"\n')
    async with headless_bot(tmp_path, DARKROOM_MODEL="mine", **NO_WORKER) as bot:
        with pytest.raises(Refused, match=told) as caught:
            await bot.imagine("a boat", **{"model": "mine", **changes})
        assert caught.value.prompt == "a boat"
        assert await bot.jobs.live() == []


async def test_the_quote_is_never_exceeded_and_learns_from_what_was_measured(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "40") as bot:
        quotes = []
        for number in range(3):
            job = await bot.imagine(f"boat {number}", width=256, height=256, steps=10)
            done = await bot.until(job.id, State.DONE)
            assert done.charged_ms <= done.reserved_ms
            quotes.append(done.reserved_ms)
        assert quotes[0] > quotes[-1] >= 400
        await bot.clean()


async def test_the_account_shows_this_months_time_before_the_first_job(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_FAST_MINUTES="3", **NO_WORKER) as bot:
        status = await bot.admission.account_status(bot.admission.account("alice", "1"))
        assert (status.balance_ms, status.running, status.waiting) == (180_000, 0, 0)
        again = await bot.admission.account_status(bot.admission.account("alice", "1"))
        assert again == status
