"""Reads the settings that only the bot has: Discord's ids and tokens, addresses, words, files. Knows none by name.

Numbers, words and devices, which workers read too, are the matter of `core.setting_parsers`.
"""

import ipaddress
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ConfigError
from core.setting_parsers import host_and_port


def url(name: str, text: str) -> str:
    """An http address without trailing slashes; empty stays empty."""
    address = text.rstrip("/").removesuffix("/api/v10").rstrip("/")
    try:
        parts = urlsplit(address)
        good = not address or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{name} is “{text}”. It has to be an address such as http://127.0.0.1:8800, or empty.")
    return address


def token(name: str, text: str) -> str:
    """A bot's token; the words around it that people copy along are taken off. The message never repeats it."""
    value = text.strip().strip("\"'").removeprefix("Bot ").strip()
    if re.search(r"\s", value) or not value.isascii():
        raise ConfigError(f"{name} contains spaces or unusual characters. Copy the token again from its page.")
    return value


def snowflakes(name: str, text: str) -> frozenset[str]:
    """Discord ids, separated by commas or spaces."""
    found = [word for word in re.split(r"[\s,;]+", text) if word]
    for word in found:
        if not re.fullmatch(r"\d{15,20}", word):
            raise ConfigError(
                f"{name} contains “{word}”. It takes ids, 15 to 20 digits each, separated by commas: "
                "switch on Discord's developer mode and choose Copy ID."
            )
    return frozenset(found)


def snowflakes_or_all(name: str, text: str) -> frozenset[str] | None:
    """`all` as None, or ids."""
    if text.strip().lower() == "all":
        return None
    found = snowflakes(name, text)
    if not found:
        raise ConfigError(f"{name} is “{text}”, which names nothing. It takes ids separated by commas, or all.")
    return found


def words(_name: str, text: str) -> tuple[str, ...]:
    """Terms separated by commas or line ends; lines that begin with # are remarks."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return tuple(term.strip() for line in lines for term in line.split(",") if term.strip())


def expanded(name: str, text: str) -> Path:
    """A path with the home that `~` stands for."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{name} is “{text}”, but there is no such user. Write out the full path.") from None


def path(root: Path) -> Callable[[str, str], Path | None]:
    """A path; one that is not absolute starts at `root`, wherever the program was called from. Empty as None."""

    def read(name: str, text: str) -> Path | None:
        return root / expanded(name, text) if text else None

    return read


def word_file(root: Path) -> Callable[[str, str], tuple[str, ...]]:
    """Terms in a text file; its path is read as `path` does."""

    def read(name: str, text: str) -> tuple[str, ...]:
        if not text:
            return ()
        try:
            return words(name, (root / expanded(name, text)).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            cure = "Correct the path."
            raise ConfigError(f"{name} names {text}, which cannot be read as text ({error}). {cure}") from error

    return read


def command(name: str, text: str) -> str:
    """A command line as a shell splits it; the text stays as it is. It may hold secrets, so it is not repeated."""
    try:
        shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be split into words ({error}). Close the quote that it opens.") from None
    return text


def listen(name: str, text: str) -> tuple[str, int] | None:
    """host:port as a pair; empty as None."""
    if not text:
        return None
    try:
        return host_and_port(text)
    except ValueError:
        raise ConfigError(f"{name} is “{text}”. It has to be host:port, such as 0.0.0.0:8801, or empty.") from None


def is_loopback(host: str) -> bool:
    """True for addresses that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
