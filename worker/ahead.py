"""python -m worker.ahead NICE: compiles one bundle, as ordered on stdin, and leaves it on disk.

A process, because the compiler keeps Python's one lock for minutes and would hold up every step of the loop; and it can
be stopped and let go on at any moment. It needs neither the model's weights nor memory for them.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worker.tally import Wish
from worker.tracing import Recipe


def order(recipe: Recipe, wish: Wish, folder: Path) -> str:
    """What the process reads."""
    return json.dumps(
        {"recipe": asdict(recipe), "bucket": wish.bucket, "shape": wish.shape, "folder": str(folder)}, default=list
    )


def obey(told: Mapping[str, Any]) -> None:
    """Traces, compiles, keeps."""
    import torch

    from worker import bundles
    from worker.tracing import trace

    recipe = Recipe(**told["recipe"])
    if recipe.device.startswith("cuda"):
        torch.cuda.set_device(recipe.device)
    traced = trace(recipe, int(told["bucket"]), str(told["shape"]))
    bundles.save(Path(told["folder"]), traced, bundles.write_compiled)


def main() -> int:
    """0 when the bundle is there."""
    from worker.parent import die_with_parent

    die_with_parent()
    os.nice(int(sys.argv[1]))
    obey(json.load(sys.stdin))
    return 0


if __name__ == "__main__":
    sys.exit(main())
