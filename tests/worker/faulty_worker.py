"""python -m tests.worker.faulty_worker: the real worker with faults, for tests only. Arguments are the worker's own.

FAULT_LOAD_SECONDS makes loading that slow; words in a prompt make its forwards fail (`faults.MARKS`).
"""

import os
import sys
import threading
from typing import Any

from tests.worker.faulty_family import faulty


def _patch() -> None:
    from worker import main
    from worker.checkpoints import loader

    def load(*arguments: Any, **more: Any) -> loader.Loaded:
        loaded = loader.load(*arguments, **more)
        threading.Event().wait(float(os.environ.get("FAULT_LOAD_SECONDS", "0")))
        return faulty(loaded)

    main.load = load


if __name__ == "__main__":
    from worker.__main__ import main

    if "--connect" in sys.argv:
        _patch()
    sys.exit(main(sys.argv[1:]))
