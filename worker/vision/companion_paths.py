"""Where a model's companions lie: in the checkpoint's own folder, or where the catalogue says.

A place is a path, absolute or in the project's folder, or a hub's: `owner/name`, with more behind it for a folder or a
file of that repository. Of a hub only configs and safetensors are fetched. Loads nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from core.events import ModelPlace
from worker.errors import CannotOpen
from worker.hub_download import HubError, fetch
from worker.paths import existing

#: Where an adapter's image encoder lies, seen from the folder of its file: as published, and beside Postcard's.
ENCODERS = ("image_encoder", "../image_encoder", "../vision")
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionPaths:
    """Files, folders or hub paths; empty: nothing. `adapter`: its file, or a folder that holds only one."""

    adapter: str = ""
    upscaler: str = ""
    classifier: str = ""
    describer: str = ""

    @classmethod
    def in_folder(cls, folder: Path) -> "CompanionPaths":
        """What a checkpoint's own folder holds, by these names."""

        def found(name: str) -> str:
            return str(folder / name) if (folder / name).is_dir() else ""

        return cls(
            adapter=found("ip_adapter"), upscaler=found("upscaler"), classifier=found("vision"),
            describer=found("describer"),
        )  # fmt: skip

    @classmethod
    def of_entry(cls, place: ModelPlace) -> "CompanionPaths":
        """What the catalogue names."""
        return cls(adapter=place.adapter, upscaler=place.upscaler, classifier=place.classifier)

    def with_defaults(self, other: "CompanionPaths") -> "CompanionPaths":
        """These, and `other`'s where there are none."""
        return CompanionPaths(**{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(self)})


#: No companions.
NO_COMPANIONS = CompanionPaths()


def locate_companion(place: str) -> Path:
    """A place on the disk, fetched from a hub where it is none. Raises CannotOpen."""
    path = existing(place)
    if path is not None:
        return path.resolve()
    owner, _, rest = place.partition("/")
    name, _, inner = rest.partition("/")
    if not name or owner.startswith((".", "~")) or not owner:
        raise CannotOpen(f"There is no {place}: name a file, a folder, or owner/name of a hub.")
    repository = f"{owner}/{name}"
    try:
        found = fetch(repository, _patterns(inner)) / inner
    except HubError as error:
        raise CannotOpen(f"There is no {place} here. {error.sentence}") from error
    if not found.exists():
        raise CannotOpen(f"The repository {repository} has no {inner}: check its name.")
    return found


def encoder_of(file: Path) -> Path:
    """The folder of the image encoder that belongs to an adapter's file. Raises CannotOpen."""
    for name in ENCODERS:
        if (file.parent / name / "config.json").is_file():
            return file.parent / name
    raise CannotOpen(f"The image adapter {file} needs its encoder in a folder `image_encoder` beside it.")


def _patterns(inner: str) -> Sequence[str]:
    """A file comes with the encoder beside it; of a folder everything that may be read."""
    if inner.endswith(".safetensors"):
        beside = PurePosixPath(inner).parent / ENCODERS[0]
        return (inner, *(f"{beside}/{name}" for name in _FILES))
    return tuple(f"{inner}/{name}" if inner else name for name in _FILES)
