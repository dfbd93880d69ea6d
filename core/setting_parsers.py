"""Reads a setting's text as a value, or says what is wrong and what would be right: for the bot and its workers alike.

Pure: opens no file and knows no folder. What a worker is told, by its bot or by its own owner, is one table.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError

#: From a setting's name and text to its value. Raises ConfigError.
Parser = Callable[[str, str], Any]


def whole(low: int, high: int) -> Callable[[str, str], int]:
    """A whole number from `low` to `high`."""

    def parse(name: str, text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ConfigError(f"{name} is “{text}”. It has to be a whole number from {low} to {high}.")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str, str], float]:
    """A number from `low` to `high`, with a point for fractions."""

    def parse(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(f"{name} is “{text}”. It has to be a number from {low:.15g} to {high:.15g}.")
        return value

    return parse


def one_of(choices: Collection[str]) -> Callable[[str, str], str]:
    """One of some words; capitals do not matter."""

    def parse(name: str, text: str) -> str:
        if text.lower() not in choices:
            raise ConfigError(f"{name} is “{text}”. It has to be one of: {', '.join(choices)}.")
        return text.lower()

    return parse


def device(name: str, text: str) -> str:
    """auto, cpu, cuda or cuda:N."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text.lower()):
        raise ConfigError(f"{name} is “{text}”. It has to be auto, cpu, cuda, or cuda:0 for the first of several GPUs.")
    return text.lower()


def host_and_port(text: str) -> tuple[str, int]:
    """`host:port` as a pair; an address with colons of its own stands in brackets. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(text)
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Setting:
    """The text that it has when left out, and how one is read."""

    default: str
    parse: Parser


WORKER_SETTINGS: Mapping[str, Setting] = {
    "DARKROOM_DEVICE": Setting("auto", device),
    "DARKROOM_DTYPE": Setting("auto", one_of(("auto", "float32", "bfloat16", "float16"))),
    "DARKROOM_THREADS": Setting("0", whole(0, 1024)),
    "DARKROOM_ROWS": Setting("0", whole(0, 1024)),
    "DARKROOM_COMPILE": Setting("auto", one_of(("auto", "off"))),
    "DARKROOM_WEIGHTS": Setting("full", one_of(("full", "fp8"))),
    "DARKROOM_GPU_MB": Setting("0", whole(0, 10**7)),
    "DARKROOM_DISK_FREE_MB": Setting("500", whole(0, 10**9)),
    # Lower priority than the bot on the same machine: its loop must answer Discord within three seconds.
    "DARKROOM_NICE": Setting("10", whole(0, 19)),
    "DARKROOM_LOG": Setting("info", one_of(("debug", "info", "warning", "error"))),
}
