"""The end-to-end benchmark counts what it should, and its short run works."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from benchmarks.end_to_end import Load, Run, count_requests, quantile, summary
from tests.harness.source_tree import ROOT

LOAD = Load(members=1, jobs_each=4, steps=20, window_seconds=1, fake=True)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile(list(range(1, 101)), 0.99) == 99
    assert quantile([7], 0.99) == 7
    assert quantile([], 0.5) == -1


def test_a_lost_job_misses_the_goal_however_quick_the_answers_were() -> None:
    quick = Run(first_answers_ms=[10, 20, 30, 40], seconds=2.0)
    lossy = Run(first_answers_ms=[10, 20, 30, 40], seconds=2.0, problems=Counter(lost=1))
    assert summary(LOAD, [quick], "x")["goal_met"] is True
    assert summary(LOAD, [quick, lossy], "x")["goal_met"] is False
    assert summary(LOAD, [quick, lossy], "x")["lost"] == 1


def test_an_answer_that_never_came_misses_the_goal() -> None:
    assert summary(LOAD, [Run(first_answers_ms=[10, 20, 30], seconds=2.0)], "x")["goal_met"] is False


def test_requests_are_counted_by_what_they_were() -> None:
    run = Run()
    edit = {"kind": "request", "method": "PATCH", "route": "/webhooks/1/t/messages/@original", "status": 200}
    post = {"kind": "request", "method": "POST", "route": "/channels/1/messages", "status": 200}
    count_requests(run, [edit, post, {**edit, "status": 429}, {"kind": "event", "name": "MESSAGE_UPDATE"}])
    assert (run.edits, run.posts, run.too_many) == (1, 1, 1)


@pytest.mark.e2e
def test_the_short_run_meets_the_goal_and_ends_with_a_line_of_json() -> None:
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # How quick it was is the benchmark's own matter: other tests may be busy beside this one.
    assert {name: result[name] for name in ("jobs", "late", "refused", "lost", "doubled")} == {
        "jobs": 20,
        "late": 0,
        "refused": 0,
        "lost": 0,
        "doubled": 0,
    }
