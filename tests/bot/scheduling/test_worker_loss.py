"""What happens to jobs when their worker dies, hangs, or says that it cannot."""

import os
import signal
from pathlib import Path
from unittest.mock import create_autospec

from bot.scheduling.attempt import Attempt
from bot.scheduling.worker_events import DISCONNECTS, SPOILT, outcomes_after_loss
from bot.workers import WorkerConnection
from core.events import PHASE_DEADLINE_SECONDS, Phase
from core.job import State
from tests.harness.headless_bot import headless_bot
from tests.harness.sample_jobs import a_job


async def test_a_poisonous_job_harms_only_itself(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--die", "poison:2") as bot:
        good = [await bot.imagine(f"a boat {n}", user=f"user{n}") for n in range(3)]
        poison = await bot.imagine("poison", user="mallory")
        for job in good:
            done = await bot.until(job.id, State.DONE)
            assert done.strikes == 0
        failed = await bot.until(poison.id, State.FAILED)
        assert failed.strikes == 3
        assert failed.charged_ms == 0
        after = await bot.imagine("a moon")
        await bot.until(after.id, State.DONE)
        await bot.clean()


async def test_a_slow_load_is_not_a_hang(tmp_path: Path) -> None:
    quick = dict.fromkeys(Phase, 1.5) | {Phase.LOADING: 30.0, Phase.IDLE: float("inf")}
    options = {"deadlines": quick, "silent_seconds": 1.5}
    async with headless_bot(tmp_path, "--load-seconds", "2", build_with=options) as bot:
        job = await bot.imagine()
        done = await bot.until(job.id, State.DONE)
        assert done.attempt == 1


async def test_a_hung_worker_is_replaced_and_its_job_finishes_elsewhere(tmp_path: Path) -> None:
    deadlines = {**PHASE_DEADLINE_SECONDS, Phase.STEPPING: 1.5}
    async with headless_bot(
        tmp_path, "--hang", "boat:2", "--once", str(tmp_path / "once"), build_with={"deadlines": deadlines}
    ) as bot:
        job = await bot.imagine()
        done = await bot.until(job.id, State.DONE)
        assert done.attempt == 2
        assert done.strikes == 1
        await bot.clean()


async def test_a_silent_worker_is_replaced_and_its_job_finishes_elsewhere(tmp_path: Path) -> None:
    async with headless_bot(
        tmp_path, "--freeze", "boat:2", "--once", str(tmp_path / "once"), build_with={"silent_seconds": 1.0}
    ) as bot:
        job = await bot.imagine()
        assert (await bot.until(job.id, State.DONE)).attempt == 2


async def test_a_killed_worker_costs_its_jobs_nothing_and_each_is_done_once(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--step-ms", "20") as bot:
        jobs = [await bot.imagine(f"boat {n}", user=f"user{n % 3}", steps=10) for n in range(6)]
        await bot.until(jobs[0].id, State.RUNNING)
        os.kill(bot.parts.worker_server.local.pid, signal.SIGKILL)
        for job in jobs:
            done = await bot.until(job.id, State.DONE)
            assert done.strikes <= 1
            assert len(await bot.results.of(job.id)) == 4
        await bot.clean()


async def test_out_of_memory_ends_in_a_plain_sentence_free_of_charge(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--oom", "giant:1") as bot:
        job = await bot.imagine("giant")
        failed = await bot.until(job.id, State.FAILED)
        assert failed.failure
        assert failed.charged_ms == 0
        await bot.clean()


async def test_pictures_that_arrive_broken_are_not_kept_and_cost_nothing(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--spoil", "torn") as bot:
        torn, whole = await bot.imagine("torn"), await bot.imagine("whole")
        failed = await bot.until(torn.id, State.FAILED)
        assert (failed.failure, failed.charged_ms, failed.attempt) == (SPOILT, 0, 2)
        assert await bot.results.of(torn.id) == []
        assert len(await bot.results.of((await bot.until(whole.id, State.DONE)).id)) == 4
        await bot.clean()


async def test_a_model_that_cannot_be_loaded_is_said_and_jobs_wait(tmp_path: Path) -> None:
    async with headless_bot(tmp_path, "--load-fails", "The weights are not there.") as bot:
        job = await bot.imagine()

        async def sentence() -> bool:
            return bot.scheduler.worker_state().sentence == "The weights are not there."

        await bot.eventually(sentence, "the sentence")
        assert (await bot.jobs.get(job.id)).state is State.QUEUED
        assert (await bot.scheduler.estimate(job)).ends_in_s is None


def an_attempt(job_id: str, *, ordered: bool = True) -> Attempt:
    return Attempt(
        job=a_job(job_id), connection=create_autospec(WorkerConnection, instance=True), lease_until=0.0, ordered=ordered
    )


def test_a_death_counts_against_a_job_that_was_alone_and_against_no_company() -> None:
    alone = outcomes_after_loss([an_attempt("a")], died=True, meant=False)
    assert alone["a"].strike
    together = outcomes_after_loss([an_attempt("a"), an_attempt("b")], died=True, meant=False)
    assert [(lost.strike, lost.solo) for lost in together.values()] == [(False, True)] * 2


def test_a_job_whose_last_word_is_here_already_is_no_suspect() -> None:
    verdict = outcomes_after_loss([an_attempt("a"), an_attempt("b", ordered=False)], died=True, meant=False)
    assert verdict["a"].strike
    assert (verdict["b"].strike, verdict["b"].solo) == (False, False)


def test_a_job_that_rested_is_no_suspect_and_none_is_company_for_the_one_that_ran() -> None:
    paused = an_attempt("b")
    paused.hold(0.0)
    assert not outcomes_after_loss([an_attempt("a"), paused], died=True, meant=False)["a"].strike, (
        "it may have taken one more step"
    )
    paused.off_gpu = True
    verdict = outcomes_after_loss([an_attempt("a"), paused], died=True, meant=False)
    assert verdict["a"].strike and verdict["a"].solo
    assert (verdict["b"].strike, verdict["b"].solo) == (False, False)


def test_a_stop_that_we_meant_counts_against_nobody() -> None:
    assert not outcomes_after_loss([an_attempt("a")], died=True, meant=True)["a"].strike


def test_a_lost_line_is_no_death_until_it_is_lost_with_the_same_job_again_and_again() -> None:
    assert not outcomes_after_loss([an_attempt("a")], died=False, meant=False, disconnects=1)["a"].strike
    assert outcomes_after_loss([an_attempt("a")], died=False, meant=False, disconnects=DISCONNECTS)["a"].strike
