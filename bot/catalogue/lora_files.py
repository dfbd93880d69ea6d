"""Looks at LoRAs on this disk: which files there are, what each is, and why one cannot be drawn. Reads headers alone.

What is right and wrong with a file is `core.lora_plan`'s word, by which the worker goes too.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.catalogue import checkpoint_files
from bot.catalogue.checkpoint_files import MOST_FILES, Unreadable, Unusable
from bot.file_storage import is_folder
from core import lora_plan, lora_shape, model_layers, safetensors_header
from core.catalogue import LoraFile, Model, fits, name_of
from core.catalogue_file import is_path
from core.families import ANY
from core.folder_format import INDEX
from core.lora_metadata import ADAPTER_CONFIG, LoraRefused
from core.lora_plan import Networks
from core.safetensors_header import Header

_ENDING = ".safetensors"
#: What libraries call every LoRA that they save: the folder's name is its own.
_NAMELESS = frozenset({"adapter_model", "pytorch_lora_weights"})
_MOST_CONFIG = 1_000_000  # bytes
_READERS = {
    "UNet2DConditionModel": model_layers.unet,
    "FluxTransformer2DModel": model_layers.flux,
    "CLIPTextModel": model_layers.clip,
    "CLIPTextModelWithProjection": lambda config: model_layers.clip(config, projects=True),
    "T5EncoderModel": model_layers.t5,
}


def lora_at(path: Path) -> LoraFile:
    """A LoRA's file. Raises Unusable."""
    header, beside = _read(path)
    try:
        plan = lora_plan.plan_of(header, beside=beside)
    except LoraRefused as error:
        raise Unusable(f"{path.name} {error}") from None
    shape = lora_shape.lora_shape(header, plan)
    notes = [*plan.notes]
    if beside is not None and not _is_nameless(path):  # which of several files it was written for does not show
        notes.append(f"takes its strength from the {ADAPTER_CONFIG} beside it")
    return LoraFile(name=name_at(path), path=str(path), shape=shape, notes=tuple(notes))


def remarks(loras: Iterable[LoraFile], models: Mapping[str, Model]) -> Iterator[str]:
    """For the log: what is left out on purpose, and models of a LoRA's own kind that cannot draw it."""
    for lora in loras:
        yield from (f"{Path(lora.path).name} {note}." for note in lora.notes)
        for name, why in lora.misfits.items():
            if lora.shape and lora.shape == models[name].shape:
                yield f"The LoRA {lora.name} cannot be used with the model {name}: it {why}"


def misfit(lora: LoraFile, networks: Networks) -> str | None:
    """Why a model with these networks cannot draw it, to stand behind its name; empty where it can.

    None where the disk does not say just now.
    """
    try:
        header, beside = _read(Path(lora.path))
    except Unreadable:
        return None
    except Unusable:
        return ""  # it is just being replaced; the next look says what is wrong
    return lora_shape.misfit(header, networks, beside)


def networks_of(model: Model, place: Path) -> Networks:
    """The layers of a model that is here, as far as its files tell them; none where they do not.

    Raises OSError where the disk does not say just now.
    """
    if place.is_file():
        return lora_shape.networks_of(model.shape)
    found = {}
    try:
        index = _json(place / INDEX)
        for name, entry in index.items():
            reader = _READERS.get(entry[1]) if isinstance(entry, list) and len(entry) == 2 else None
            if reader is not None:
                found[name] = reader(_json(place / name / "config.json"))
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return found


def places(
    folder: Path, *endings: str, known: Iterable[Path] = (), say: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """Files below a folder that may be LoRAs, in a lasting order; nothing that is hidden, no folder twice.

    `known`: those of the look before, which stay where a folder cannot be read just now. `say` is told in a sentence
    where there is more than anybody has.
    """
    return sorted(_below(folder, (_ENDING, *endings), [*known], say))


def config_beside(path: Path) -> Path:
    """What a LoRA's trainer may have written beside its file."""
    return path.with_name(ADAPTER_CONFIG)


def _below(top: Path, endings: tuple[str, ...], known: list[Path], say: Callable[[str], object]) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()  # links may lead in a circle
    waiting, count = deque([top]), 0
    while waiting:
        folder = waiting.popleft()  # what lies near comes first: a link may lead to a whole disk
        try:
            told = folder.stat()
            inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            yield from (path for path in known if folder in path.parents)
            continue
        if (told.st_dev, told.st_ino) in seen:
            continue
        seen.add((told.st_dev, told.st_ino))
        for path in inside:
            count += 1
            try:
                below = is_folder(path)
            except OSError:  # looked at later, with a word about it, where it may be one
                below = False
                yield from (one for one in known if path in one.parents)
            if below:
                waiting.append(path)
            elif path.suffix.lower() in endings:
                yield path
        if count > MOST_FILES:
            say(f"{top} has more than {MOST_FILES:,} files and folders below it; the rest is not looked at.")
            return


def name_at(path: Path) -> str:
    """What the LoRA in this file is called."""
    return name_of(path.parent.name if _is_nameless(path) else path.name)


def _is_nameless(path: Path) -> bool:
    return path.name[: -len(_ENDING)].lower() in _NAMELESS


def _read(path: Path) -> tuple[Header, Mapping[str, Any] | None]:
    """Its header, and what peft wrote beside it. Raises Unusable; Unreadable where the disk does not say just now."""
    header = checkpoint_files.header_of(path)
    if not safetensors_header.is_lora(header):
        raise Unusable(f"{path.name} is not a LoRA. Whole models belong in the folder models beside it.")
    if not lora_plan.wants_config(header):
        return header, None
    try:
        told = _json(config_beside(path))
    except (FileNotFoundError, ValueError, RecursionError):
        return header, None
    except OSError as error:  # without it the LoRA would be drawn otherwise than it was made
        raise Unreadable(f"{config_beside(path)} cannot be read ({error.strerror}).") from None
    return header, told if isinstance(told, dict) else None


def _json(path: Path) -> Any:
    """Raises OSError or ValueError; a pipe or a device is none."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return json.loads(file.read(_MOST_CONFIG))


class LoraMisfits:
    """Notes by LoRA which models cannot draw it. Remembers what it has seen while files are as they were."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}
        self._networks: dict[tuple[object, ...], Networks] = {}

    def look(self, loras: Mapping[str, LoraFile], models: Mapping[str, Model]) -> dict[str, LoraFile]:
        """The LoRAs with their misfits, among models whose kind is theirs or is not known."""
        before, self._known = self._known, {}
        networks = {name: self._layers(model) for name, model in models.items()}
        found = {}
        for name, lora in loras.items():
            misfits = {}
            for other, (key, layers) in networks.items():
                if layers and fits(lora, models[other]) and (why := self._why(lora, key, layers, before)):
                    misfits[other] = why
            found[name] = replace(lora, misfits=misfits) if misfits else lora
        return found

    def _layers(self, model: Model) -> tuple[tuple[object, ...], Networks]:
        """Those of a model on this disk, by what they are known again by."""
        place = Path(model.path).expanduser()
        if model.family == ANY or (not is_path(model.path) and not place.exists()):
            return (), {}  # it takes none, or lies where only a worker sees it
        if place.is_file():
            return (model.shape,), lora_shape.networks_of(model.shape)
        key = (model.path, _stamp(place / INDEX), *(_stamp(path) for path in sorted(place.glob("*/config.json"))))
        if key not in self._networks:
            self._networks[key] = networks_of(model, place)
        return key, self._networks[key]

    def _why(
        self, lora: LoraFile, key: tuple[object, ...], layers: Networks, before: dict[tuple[object, ...], str]
    ) -> str:
        path = Path(lora.path)
        seen = (lora.path, _stamp(path), _stamp(config_beside(path)), *key)
        why = before[seen] if seen in before else self._known.get(seen)
        why = misfit(lora, layers) if why is None else why
        if why is not None:
            self._known[seen] = why
        return why or ""


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError:
        return 0, 0
    return told.st_size, told.st_mtime_ns
