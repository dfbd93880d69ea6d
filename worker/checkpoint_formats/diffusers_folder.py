"""Shows libraries a checkpoint's folder as if its weights had plain names, whichever precision their names tell.

Knows names alone; opens no weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core.folder_format import plain


@contextmanager
def with_plain_names(folder: Path) -> Iterator[Path]:
    """A network's folder, or a whole pipeline's; where names are not plain, a folder of links to the same files."""
    inside = {inner: _names(inner) for inner in (folder, *_folders(folder))}
    shown = {inner: plain(names) for inner, names in inside.items()}
    if all(shown[inner] == {name: name for name in names} for inner, names in inside.items()):
        yield folder
        return
    with TemporaryDirectory(prefix="darkroom-") as made:
        view = Path(made) / folder.name
        for inner, names in shown.items():
            there = view / inner.relative_to(folder)
            there.mkdir()
            for name, real in names.items():
                (there / name).symlink_to((inner / real).absolute())
        yield view


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_dir())
