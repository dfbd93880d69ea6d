"""The device that computes: which one, at which precision, with how much memory, and how it says "no more".

Knows nothing of models or jobs.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from core.errors import ConfigError

_NO_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory|failed to allocate", re.IGNORECASE)
#: Less than CUDA itself takes, with the smallest model.
MIN_MB = 1024
#: Of a GPU's memory so much is this process's own without any tensor: what CUDA keeps for it.
CONTEXT_MB = 450
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where tensors live, their precision, the memory there in MB and how many rows one forward may hold.

    `capped`: the memory is less than the device's own, because somebody said so.
    """

    torch_device: torch.device
    dtype: torch.dtype
    memory_mb: int
    max_rows: int
    name: str
    capped: bool = False

    @property
    def dtype_name(self) -> str:
        """E.g. `bfloat16`."""
        return str(self.dtype).removeprefix("torch.")


def choose_device(device: str, dtype: str, rows: int, cap_mb: int = 0) -> Device:
    """The device for the settings' words; `auto` takes CUDA when there is one. Raises ConfigError with the cure.

    `cap_mb`: use no more of its memory than this; 0 is all of it.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        return _capped(_cuda(device, dtype, rows, cap_mb), cap_mb)
    if device != "cpu":
        raise ConfigError(f"DARKROOM_DEVICE is {device!r}; it can be auto, cpu, cuda or cuda:N.")
    chosen = _dtype("float32" if dtype == "auto" else dtype)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    found = Device(torch_device=torch.device("cpu"), dtype=chosen, memory_mb=memory, max_rows=rows or 8, name="cpu")
    return _capped(found, cap_mb)


def _capped(device: Device, cap_mb: int) -> Device:
    """Raises ConfigError for a cap that no model could live with."""
    if not cap_mb:
        return device
    if cap_mb < MIN_MB:
        raise ConfigError(
            f"DARKROOM_GPU_MB is {cap_mb}, but no model fits into less than {MIN_MB}. Raise it; 0 is no limit."
        )
    return replace(device, memory_mb=min(cap_mb, device.memory_mb), capped=True)


def _cuda(device: str, dtype: str, rows: int, cap_mb: int) -> Device:
    if not torch.cuda.is_available():
        raise ConfigError("No CUDA device answers: check nvidia-smi and the driver, or set DARKROOM_DEVICE=cpu.")
    try:
        torch_device = torch.device(device)
        found = torch.cuda.get_device_properties(torch_device)
    except (RuntimeError, AssertionError, ValueError) as error:
        count = torch.cuda.device_count()
        raise ConfigError(f"DARKROOM_DEVICE is {device!r}, but this machine has {count} CUDA device(s).") from error
    best = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    memory = min(found.total_memory >> 20, cap_mb or found.total_memory >> 20)
    most = rows or (16 if memory > 20_000 else 8 if memory > 9_000 else 4)
    chosen = _dtype(best if dtype == "auto" else dtype)
    return Device(torch_device=torch_device, dtype=chosen, memory_mb=memory, max_rows=most, name=found.name)


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ConfigError(f"DARKROOM_DTYPE is {name!r}; it can be auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def configure_torch(device: Device, threads: int) -> None:
    """Sets what holds for the whole process: threads, and the same kernels for the same work every time."""
    if threads:
        torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = device.dtype != torch.float32
    if device.capped and device.torch_device.type == "cuda":
        whole = torch.cuda.get_device_properties(device.torch_device).total_memory >> 20
        torch.cuda.set_per_process_memory_fraction(device.memory_mb / whole, device.torch_device)


def other_programs_mb(device: Device) -> int:
    """MB of its memory that other programs have now; what a cap leaves them anyway is not counted."""
    if device.torch_device.type != "cuda":
        return 0
    free, whole = torch.cuda.mem_get_info(device.torch_device)
    ours = torch.cuda.memory_reserved(device.torch_device)
    theirs = (whole - free - ours >> 20) - CONTEXT_MB
    return max(0, theirs - max(0, (whole >> 20) - device.memory_mb))


def use_device(device: Device) -> None:
    """For the calling thread: what names no device of its own (events, streams, recordings) is of this one."""
    if device.torch_device.type == "cuda":
        torch.cuda.set_device(device.torch_device)


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch says that memory is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def without_traceback(error: Exception) -> Exception:
    """Without its tracebacks: their frames would keep all memory that was in use when it was raised."""
    for one in causes_of(error):
        one.__traceback__ = None
    return error


def synchronize(device: Device) -> None:
    """Waits for all that was ordered. What is freed afterwards is in nobody's use, not even of a side stream."""
    if device.torch_device.type == "cuda":
        torch.cuda.synchronize(device.torch_device)


def free_cache(device: Device) -> None:
    """Gives cached blocks back, so that the next, smaller try finds them."""
    if device.torch_device.type == "cuda":
        torch.cuda.empty_cache()
