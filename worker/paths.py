"""Where files lie that settings and the catalogue name: by an absolute path, below a home, or in the project's folder.

Never raises: what is not there is said by whoever looks for it, with the setting's name.
"""

from pathlib import Path

#: The project's folder.
ROOT = Path(__file__).resolve().parent.parent


def expanded(where: str) -> Path:
    """With `~` as a home at its beginning. A home that nobody has stays as it is written, and is then found missing."""
    try:
        return Path(where).expanduser()
    except RuntimeError:
        return Path(where)


def existing(where: str) -> Path | None:
    """The file or folder of that name, from here or in the project's folder; None where neither is."""
    return next((path for path in (expanded(where), ROOT / where) if path.exists()), None)
