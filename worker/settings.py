"""The worker's settings: from the command line, else from the environment. Knows nothing of torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import ConfigError
from worker.link import Address

#: Lower priority than the bot on the same machine: its loop must answer Discord within three seconds.
NICE = 10


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
    nice: int
    log: str


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises ConfigError with a sentence; `--help` and unknown options exit as usual."""
    given = _parser().parse_args(arguments)
    command = given.command or "serve"
    key = environ.get("DARKROOM_WORKER_KEY", "")
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
    return Settings(
        command=command, address=address, local=given.local, key=key,
        model=given.model or environ.get("DARKROOM_MODEL") or "postcard",
        device=given.device or environ.get("DARKROOM_DEVICE") or "auto",
        dtype=given.dtype or environ.get("DARKROOM_DTYPE") or "auto",
        threads=_number(given.threads, environ, "DARKROOM_THREADS", 0),
        rows=_number(given.rows, environ, "DARKROOM_ROWS", 0),
        nice=_number(given.nice, environ, "DARKROOM_NICE", NICE),
        log=(given.log or environ.get("DARKROOM_LOG") or "info").upper(),
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Makes the pictures for a Darkroom bot.")
    parser.add_argument("command", nargs="?", choices=["serve", "doctor"], help="doctor: say what is missing")
    parser.add_argument("--connect", metavar="unix:PATH|HOST:PORT", help="where the bot listens")
    parser.add_argument("--local", action="store_true", help="exit when the connection ends, or the parent dies")
    parser.add_argument("--model", help="postcard, a checkpoint's folder, or a hub id (DARKROOM_MODEL)")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N (DARKROOM_DEVICE)")
    parser.add_argument("--dtype", help="auto, float32, bfloat16, float16 (DARKROOM_DTYPE)")
    parser.add_argument("--threads", help="CPU threads; 0 is one per core (DARKROOM_THREADS)")
    parser.add_argument("--rows", help="most pictures in one forward; 0 is by memory (DARKROOM_ROWS)")
    parser.add_argument("--nice", help=f"priority given up, 0 to 19; {NICE} by default (DARKROOM_NICE)")
    parser.add_argument("--log", help="debug, info, warning or error (DARKROOM_LOG)")
    return parser


def _number(given: str | None, environ: Mapping[str, str], name: str, default: int) -> int:
    text = given or environ.get(name) or str(default)
    if not text.isdecimal() or int(text) > 4096:
        raise ConfigError(f"{name} is {text!r}; it must be a whole number from 0 to 4096.")
    return int(text)
