"""Live messages: newest state wins, the last state is delivery's, and nobody who decides is ever held up."""

import asyncio
import dataclasses
import time
from dataclasses import replace

import pytest

from bot.event_bus import EventBus, Status, WorkerState
from bot.messages import EditRateLimiter, JobCards, JobView, ProgressEditor
from bot.messages.edit_rate_limiter import Weight
from bot.messages.progress_editor import OLD_SECONDS
from core.events import Progress
from core.job import State
from tests.harness.bot_samples import a_job
from tests.harness.sandboxed_bot import EDITS, eventually, sandboxed_bot


class MessageApi:
    """Records edits; `gate` holds them up as a rate limit would, `error` makes them fail."""

    def __init__(self):
        self.edits = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error = None

    async def edit(self, where, card, files=None):
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.edits.append((card.content.splitlines()[-1], files))


class Stage:
    """An editor with its hub; time is real, pauses are short."""

    def __init__(self, *, pause=0.0, refresh=20.0, now=1000.0, per_second=1000.0, patience=0.0):
        self.bus, self.message_api, self.now, self.place = EventBus(), MessageApi(), now, 1
        self.worker = None
        self.editor = ProgressEditor(
            self.bus,
            self.message_api,
            EditRateLimiter(per_second),
            JobCards(),
            self.look,
            clock=lambda: self.now,
            pause=pause,
            refresh=refresh,
            patience=patience,
        )

    async def look(self, job, progress):
        fraction = progress.step / progress.steps if progress else None
        place = self.place if job.state is State.QUEUED else None
        return JobView(job=job, place=place, fraction=fraction, worker=self.worker)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.editor.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])

    async def shows(self, text):
        async def shown():
            return self.message_api.edits and text in self.message_api.edits[-1][0]

        await eventually(shown)


def step(job, number, *, preview=b""):
    return Progress(job=job.id, attempt=1, step=number, steps=100, gpu_ms=number, preview=preview)


async def test_while_an_edit_is_held_up_the_newest_state_wins_and_nobody_waits():
    async with Stage() as stage:
        job = a_job(state=State.RUNNING)
        stage.editor.follow(job, None)
        await stage.shows("Starting")
        stage.message_api.gate.clear()
        began = time.monotonic()
        for number in range(1, 90):
            stage.bus.progress(step(job, number))
            await asyncio.sleep(0)
        assert time.monotonic() - began < 1
        stage.message_api.gate.set()
        await stage.shows("89 %")
        assert len(stage.message_api.edits) <= 3


async def test_a_preview_is_attached_once_and_kept_until_the_next():
    async with Stage() as stage:
        job = a_job(state=State.RUNNING)
        stage.editor.follow(job, None)
        stage.bus.progress(step(job, 10, preview=b"one"))
        await stage.shows("10 %")
        stage.bus.progress(step(job, 11))
        await stage.shows("11 %")
        stage.bus.progress(step(job, 12, preview=b"two"))
        await stage.shows("12 %")
        files = {text[:2]: files for text, files in stage.message_api.edits}
        assert [len(files["10"]), files["11"], len(files["12"])] == [1, None, 1]


async def test_a_job_that_waits_again_loses_its_preview():
    async with Stage() as stage:
        job = a_job(state=State.RUNNING)
        stage.editor.follow(job, None)
        stage.bus.progress(step(job, 10, preview=b"one"))
        await stage.shows("10 %")
        stage.bus.changed(replace(job, state=State.QUEUED, attempt=1, started_at=None))
        await stage.shows("will start again")
        assert stage.message_api.edits[-1][1] == []


async def test_the_last_words_tell_at_once_whoever_reads_of_a_job_that_runs_no_more():
    async with Stage(pause=60) as stage:
        ran, waits = a_job(id="r" * 16, state=State.RUNNING), a_job(id="w" * 16)
        for job in (ran, waits):
            stage.editor.follow(job, None)
        stage.bus.progress(step(ran, 10, preview=b"one"))
        await eventually(lambda: _count(stage, 2))
        stage.bus.changed(replace(ran, state=State.QUEUED, attempt=1, started_at=None))
        await stage.editor.show_requeued()
        text, files = stage.message_api.edits[-1]
        assert "Next in line" in text and files == []
        assert len(stage.message_api.edits) == 3


async def test_the_last_words_are_also_for_a_job_whose_start_was_never_shown():
    async with Stage(pause=60, patience=60) as stage:
        job = a_job()
        stage.editor.follow(job, JobCards().render(JobView(job=job, place=1)))
        stage.bus.changed(replace(job, state=State.RUNNING, attempt=1))
        await asyncio.sleep(0.01)
        stage.bus.changed(replace(job, attempt=1))
        stage.worker = WorkerState(status=Status.AWAY, paused=False, since=1.0, stopping=True)
        await stage.editor.show_requeued()
        assert "Darkroom is restarting" in stage.message_api.edits[-1][0]


async def _count(stage, edits):
    return len(stage.message_api.edits) == edits


async def test_a_quick_job_shows_its_first_preview_instead_of_its_start():
    async with Stage(pause=60, patience=5) as stage:
        job = a_job(state=State.QUEUED)
        stage.editor.follow(job, None)
        await asyncio.sleep(0.01)
        running = dataclasses.replace(job, state=State.RUNNING, attempt=1)
        stage.bus.changed(running)
        stage.bus.progress(step(running, 1))
        await asyncio.sleep(0.01)
        stage.bus.progress(step(running, 10, preview=b"jpeg"))
        await stage.shows("10 %")
        assert len(stage.message_api.edits) == 1 and stage.message_api.edits[0][1]


async def test_after_leave_nothing_touches_the_message_even_if_an_edit_was_under_way():
    async with Stage() as stage:
        job = a_job(state=State.RUNNING)
        stage.editor.follow(job, None)
        await stage.shows("Starting")
        stage.message_api.gate.clear()
        stage.bus.progress(step(job, 50))
        await asyncio.sleep(0.01)
        leaving = asyncio.create_task(stage.editor.leave(job.id))
        await asyncio.sleep(0.01)
        assert not leaving.done(), "an edit under way is waited for: it must not land after the result"
        stage.message_api.gate.set()
        await asyncio.wait_for(leaving, 5)
        count = len(stage.message_api.edits)
        stage.bus.progress(step(job, 60))
        await asyncio.sleep(0.05)
        assert len(stage.message_api.edits) == count


async def test_a_waiting_jobs_place_is_looked_up_again_and_costs_an_edit_only_when_it_changed():
    async with Stage(refresh=0.02) as stage:
        stage.place = 3
        stage.editor.follow(a_job(state=State.QUEUED), None)
        await stage.shows("Third in line")
        await asyncio.sleep(0.1)
        assert len(stage.message_api.edits) == 1
        stage.place = 2
        await stage.shows("Second in line")
        assert len(stage.message_api.edits) == 2


async def test_an_old_message_changes_only_with_its_jobs_state():
    async with Stage(refresh=0.02) as stage:
        job = a_job(state=State.QUEUED, created_at=0.0)
        stage.now = OLD_SECONDS + 1
        stage.editor.follow(job, None)
        await stage.shows("Next in line")
        stage.place = 5
        await asyncio.sleep(0.1)
        assert len(stage.message_api.edits) == 1
        stage.bus.changed(replace(job, state=State.RUNNING, attempt=1))
        await stage.shows("Starting")
        stage.bus.progress(step(job, 10, preview=b"one"))
        await asyncio.sleep(0.05)
        assert len(stage.message_api.edits) == 2


async def test_what_happened_while_the_first_answer_was_on_its_way_is_not_missed():
    async with Stage() as stage:
        job = a_job(state=State.QUEUED)
        running = replace(job, state=State.RUNNING, attempt=1, started_at=1.0)
        stage.bus.changed(running)
        stage.bus.progress(step(job, 40))
        await asyncio.sleep(0.01)
        stage.editor.follow(job, None)
        await stage.shows("40 %")


async def test_a_job_that_ended_while_its_first_answer_was_on_its_way_is_left_to_delivery():
    async with Stage(refresh=0.01) as stage:
        job = a_job(state=State.QUEUED)
        stage.bus.changed(replace(job, state=State.DONE))
        await asyncio.sleep(0.01)
        stage.editor.follow(job, None)
        await asyncio.sleep(0.05)
        assert stage.message_api.edits == []


async def test_news_of_the_gpu_reaches_everybody_who_waits():
    async with Stage() as stage:
        jobs = [a_job(id=f"job{number}", state=State.QUEUED) for number in range(3)]
        for job in jobs:
            stage.editor.follow(job, None)
        await eventually(lambda: _true(len(stage.message_api.edits) == 3))
        stage.place = 2
        stage.bus.worker(WorkerState(status=Status.ONLINE, paused=False, since=0.0))
        await eventually(lambda: _true(len(stage.message_api.edits) == 6))


async def _true(value):
    return value


async def test_a_network_error_is_not_the_end_of_a_live_message(monkeypatch):
    monkeypatch.setattr("bot.messages.progress_editor._AFTER_TROUBLE_SECONDS", 0.01)
    async with Stage() as stage:
        job = a_job(state=State.RUNNING)
        stage.message_api.error = OSError("reset")
        stage.editor.follow(job, None)
        await asyncio.sleep(0.03)
        stage.message_api.error = None
        await stage.shows("Starting")


async def test_the_budget_serves_results_first_and_previews_last():
    limiter, order = EditRateLimiter(10.0), []

    async def edit(weight):
        await limiter.turn(weight)
        order.append(weight)

    await limiter.turn(Weight.RESULT)
    weights = [Weight.PREVIEW, Weight.PLACE, Weight.RESULT, Weight.CHANGE, Weight.RESULT]
    await asyncio.gather(*(edit(weight) for weight in weights))
    assert order == sorted(weights)


async def test_the_budget_keeps_its_pace_and_forgets_who_was_cancelled():
    limiter = EditRateLimiter(100.0)
    loop = asyncio.get_running_loop()
    await limiter.turn(Weight.CHANGE)
    gone = asyncio.create_task(limiter.turn(Weight.RESULT))
    await asyncio.sleep(0)
    gone.cancel()
    began = loop.time()
    for _ in range(10):
        await limiter.turn(Weight.CHANGE)
    assert loop.time() - began >= 0.09


async def test_all_messages_together_stay_within_four_edits_a_second(tmp_path):
    async with sandboxed_bot(
        tmp_path, "--step-ms 40 --rows 32", DARKROOM_EDITS_PER_SECOND="4", DARKROOM_RUNNING="8"
    ) as bot:
        await bot.control.limits(buckets={EDITS: None})
        names = ("alice", "bob", "carol", "dave")
        firsts = await asyncio.gather(*(bot.imagine(f"boat {n}", as_=names[n % 4]) for n in range(8)))
        await asyncio.gather(*(bot.done(first) for first in firsts))
        at = [request["at_ms"] for request in await bot.requests("PATCH", "/webhooks/")]
        busiest = max(sum(1 for other in at if 0 <= other - moment < 1000) for moment in at)
        assert busiest <= 6, busiest
        assert len(await bot.posted()) == 8


@pytest.mark.parametrize("status", [403, 404])
async def test_a_message_that_cannot_be_edited_is_left_alone(tmp_path, status):
    async with sandboxed_bot(tmp_path, "--step-ms 60") as bot:
        first = await bot.imagine("a red boat")
        await bot.control.fault("PATCH", "/webhooks/**", status=status, code=10008 if status == 404 else 50013, times=1)
        await eventually(lambda: _asked(bot, status))
        count = len(await bot.requests("PATCH", "/webhooks/"))
        await bot.control.wait(as_="alice", channel="general", button="U1", timeout_ms=15_000)
        assert len(await bot.requests("PATCH", "/webhooks/")) == count + 1  # the result
        assert (await bot.done(first))["attachments"]


async def _asked(bot, status):
    return [request for request in await bot.requests("PATCH", "/webhooks/") if request["status"] == status]
