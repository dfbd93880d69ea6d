"""python -m worker doctor: tries what the worker will need and says what is missing, each with its cure."""

import importlib.metadata
import sys
from time import monotonic
from typing import TYPE_CHECKING

from core.errors import DarkroomError
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.vision import LazyCompanions

_NEEDED = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


def report(settings: Settings) -> int:
    """Prints one line a finding; 0 when a worker would work, else 1."""
    if not (_libraries() and _computes(settings)):
        return 1
    print("All is well: this worker can make pictures.")
    return 0


def _libraries() -> bool:
    whole = True
    for name in _NEEDED:
        try:
            print(f"ok       {name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"MISSING  {name}: `make run` installs it, or `pip install '.[worker]'`.")
            whole = False
    return whole


def _computes(settings: Settings) -> bool:
    from worker.checkpoints import ModelsFolder, load
    from worker.device import choose_device, configure_torch, other_programs_mb
    from worker.engine import smoke_test
    from worker.memory import MIN_REPORTED_MB, ReservedMemory

    try:
        device = choose_device(settings.device, settings.dtype, settings.rows, settings.gpu_mb)
        configure_torch(device, settings.threads)
        print(f"ok       device {device.name}: {device.memory_mb} MB, {device.dtype_name}, {device.max_rows} rows")
        if (others := other_programs_mb(device)) >= MIN_REPORTED_MB:
            print(f"ok       other programs, a running worker among them, hold {others} MB of that")
        began = monotonic()
        reserved = ReservedMemory(compiler=settings.compiles_on(device.torch_device.type))
        folder = ModelsFolder(path=settings.data / "models", min_free_mb=settings.disk_free_mb)
        loaded = load(settings.model, device, weights=settings.weights, reserved=reserved, folder=folder)
        print(f"ok       model {loaded.info.name} ({loaded.info.digest}) in {monotonic() - began:.1f} s")
        if loaded.plan.memory_mb:
            print(f"ok       memory {loaded.plan.sentence()}")
        how = f"in the background, kept in {settings.data}" if loaded.plan.compiles else "nothing"
        print(f"ok       compiling {how}")
        smoke_test(loaded.family, loaded.family.native)
        print(f"ok       one step and one decode at {loaded.family.native}×{loaded.family.native}")
        _open(loaded.companions)
    except DarkroomError as error:
        print(f"FAILED   {error.sentence}")
        return False
    except Exception as error:
        print(f"FAILED   a step of the model: {error}", file=sys.stdout)
        print("         Another DARKROOM_DTYPE or DARKROOM_DEVICE=cpu may help.")
        return False
    return True


def _open(companions: "LazyCompanions") -> None:
    """What lies beside the model; a worker opens it when the first job needs it, and works without what is broken."""
    from worker.errors import CannotOpen

    for kind, known in companions.known.items():
        try:
            companions.open(kind)
            print(f"ok       {kind} {known.path}: {known.memory_mb} MB, read when a job needs it")
        except CannotOpen as error:
            print(f"WITHOUT  {error}")
