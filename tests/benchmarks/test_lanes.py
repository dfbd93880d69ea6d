"""The lanes' benchmark counts what it should, and its short run works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lanes import Goal, MeasuredBot, chosen, jain
from core.events import Progress
from core.job import State
from tests.harness.sample_jobs import a_job
from tests.harness.source_tree import ROOT


def test_jains_index_is_one_for_equals_and_a_tenth_when_one_of_ten_has_all() -> None:
    assert jain([7] * 10) == pytest.approx(1.0)
    assert jain([7] + [0] * 9) == pytest.approx(0.1)


def test_a_goal_is_met_on_its_own_side_of_the_limit() -> None:
    assert Goal("gap", 2.0, 2.0).met and not Goal("gap", 2.01, 2.0).met
    assert Goal("Jain", 0.99, 0.99, at_least=True).met and not Goal("Jain", 0.98, 0.99, at_least=True).met
    assert Goal("for comparison", 9.0).met and "goal" not in str(Goal("for comparison", 9.0))


def test_an_attempt_that_a_restart_ended_is_no_service(tmp_path: Path) -> None:
    bot = MeasuredBot(tmp_path, chosen(["--small"]))
    for job in ("a", "b"):
        bot._note(a_job(job, state=State.RUNNING, attempt=1, user=job))
        bot._note(Progress(job=job, attempt=1, step=1, steps=4, gpu_ms=30))
    bot._note(a_job("a", state=State.DONE, attempt=1, user="a", gpu_ms=90, finished_at=1.0, charged_ms=90))
    assert bot.spent(lambda job: job.user) == {"a": 90, "b": 30}
    bot.running.clear()
    assert bot.spent(lambda job: job.user) == {"a": 90}


@pytest.mark.e2e
def test_the_short_run_ends_with_a_line_of_json() -> None:
    """With a worker that computes nothing, which is there at once."""
    command = [sys.executable, "-m", "benchmarks.lanes", "--small"]
    environ = {**os.environ, "DARKROOM_WORKER_COMMAND": f"{sys.executable} -m tests.harness.fake_worker --step-ms 20"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # Whether the goals are met is the benchmark's own matter: other tests may be busy beside this one.
    assert len(result["members_gpu_ms"]) == 10 and all(result["members_gpu_ms"])
    assert len(result["shares"]) == 2 and len(result["goals"]) == 11
