"""How fast pictures are on this card: `python -m benchmarks.gpu [--model NAME] [--out FILE] [--cap-gb N] [--small]`.

Models of published size with random weights, a grid of four from words to pictures: plain diffusers, diffusers at its
documented best, our loop with previews, and four members' grids at once; beside them what the card could do at most.
With `--cap-gb`, only ours in so much memory, with the plan that was chosen. Prints a table, then one line of JSON; on a
GPU it ends with 1 when a goal is missed. Without one, or with `--small`, the same code runs at small size.

`python -m benchmarks.gpu --report FILE…` puts such lines, kept with `--out`, into docs/performance.md.
"""

import argparse
import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks._gpu import building, ours, plain, reporting
from benchmarks._gpu.configs import SUBJECTS, Subject, subject
from worker.device import Device, choose_device, configure_torch
from worker.errors import CannotLoad

PREVIEWS_GOAL = 0.02  # of the device's time
SLOWER_GOAL = 1.0  # of diffusers at its best
GOALS_CARD = "H200"
#: A product this large runs at what the card can do.
PRODUCT, SMALL_PRODUCT = 8192, 512


def tflops(device: Device, small: bool) -> float:
    """Of a large product in the device's precision, in 10¹² operations a second."""
    side = SMALL_PRODUCT if small else PRODUCT
    left, right = (torch.randn(side, side, device=device.torch_device).to(device.dtype) for _ in range(2))
    runs = 2 if small else 20
    for _ in range(3):
        left @ right
    wait(device)
    began = time.perf_counter()
    for _ in range(runs):
        left @ right
    wait(device)
    return runs * 2 * side**3 / (time.perf_counter() - began) / 1e12


def wait(device: Device) -> None:
    """Until the device has done all that was ordered."""
    if device.torch_device.type == "cuda":
        torch.cuda.synchronize(device.torch_device)


class Peak:
    """The most memory that torch held since it was last asked, in MB; nothing on a CPU."""

    def __init__(self, device: Device) -> None:
        self._cuda = device.torch_device.type == "cuda"
        self.take()

    def take(self) -> int | None:
        """Starts anew, too."""
        if not self._cuda:
            return None
        held = torch.cuda.max_memory_allocated() >> 20
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return held


def measure(options: argparse.Namespace, device: Device, small: bool, began: float) -> dict[str, Any]:
    """All numbers of one model."""
    what = subject(options.model, small=small)
    deadline = began + options.minutes * 60
    capped = bool(options.cap_gb)
    # What does not fit as a whole must not be built on the device.
    parts = building.parts_of(what, torch.device("cpu") if capped else device.torch_device, device.dtype)
    found: dict[str, Any] = {}
    peak, peaks = Peak(device), {}
    if not capped:
        pipe = plain.pipeline(what, parts)
        found["eager_s"] = plain.seconds(lambda seed: plain.grid(pipe, what, seed), options.runs)
        peaks["eager_mb"] = peak.take()
        mode = "" if device.torch_device.type != "cuda" else options.best
        with plain.at_its_best(pipe, what, mode) as best:
            found["best_s"] = plain.seconds(lambda seed: plain.grid(best, what, seed), options.runs, warm=2)
        peaks["best_mb"] = peak.take()
        del pipe
    building.settled(parts)
    mine = ours.measure(what, parts, device, options.weights, options.runs, deadline, options.cache)
    peaks["ours_mb"] = peak.take()
    found |= {"ours_s": mine.alone_s, "four_s": mine.together_s, "previews": mine.previews, "compiled": mine.compiled}
    found |= {"plan": mine.plan.sentence(), "policy": str(mine.plan.policy), "rows": mine.plan.rows}
    speed = tflops(device, small)
    return {**found, **peaks, "tflops": speed, "limit_s": building.tflop_of(what) / speed}


def goals(what: Subject, found: dict[str, Any], card: str) -> dict[str, tuple[float, float]]:
    """By name: what was measured, and what it shall not exceed."""
    wanted = {"previews, of the device's time": (found["previews"], PREVIEWS_GOAL)}
    if "best_s" in found:
        wanted["a grid, against diffusers at its best"] = (found["ours_s"] / found["best_s"], SLOWER_GOAL)
        if GOALS_CARD in card:
            wanted["seconds a grid"] = (found["ours_s"], what.goal_s)
    return wanted


def run(options: argparse.Namespace) -> int:
    """0 when every goal that counts here is met."""
    began = time.monotonic()
    gpu = torch.cuda.is_available() and not options.small
    cap_mb = int(options.cap_gb * 1024)
    device = choose_device("cuda" if gpu else "cpu", "bfloat16" if gpu else "float32", 0, cap_mb)
    configure_torch(device, 0 if gpu else options.threads)
    what = subject(options.model, small=not gpu)
    try:
        with torch.inference_mode():
            found = measure(options, device, not gpu, began)
    except CannotLoad as error:
        print(error.sentence)
        return 1
    wanted = goals(what, found, device.name) if gpu else {}
    for name, unit in reporting.LINES.items():
        if found.get(name) is not None:
            print(f"{reporting.TITLES[name]:<44} {found[name]:>10.3f} {unit}")
    print(f"{'the memory plan':<44} {found['plan']}")
    for name, (value, limit) in wanted.items():
        print(f"{name:<44} {value:>10.3f} goal ≤ {limit:g} {'met' if value <= limit else 'MISSED'}")
    met = all(value <= limit for value, limit in wanted.values())
    line = json.dumps(
        {
            "benchmark": "gpu", "model": what.name, "device": device.name, "dtype": device.dtype_name, "small": not gpu,
            "cap_gb": options.cap_gb, "weights": options.weights, "seconds": round(time.monotonic() - began, 1),
            "torch": torch.__version__, "diffusers": importlib.metadata.version("diffusers"),
            **{name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()},
            "goals_met": met,
        },
        ensure_ascii=False,
    )  # fmt: skip
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    print(line)
    return 0 if met else 1


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", choices=[one.name for one in SUBJECTS], default="sd15")
    parser.add_argument("--small", action="store_true", help="small networks on the CPU: does it run at all?")
    parser.add_argument("--runs", type=int, default=3, help="grids of which the median counts")
    parser.add_argument("--minutes", type=float, default=6.0, help="compiling goes on no longer than this")
    parser.add_argument("--best", default="reduce-overhead", help="torch.compile's mode for diffusers at its best")
    parser.add_argument("--weights", choices=["full", "fp8"], default="full", help="ours, in memory")
    parser.add_argument("--cap-gb", type=float, default=0.0, help="so much memory and no more; only ours is measured")
    parser.add_argument("--cache", type=Path, help="keep our compiled code here; else it is made anew")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; one per core by default")
    parser.add_argument("--out", type=Path, help="append the line of JSON to this file")
    parser.add_argument("--report", type=Path, nargs="+", metavar="FILE", help="put such files into the documents")
    options = parser.parse_args(arguments)
    if options.report:
        return reporting.report(options.report)
    return run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
