"""The engine's benchmark works, in its short run."""

import json

import pytest

from benchmarks.engine import main


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' own scheduler
def test_the_short_run_ends_with_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    # Whether the goals are met is the benchmark's own matter: other tests may be busy beside this one.
    assert main(["--small", "--side", "64", "--threads", "1"]) in (0, 1)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(result["ours_s"]) == len(result["plain_s"]) == 2
    assert len(result["goals"]) in (7, 8)  # a grid that takes long has a second preview
