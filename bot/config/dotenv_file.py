"""Reads a .env file: its settings, and which of its lines are none. Knows no setting by name.

What stands in a line is never repeated: it may be the token.
"""

import io
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from core.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """`broken`: the numbers of lines that set nothing, counted from 1."""

    values: Mapping[str, str]
    broken: tuple[int, ...] = ()


def read_dotenv(path: Path) -> EnvFile:
    """What the file says; one that is not there says nothing. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return EnvFile({})
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not in UTF-8. Save it in that encoding.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Make it a file that this user can read.") from None
    # The library says of a broken line only that it is one; we say it with the cure, and in the log's own form.
    logging.getLogger("dotenv").setLevel(logging.ERROR)
    found = dotenv_values(stream=io.StringIO(text))
    values = {name: value for name, value in found.items() if value is not None and _NAME.fullmatch(name)}
    return EnvFile(values, tuple(_broken(text)))


def _broken(text: str) -> Iterator[int]:
    for binding in parse_stream(io.StringIO(text)):
        # A name without “=” parses, and so does a token that was pasted alone.
        if binding.error or (binding.key is not None and not (_sets(binding))):
            yield _line(binding)


def _sets(binding: Binding) -> bool:
    return binding.value is not None and bool(_NAME.fullmatch(binding.key or ""))


def _line(binding: Binding) -> int:
    """A statement is counted from the blank lines before it."""
    blank = re.match(r"\s*", binding.original.string)
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank[0] if blank else ""))
