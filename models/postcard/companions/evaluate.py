"""Scores the shipped companions: `python -m models.postcard.companions.evaluate`. A table, then one line of JSON.

Everything is asked of scenes whose combinations were never trained. Knows nothing of training.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch

from models.postcard.companions.evaluation import Scores, blend, ink, reference, style, upscaler, vision
from models.postcard.evaluate import JUDGE
from models.postcard.judge import Judge, open_judge, train_judge
from models.postcard.train import HERE

PARTS: dict[str, Callable[[Path, Judge, int, random.Random], Scores]] = {
    "vision": vision,
    "upscaler": upscaler,
    "lora": ink,
    "reference": reference,
    "style": style,
    "blend": blend,
}


def main() -> None:
    """Read the command line, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--count", type=int, default=60, help="pictures painted for each score; ten times as many seen")
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--judge", type=Path, default=JUDGE, help="where the judge of paintings is, or will be, kept")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    judge = open_judge(args.judge) if args.judge.exists() else train_judge(args.judge)
    result: dict[str, object] = {"count": args.count}
    for part in PARTS if args.part == "all" else (args.part,):
        begin = time.monotonic()
        scores = PARTS[part](args.model, judge, args.count, random.Random(f"companions {part}"))
        result[part] = {name: round(value, 4) for name, value in scores.items()}
        print(f"{part} ({time.monotonic() - begin:.0f} s)")
        for name, value in scores.items():
            print(f"    {name:42}{value:10.3f}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
