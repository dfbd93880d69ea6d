"""python -m worker.compiling.compile_process NICE: compiles one bundle, as ordered on stdin, and leaves it on disk.

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

from worker.compiling.shape_counts import Wish
from worker.compiling.tracing import Recipe


def order(recipe: Recipe, wish: Wish, folder: Path) -> str:
    """What the process reads."""
    return json.dumps(
        {"recipe": asdict(recipe), "bucket": wish.bucket, "shape": wish.shape, "folder": str(folder)}, default=list
    )


def obey(told: Mapping[str, Any]) -> None:
    """Traces, compiles, keeps."""
    import torch

    from worker.compiling import artifact_store
    from worker.compiling.tracing import trace

    recipe = Recipe(**told["recipe"])
    if recipe.device.startswith("cuda"):
        torch.cuda.set_device(recipe.device)
    traced = trace(recipe, int(told["bucket"]), str(told["shape"]))
    artifact_store.save(Path(told["folder"]), traced, artifact_store.write_compiled)


def main() -> int:
    """0 when the bundle is there."""
    from worker.parent_process import die_with_parent

    die_with_parent()
    os.nice(int(sys.argv[1]))
    obey(json.load(sys.stdin))
    return 0


if __name__ == "__main__":
    sys.exit(main())
