"""The life of jobs below Discord's surface: cancel, pause, restart, drain, lost pictures, line and estimates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.main import build
from bot.scheduling import OTHER_MODEL
from bot.scheduling.render_stages import LOST_MODEL
from core.errors import AlreadyRunning, Refused
from core.job import Canvas, Kind, Lane, Source, State, Upscale
from tests.harness.headless_bot import config, headless_bot


async def test_a_job_is_done_with_its_pictures_kept_and_charged_once(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job = await bot.imagine()
        done = await bot.until(job.id, State.DONE)
        pictures = await bot.images.results(done)
        assert len(pictures) == 4
        assert len(set(pictures)) == 4
        assert done.gpu_ms > 0
        assert 0 < done.charged_ms <= done.reserved_ms
        assert done.made_with.engine == "fake"
        assert [delivery.job for delivery in await bot.outbox.undelivered(bot.clock())] == [job.id]
        await bot.clean()


async def test_a_waiting_job_is_cancelled_at_once_and_costs_nothing(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none") as bot:
        job = await bot.imagine()
        cancelled = await bot.scheduler.cancel(job.id)
        assert cancelled.state is State.CANCELLED
        assert cancelled.charged_ms == 0
        await bot.clean()


async def test_a_running_job_is_cancelled_at_the_next_step_and_pays_what_was_measured(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "50") as bot:
        job = await bot.imagine(steps=100)
        with bot.bus.watch(job.id) as news:
            async for item in news:
                if getattr(item, "step", 0) >= 2:
                    break
        assert (await bot.scheduler.cancel(job.id)).state is State.RUNNING
        cancelled = await bot.until(job.id, State.CANCELLED)
        assert 0 < cancelled.gpu_ms < 100 * 50
        assert cancelled.charged_ms == min(cancelled.gpu_ms, cancelled.reserved_ms)
        await bot.clean()


async def test_a_running_job_is_cancelled_even_when_its_worker_is_lost(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--freeze", "boat:2", build_with={"silent_seconds": 1.0}) as bot:
        job = await bot.imagine()
        await bot.until(job.id, State.RUNNING)
        await bot.scheduler.cancel(job.id)
        await bot.until(job.id, State.CANCELLED)
        await bot.clean()


async def test_a_cancelled_job_stays_cancelled_when_the_bot_dies_before_its_worker_lets_go(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--freeze", "boat:2") as bot:
        job = await bot.imagine("a boat", steps=100)
        await bot.until(job.id, State.RUNNING)
        assert (await bot.scheduler.cancel(job.id)).cancel_requested
    async with headless_bot(tmp_path, "--step-ms", "5") as bot:
        cancelled = await bot.until(job.id, State.CANCELLED)
        assert cancelled.attempt == 1


async def test_a_finished_job_cannot_be_cancelled(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job = await bot.imagine()
        done = await bot.until(job.id, State.DONE)
        assert await bot.scheduler.cancel(job.id) == done
        assert await bot.scheduler.cancel("nosuchjob") is None


async def test_a_paused_queue_stays_paused_over_a_restart_and_goes_on_when_resumed(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        await bot.scheduler.pause()
        job = await bot.imagine()
        await bot.online()
    async with headless_bot(tmp_path) as bot:
        await bot.online()
        assert bot.scheduler.worker_state().paused
        assert (await bot.jobs.get(job.id)).state is State.QUEUED
        await bot.scheduler.resume()
        await bot.until(job.id, State.DONE)


async def test_jobs_that_run_into_a_pause_wait_again_uncounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.scheduling.scheduler.PAUSE_GRACE_SECONDS", 0.1)
    async with headless_bot(tmp_path, "--step-ms", "50") as bot:
        job = await bot.imagine(steps=60)
        await bot.until(job.id, State.RUNNING)
        await bot.scheduler.pause()
        waiting = await bot.until(job.id, State.QUEUED)
        assert waiting.strikes == 0
        await bot.scheduler.resume()
        await bot.until(job.id, State.DONE)
        await bot.clean()


async def test_a_restart_takes_up_what_ran_and_finishes_it_once(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "1000") as bot:
        job = await bot.imagine(steps=30)
        await bot.until(job.id, State.RUNNING)
    async with headless_bot(tmp_path) as bot:
        done = await bot.until(job.id, State.DONE)
        assert (done.attempt, done.strikes) == (2, 0)
        await bot.clean()


async def test_a_drain_ends_what_can_end_puts_back_the_rest_and_refuses_the_new(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "30") as bot:
        short = await bot.imagine("short", steps=8, user="ann")
        long = await bot.imagine("long", steps=1000, user="bob")
        for job in (short, long):
            await bot.until(job.id, State.RUNNING)
        await bot.parts.drain(3.0)
        assert (await bot.jobs.get(short.id)).state is State.DONE
        assert (await bot.jobs.get(long.id)).state is State.QUEUED
        with pytest.raises(Refused, match="restarting"):
            await bot.imagine()
        await bot.clean()


async def test_a_pruned_picture_is_rendered_again_for_a_variation(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        before = await bot.images.results(grid)
        await bot.images.forget(grid)
        assert await bot.images.read(grid.id, 2) is None
        source = Source(job=grid.id, index=2)
        variation = await bot.imagine(kind=Kind.VARIATION, source=source, strength=0.6, seed=99)
        done = await bot.until(variation.id, State.DONE)
        assert len(await bot.images.results(done)) == 4
        assert await bot.images.read(grid.id, 2) == before[2]
        assert await bot.images.read(grid.id, 1) is None
        await bot.clean()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Kind.EDIT, {"canvas": Canvas(left=16, top=16, width=32, height=32)}),
        (Kind.EDIT, {"inputs": ()}),
        (Kind.UPSCALE, {"upscale": Upscale(factor=2, creative=True)}),
    ],
)
async def test_what_is_made_from_a_picture_has_it_also_at_full_strength(
    tmp_path: Path, kind: Kind, changes: dict[str, Any]
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        made = []
        for index in (0, 1):  # the same numbers, another picture to start from: another one comes of it
            source = Source(job=grid.id, index=index)
            job = await bot.imagine(kind=kind, source=source, strength=1.0, seed=99, count=1, **changes)
            made.append(await bot.images.read((await bot.until(job.id, State.DONE)).id, 0))
        assert made[0] != made[1]
        await bot.images.forget(grid)  # and it is drawn again where it is not kept
        again = await bot.imagine(kind=kind, source=source, strength=1.0, seed=99, count=1, **changes)
        assert await bot.images.read((await bot.until(again.id, State.DONE)).id, 0) == made[1]


async def test_a_line_of_pruned_ancestors_is_rendered_again_from_its_root(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job, source, kept = await bot.imagine(), None, []
        for index in (1, 3):
            job = await bot.until(job.id, State.DONE)
            kept.append(await bot.images.read(job.id, index))
            source = Source(job=job.id, index=index)
            job = await bot.imagine(kind=Kind.VARIATION, source=source, strength=0.5)
        last = await bot.until(job.id, State.DONE)
        for row in await bot.db.read("SELECT id FROM job"):
            await bot.images.forget(await bot.jobs.get(row["id"]))
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=last.id, index=0), count=1)
        assert crop.state is State.QUEUED
        done = await bot.until(crop.id, State.DONE)
        assert len(await bot.images.results(done)) == 1
        assert done.charged_ms == 0
        assert await bot.images.read(source.job, source.index) == kept[1]
        await bot.clean()


async def test_a_crop_of_a_kept_picture_is_done_at_once_and_free(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=1), count=1)
        assert crop.state is State.DONE
        assert await bot.images.results(crop) == (await bot.images.read(grid.id, 1),)


async def test_a_damaged_file_counts_as_pruned(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
        row = await bot.results.get(grid.id, 0)
        (tmp_path / "pictures" / row.file).write_bytes(b"not what it was")
        assert await bot.images.read(grid.id, 0) is None
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=0), count=1)
        assert await bot.images.results(await bot.until(crop.id, State.DONE)) is not None


async def test_a_second_instance_on_the_same_data_says_so_and_stops(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none"):
        with pytest.raises(AlreadyRunning, match="already running"):
            async with build(config(tmp_path)):
                pass


async def test_a_clock_that_jumps_requeues_nothing(tmp_path: Path) -> None:
    now = [1.8e9]
    async with headless_bot(tmp_path, "--step-ms", "20", build_with={"clock": lambda: now[0]}) as bot:
        job = await bot.imagine(steps=40)
        with bot.bus.watch(job.id) as news:  # from before its first step: it misses none
            for step, jump in ((1, 86_400.0), (20, -2 * 86_400.0)):
                async for item in news:
                    if getattr(item, "step", 0) >= step:
                        break
                now[0] += jump
        done = await bot.until(job.id, State.DONE)
        assert done.attempt == 1


async def test_the_line_says_who_is_next_and_when_all_end(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "50") as bot:
        await bot.online()
        jobs = [await bot.imagine(f"boat {n}", user=f"user{n}", steps=200) for n in range(6)]
        await bot.until(jobs[0].id, State.RUNNING)
        estimates = [await bot.scheduler.estimate(job) for job in jobs]
        waiting = [estimate for estimate in estimates if estimate.place]
        assert sorted(estimate.place for estimate in waiting) == list(range(1, len(waiting) + 1))
        assert all(estimate.ends_in_s > 0 for estimate in estimates)
        ordered = sorted(waiting, key=lambda estimate: estimate.place)
        assert [e.ends_in_s for e in ordered] == sorted(e.ends_in_s for e in ordered)


async def test_jobs_are_accepted_without_a_worker_and_say_since_when_it_is_away(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none", build_with={"clock": lambda: 1.8e9}) as bot:
        job = await bot.imagine()
        state = bot.scheduler.worker_state()
        assert (state.status, state.since) == ("away", 1.8e9)
        estimate = await bot.scheduler.estimate(job)
        assert (estimate.place, estimate.starts_in_s) == (1, None)


async def test_two_grids_of_two_members_share_the_worker(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "30") as bot:
        jobs = [await bot.imagine("boat", user=user, steps=20) for user in ("ann", "bob")]
        together = set()
        with bot.bus.watch() as news:
            async for item in news:
                running = {job.id for job in await bot.jobs.live() if job.state is State.RUNNING}
                together |= {frozenset(running)}
                if getattr(item, "state", None) is State.DONE:
                    break
        assert frozenset(job.id for job in jobs) in together


async def test_relax_is_free(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job = await bot.imagine(lane=Lane.RELAX)
        done = await bot.until(job.id, State.DONE)
        assert (done.reserved_ms, done.charged_ms) == (0, 0)
        assert done.gpu_ms > 0
        await bot.clean()


async def test_an_event_of_an_earlier_attempt_changes_nothing(tmp_path: Path) -> None:
    async with headless_bot(tmp_path) as bot:
        job = await bot.until((await bot.imagine()).id, State.DONE)
        assert await bot.jobs.finish(job.id, job.attempt, 1) is None
        assert await bot.jobs.requeue(job.id, job.attempt) is None
        assert (await bot.jobs.get(job.id)) == replace(job, where=(await bot.jobs.get(job.id)).where)


#: The worker says so when it starts, or only when it has loaded the model for this job.
@pytest.mark.parametrize("change", [("--digest", "1" * 64), ("--digest", "1" * 64, "--model-name", "other")])
async def test_a_pruned_picture_is_never_drawn_again_by_other_weights(tmp_path: Path, change: tuple[str, ...]) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
    async with headless_bot(tmp_path, *change) as bot:
        await bot.images.forget(grid)
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=1), count=1)
        failed = await bot.until(crop.id, State.FAILED)
        assert failed.failure == LOST_MODEL and failed.charged_ms == 0
        assert await bot.images.read(grid.id, 1) is None
        await bot.clean()


@pytest.mark.parametrize(
    ("engine", "shown"),
    [("fake", ""), ("another", "another"), ("4.1-b", "4.1-b"), ("||@here|| [x](http://y)", "herexhttpy")],
)
async def test_a_pruned_picture_that_another_engine_draws_again_may_differ_and_says_so_once(
    tmp_path: Path, engine: str, shown: str
) -> None:
    async with headless_bot(tmp_path) as bot:
        grid = await bot.until((await bot.imagine()).id, State.DONE)
    async with headless_bot(tmp_path, "--engine", engine) as bot:
        await bot.images.forget(grid)
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=1), count=1)
        done = await bot.until(crop.id, State.DONE)
        note = f"Drawn again by engine {shown}, not fake as at first: it may differ from the picture that was shown."
        assert done.notes == ((note,) if shown else ())
        await bot.clean()


async def test_a_pruned_picture_of_a_model_that_is_gone_is_not_drawn_again(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_MODEL="owner/mine") as bot:
        grid = await bot.until((await bot.imagine(model="mine")).id, State.DONE)
        await bot.images.forget(grid)
    async with headless_bot(tmp_path) as bot:
        crop = await bot.imagine(kind=Kind.CROP, source=Source(job=grid.id, index=1), count=1, model="mine")
        failed = await bot.until(crop.id, State.FAILED)
        assert failed.failure == LOST_MODEL and failed.charged_ms == 0


async def test_a_job_of_a_model_of_the_catalogue_runs_though_another_one_is_usual(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_MODEL="owner/mine") as bot:
        done = await bot.until((await bot.imagine(model="postcard")).id, State.DONE)
        assert done.made_with.model == "postcard"


async def test_a_job_that_waited_for_a_model_that_is_gone_fails_free_and_says_the_cure(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, DARKROOM_WORKER="none", DARKROOM_MODEL="owner/mine") as bot:
        waited = await bot.imagine(model="mine")
    async with headless_bot(tmp_path) as bot:
        failed = await bot.until(waited.id, State.FAILED)
        assert failed.failure == OTHER_MODEL and "🔄" in OTHER_MODEL
        assert (failed.charged_ms, failed.made_with) == (0, None)
        await bot.clean()
