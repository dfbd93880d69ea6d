"""The GPU benchmark builds the published models, says what was not measured, and runs small without a GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks._gpu import building, reporting
from benchmarks._gpu.configs import SUBJECTS, subject
from benchmarks.gpu import goals, main
from worker.checkpoints import class_of

#: 10¹² operations of a forward of one row, and 10⁹ weights of the denoiser, by the models' cards.
KNOWN = {"sd15": (0.803, 0.860), "sdxl": (6.761, 2.567), "flux-schnell": (69.5, 11.891)}


@pytest.mark.parametrize("name", KNOWN)
def test_models_have_their_published_size(name: str) -> None:
    what = subject(name, small=False)
    with torch.device("meta"):
        denoiser = building.network(what.kind.networks[what.kind.denoiser], what.networks[what.kind.denoiser])
    assert sum(weight.numel() for weight in denoiser.parameters()) / 1e9 == pytest.approx(KNOWN[name][1], abs=1e-3)
    forwards = 4 * what.steps * (2 if what.guidance > 1 else 1)
    decode = 2.51 if name == "sd15" else 10.47
    expected = forwards * KNOWN[name][0] + 4 * decode
    assert building.tflop_of(what) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", [one.name for one in SUBJECTS])
def test_small_models_have_the_classes_of_the_large_ones(name: str) -> None:
    small, large = subject(name, small=True), subject(name, small=False)
    assert small.networks.keys() == large.networks.keys() == large.kind.networks.keys()
    assert class_of(small.kind.networks[small.kind.denoiser]) is class_of(large.kind.networks[large.kind.denoiser])
    assert small.side < large.side and small.steps <= large.steps


def test_random_weights_are_written_everywhere_and_are_finite() -> None:
    parts = building.parts_of(subject("sdxl", small=True), torch.device("cpu"), torch.float32)
    for network in parts.networks.values():
        for name, weight in network.named_parameters():
            assert weight.isfinite().all(), name
            assert weight.ndim < 2 or 0 < float(weight.std()) < 1, name


def row(model: str = "sdxl", device: str = "NVIDIA H200", cap: float = 0, **more: Any) -> dict[str, Any]:
    """A result as a run prints it."""
    return {
        "benchmark": "gpu", "small": False, "model": model, "device": device, "cap_gb": cap, "weights": "full",
        "eager_s": 8.0, "best_s": 4.6, "ours_s": 4.4, "four_s": 4.3, "limit_s": 2.1, "ours_mb": 21000,
        "previews": 0.01, "plan": "resident: everything stays on the device", **more,
    }  # fmt: skip


def test_goals_are_for_their_card_and_diffusers_is_to_beat_on_every_card() -> None:
    what = subject("sdxl", small=False)
    assert all(value <= limit for value, limit in goals(what, row(), "NVIDIA H200").values())
    slow = goals(what, row(ours_s=4.7), "NVIDIA H200")
    assert {name for name, (value, limit) in slow.items() if value > limit} == {
        "seconds a grid",
        "a grid, against diffusers at its best",
    }
    assert "seconds a grid" not in goals(what, row(), "NVIDIA RTX 4090")
    capped = {name: value for name, value in row(cap=8).items() if name not in {"eager_s", "best_s"}}
    assert list(goals(what, capped, "NVIDIA H200")) == ["previews, of the device's time"]


def test_results_merge_by_file_and_the_rest_is_not_measured(tmp_path: Path) -> None:
    document, first, second = tmp_path / "doc.md", tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    document.write_text(f"before\n{reporting.BEGIN}\nold\n{reporting.END}\nafter\n", "utf-8")
    first.write_text("a table\n" + json.dumps(row(ours_s=9.0)) + "\n" + json.dumps(row(small=True, ours_s=0.1)) + "\n")
    second.write_text(json.dumps(row()) + "\n" + json.dumps(row(cap=8.0, ours_s=11.0, ours_mb=7900)) + "\n")
    assert reporting.report([first, second], document) == 0
    text = document.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert (
        "| SDXL, 1024², 30 steps | NVIDIA H200 | 8.00 s | 4.60 s | 4.40 s | 4.30 s | 2.10 s | 4.5 s | 21,000 MB |"
        in text
    )
    assert "| SDXL, 1024², 30 steps | 8 GB | 11.00 s | 7,900 MB | resident: everything stays on the device |" in text
    assert "| SDXL, 1024², 30 steps | 12 GB | not measured | not measured | not measured |" in text


def test_a_document_without_a_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "doc.md").write_text("nothing")
    assert reporting.report([], tmp_path / "doc.md") == 1
    assert (tmp_path / "doc.md").read_text() == "nothing"


def test_the_document_has_its_place_and_a_row_for_every_model() -> None:
    text = reporting.DOCUMENT.read_text("utf-8")
    table = text.split(reporting.BEGIN)[1].split(reporting.END)[0]
    assert all(what.title in table for what in SUBJECTS)


def test_the_small_run_ends_with_a_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    words = ["--small", "--model", "flux-schnell", "--runs", "1", "--out", str(out)]
    with torch.no_grad():  # it switches gradients off for all of its process
        assert main(words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads(out.read_text("utf-8"))
    assert result["compiled"] and result["small"] and result["policy"] == "resident"
    assert min(result[name] for name in ("eager_s", "best_s", "ours_s", "four_s", "limit_s")) > 0
