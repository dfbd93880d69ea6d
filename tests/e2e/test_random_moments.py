"""Ten jobs of four people at once, and SIGKILL at seeded random moments: thirty each for bot, worker and sandbox.

Whatever was taken before the kill is posted exactly once, and the ledger is exact.
"""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.harness.control_client import ControlRefused
from tests.harness.crash_environment import CrashEnvironment, about, killable_environment, until
from tests.harness.crashing_bot import ForkedBot

pytestmark = [pytest.mark.e2e, pytest.mark.crash, pytest.mark.timeout(600)]

MOMENTS = 30
#: Environments side by side, each with its share of the moments: most of a round is waiting.
ENVIRONMENTS = 5
JOBS = 10
#: About how long ten jobs take.
SPAN_SECONDS = 1.2
PEOPLE = ("alice", "bob", "carol", "dave")
STEPS = 8


async def ask(env: CrashEnvironment, number: int) -> None:
    """One /imagine; whoever is killed meanwhile may not answer it."""
    lanes = "--relax" if number % 5 == 4 else "--fast"
    prompt = f"boat {number} --steps {STEPS} {lanes}"
    with suppress(aiohttp.ClientError, ControlRefused, TimeoutError):
        await env.sandbox.control.command(
            as_=PEOPLE[number % len(PEOPLE)], channel="general", name="imagine", options={"prompt": prompt}
        )


async def kill_and_restart(env: CrashEnvironment, bot: ForkedBot, target: str) -> ForkedBot:
    """Kills the target and starts it again; returns the bot that runs now."""
    if target == "bot":
        await bot.end(signal.SIGKILL)
        return env.bot()
    if target == "worker":
        for pid in bot.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bot
    await env.sandbox.kill()
    await env.sandbox.start()
    return bot


async def a_round(env: CrashEnvironment, bot: ForkedBot, target: str, after_seconds: float) -> ForkedBot:
    """Ten jobs and one kill, until all is told."""
    asking = [asyncio.create_task(ask(env, number)) for number in range(JOBS)]
    await asyncio.sleep(after_seconds)
    bot = await kill_and_restart(env, bot, target)
    await env.ready()
    await asyncio.gather(*asking)
    await env.settled()
    return bot


async def examine(env: CrashEnvironment) -> int:
    """Every job that was ever taken: done, posted once, charged what it cost. How many those are."""
    jobs = env.rows("SELECT job.*, delivery.state AS told FROM job JOIN delivery ON delivery.job = job.id")
    messages = [message for message in await env.messages() if not message["ephemeral"]]
    for job in jobs:
        assert (job["state"], job["told"]) == ("done", "posted"), job["failure"]
        assert job["charged_ms"] <= min(job["gpu_ms"] * job["multiplier"], job["reserved_ms"])
        (message,) = about(job["id"], messages)
        assert message["id"] == job["message"]
        assert len(message["attachments"]) == 1
    assert len(messages) == len(jobs), "a message stands there that shows no job"
    return len(jobs)


async def rounds_in(folder: Path, target: str, moments: list[float]) -> int:
    """One environment, and round after round in it; the jobs that were taken there."""
    await asyncio.to_thread(folder.mkdir)
    async with killable_environment(folder, "--step-ms", "15") as env:
        bot = env.bot()
        await env.ready()
        for moment in moments:
            try:
                bot = await a_round(env, bot, target, moment)
                await until(lambda: examined(env), "the examination")
                await examine(env)
            except AssertionError as error:
                raise AssertionError(f"{target} killed after {moment:.3f} s: {error}\n{env.tail()}") from error
        assert await bot.end() == 0
        assert await env.audit() == []
        return await examine(env)


@pytest.mark.parametrize("target", ["bot", "worker", "sandbox"])
async def test_killed_at_random_moments_every_job_is_posted_once_and_the_ledger_is_exact(
    target: str, tmp_path: Path
) -> None:
    dice = random.Random(f"darkroom {target}")
    moments = [dice.uniform(0.0, SPAN_SECONDS) for _ in range(MOMENTS)]
    async with asyncio.TaskGroup() as tasks:
        runs = [
            tasks.create_task(rounds_in(tmp_path / str(number), target, moments[number::ENVIRONMENTS]))
            for number in range(ENVIRONMENTS)
        ]
    taken = sum(run.result() for run in runs)
    if target == "worker":
        assert taken == JOBS * MOMENTS, "who asks does not notice that a worker dies"
    else:  # whoever is killed before he could take a job has not taken it; on a busy machine that is many
        assert taken >= JOBS * MOMENTS // 4


async def examined(env: CrashEnvironment) -> bool:
    """Edits that were under way when the last result was posted may still take a moment."""
    with suppress(AssertionError):
        await examine(env)
        return True
    return False
