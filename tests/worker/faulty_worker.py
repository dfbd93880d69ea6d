"""python -m tests.worker.faulty_worker: the real worker with faults, for tests only. Arguments are the worker's own.

FAULT_LOAD_WAITS names a pipe: no load is over before somebody writes to it. Words in a prompt make its forwards fail
(`faulty_family.MARKS`).
"""

import os
import sys
from pathlib import Path
from typing import Any

from tests.worker.faulty_family import faulty


def _patch() -> None:
    from worker import main
    from worker.checkpoints import loader

    def load(*arguments: Any, **more: Any) -> loader.LoadedCheckpoint:
        loaded = loader.load(*arguments, **more)
        if gate := os.environ.get("FAULT_LOAD_WAITS"):
            Path(gate).read_bytes()
        return faulty(loaded)

    main.load = load


if __name__ == "__main__":
    from worker.__main__ import main

    if "--connect" in sys.argv:
        _patch()
    sys.exit(main(sys.argv[1:]))
