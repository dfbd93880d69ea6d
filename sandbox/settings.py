"""Reads the sandbox's settings, as the bot reads them: data folder, port, the bot's model. Knows no command line."""

import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from sandbox.errors import CannotStart

ROOT = Path(__file__).resolve().parent.parent
PORTS = 65535
#: What the bot draws with where nothing else is set.
SHIPPED = "postcard"


NAMES = ("DARKROOM_DATA", "DARKROOM_PORT", "DARKROOM_MODEL")


@dataclass(frozen=True, slots=True)
class Settings:
    """`data` is the folder that the bot's data and the sandbox's world lie in."""

    data: Path
    port: int
    model: str = SHIPPED


def read(environ: Mapping[str, str] = os.environ, dotenv: Path = ROOT / ".env") -> Settings:
    """From the environment, else from `dotenv`; blanks count as left out. Raises CannotStart."""
    found = {**_file(dotenv), **environ}
    named = {name: (found.get(name) or "").strip() for name in NAMES}
    return Settings(
        data=_folder(named["DARKROOM_DATA"] or "data"),
        port=port("DARKROOM_PORT", named["DARKROOM_PORT"] or "8800"),
        model=named["DARKROOM_MODEL"] or SHIPPED,
    )


def port(name: str, text: str) -> int:
    """A port's number; 0 takes a free one. Raises CannotStart."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > PORTS:
        raise CannotStart(f"{name} is “{text}”. It has to be a whole number from 0 to {PORTS}.")
    return int(text)


def _folder(text: str) -> Path:
    """Like the bot's own: a path that is not absolute starts at the program, wherever it was called from."""
    try:
        return ROOT / Path(text).expanduser()
    except RuntimeError:
        raise CannotStart(f"DARKROOM_DATA is “{text}”, but there is no such user. Write out the full path.") from None


def _file(path: Path) -> dict[str, str]:
    # The bot says which lines cannot be read; a library's own words about them would only be a second time.
    logging.getLogger("dotenv").setLevel(logging.ERROR)
    try:
        found = dotenv_values(stream=io.StringIO(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise CannotStart(f"{path} is not in UTF-8. Save it in that encoding.") from None
    except OSError as error:
        raise CannotStart(f"{path} cannot be read: {error.strerror}. Make it a file that this user can read.") from None
    return {name: value for name, value in found.items() if value is not None}
