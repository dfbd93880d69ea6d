"""The engine's benchmark works, in its short run."""

import json
import subprocess
import sys

import pytest

from tests.harness.source_tree import ROOT


@pytest.mark.e2e
def test_the_short_run_ends_with_a_line_of_json() -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--small", "--side", "64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    # Whether the goals are met is the benchmark's own matter: other tests may be busy beside this one.
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["ours_s"]) == len(result["plain_s"]) == 2 and len(result["goals"]) == 7
