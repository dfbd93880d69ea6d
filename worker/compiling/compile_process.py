"""python -m worker.compiling.compile_process NICE: compiles one artifact, as ordered on stdin, and leaves it on disk.

A process, because the compiler keeps Python's one lock for minutes and would hold up every step of the loop; and it can
be stopped and continued at any moment. It needs neither the model's weights nor memory for them.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worker.compiling.shape_counts import ShapeRequest
from worker.compiling.tracing import NetworkSpec


def encode_order(spec: NetworkSpec, request: ShapeRequest, folder: Path) -> str:
    """The JSON that the process reads from stdin."""
    return json.dumps(
        {"recipe": asdict(spec), "bucket": request.bucket, "shape": request.shape, "folder": str(folder)}, default=list
    )


def run_order(given: Mapping[str, Any]) -> None:
    """Traces, compiles, keeps."""
    import torch

    from worker.compiling import artifact_store
    from worker.compiling.tracing import trace

    spec = NetworkSpec(**given["recipe"])
    if spec.device.startswith("cuda"):
        torch.cuda.set_device(spec.device)
    traced = trace(spec, int(given["bucket"]), str(given["shape"]))
    artifact_store.save(Path(given["folder"]), traced, artifact_store.write_compiled)


def main() -> int:
    """0 when the artifact is there."""
    from worker.process_exit import die_with_parent

    die_with_parent()
    os.nice(int(sys.argv[1]))
    run_order(json.load(sys.stdin))
    return 0


if __name__ == "__main__":
    sys.exit(main())
