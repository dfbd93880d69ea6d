"""The worker's settings: from the command line, else from the environment. Knows nothing of torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from core.setting_parsers import WORKER_SETTINGS
from worker.transport import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked. `threads` and `rows`: 0 leaves the choice to the device."""

    command: str  # "serve" or "doctor"
    address: Address | None
    local: bool
    key: str
    model: str
    device: str
    dtype: str
    threads: int
    rows: int
    compile: bool | None  # None: where there is a GPU
    weights: str  # "full" or "fp8"
    gpu_mb: int  # of the device's memory, at most; 0 is all of it
    data: Path  # compiled code is kept below it, and models of the hub
    disk_free_mb: int  # stay free there
    nice: int
    log: str

    def compiles_on(self, kind: str) -> bool:
        """Whether code is compiled on a device of this kind; on a CPU it takes long and gains little."""
        return kind == "cuda" if self.compile is None else self.compile


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises ConfigError with a sentence; `--help` and unknown options exit as usual."""
    given = _parser().parse_args(arguments)
    command = given.command or "serve"
    key = environ.get("DARKROOM_WORKER_KEY", "").strip()
    address = None
    if command == "serve":
        if not given.connect:
            raise ConfigError("The worker needs to know its bot: --connect unix:PATH or --connect HOST:PORT.")
        if not key:
            raise ConfigError("DARKROOM_WORKER_KEY is not set; the bot's own key is in its data folder, worker.key.")
        try:
            address = Address.parse(given.connect)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def setting(name: str, typed: str | None) -> Any:
        known = WORKER_SETTINGS[name]
        return known.parse(name, _text(typed, environ, name) or known.default)

    return Settings(
        command=command, address=address, local=given.local, key=key,
        model=_text(given.model, environ, "DARKROOM_MODEL") or "postcard",
        device=setting("DARKROOM_DEVICE", given.device),
        dtype=setting("DARKROOM_DTYPE", given.dtype),
        threads=setting("DARKROOM_THREADS", given.threads),
        rows=setting("DARKROOM_ROWS", given.rows),
        compile=None if setting("DARKROOM_COMPILE", given.compile) == "auto" else False,
        weights=setting("DARKROOM_WEIGHTS", given.weights),
        gpu_mb=setting("DARKROOM_GPU_MB", given.gpu_mb),
        data=_folder(_text(given.data, environ, "DARKROOM_DATA") or "data"),
        disk_free_mb=setting("DARKROOM_DISK_FREE_MB", given.disk_free_mb),
        nice=setting("DARKROOM_NICE", given.nice),
        log=setting("DARKROOM_LOG", given.log).upper(),
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Makes the pictures for a Darkroom bot.")
    parser.add_argument("command", nargs="?", choices=["serve", "doctor"], help="doctor: say what is missing")
    parser.add_argument("--connect", metavar="unix:PATH|HOST:PORT", help="where the bot listens")
    parser.add_argument("--local", action="store_true", help="exit when the connection ends or the parent dies")
    parser.add_argument("--model", help="postcard, a checkpoint's folder, or a hub id (DARKROOM_MODEL)")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N (DARKROOM_DEVICE)")
    parser.add_argument("--dtype", help="auto, float32, bfloat16, float16 (DARKROOM_DTYPE)")
    parser.add_argument("--threads", help="CPU threads; 0: one per core (DARKROOM_THREADS)")
    parser.add_argument("--rows", help="most pictures in one forward; 0: as memory allows (DARKROOM_ROWS)")
    parser.add_argument("--compile", help="auto or off: compiling in the background (DARKROOM_COMPILE)")
    parser.add_argument("--weights", help="full or fp8: the denoiser's weights in memory (DARKROOM_WEIGHTS)")
    parser.add_argument("--gpu-mb", help="MB of the device's memory to use at most; 0: all (DARKROOM_GPU_MB)")
    parser.add_argument("--data", help="folder for models from the hub and compiled code (DARKROOM_DATA)")
    parser.add_argument("--disk-free-mb", help="MB to keep free on its disk (DARKROOM_DISK_FREE_MB)")
    nice = WORKER_SETTINGS["DARKROOM_NICE"].default
    parser.add_argument("--nice", help=f"way given to other programs, 0 to 19; {nice} by default (DARKROOM_NICE)")
    parser.add_argument("--log", help="debug, info, warning or error (DARKROOM_LOG)")
    return parser


def _text(given: str | None, environ: Mapping[str, str], name: str) -> str:
    """What was typed, else what is set; the bot strips its settings too."""
    return (given or "").strip() or environ.get(name, "").strip()


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"DARKROOM_DATA is “{text}”, but there is no such user. Write out the full path.") from None
