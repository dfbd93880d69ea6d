"""Expands `~` at the beginning of a path. A home that nobody has stays as it is written, and is then found missing."""

from pathlib import Path


def expanded(where: str) -> Path:
    """Never raises: what is not there is said by whoever looks for it, with the setting's name."""
    try:
        return Path(where).expanduser()
    except RuntimeError:
        return Path(where)
