"""Notices models and LoRAs that somebody puts into the two folders. Blocking; decides nothing about entries.

A file counts when it is still: as long and as old as at the look before, or untouched for a while. Another file in its
place is looked at anew. What cannot be used is said once for each state of a file, so that a log is not filled by one
broken download; whatever it is, it takes none of the others along. What the disk does not give for a moment stays what
it was and is tried again: only a file that is not there is gone.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bot.catalogue import checkpoint_files, lora_files
from bot.catalogue.checkpoint_files import Unreadable, Unusable
from bot.file_storage import is_file, is_folder
from core.catalogue import LoraFile, Model
from core.spelling import is_text, printable

log = logging.getLogger(__name__)

#: Untouched for so many seconds, a file is taken for complete at the first look.
STILL_SECONDS = 15.0
_FOREIGN = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".gguf")

#: What decides a picture, of all that may lie in a checkpoint's folder.
_LOADED = (".safetensors", ".json")

#: Size and latest change (nanoseconds since the epoch) of all files of a thing.
Stamp = tuple[int, int]
_Thing = TypeVar("_Thing", Model, LoraFile)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found at a place: the stamp it had, what it is once it was still, and what had been there before."""

    stamp: Stamp
    thing: Model | LoraFile | None = None
    judged: bool = False
    former: Model | LoraFile | None = None


class FolderWatcher:
    """`models` and `loras` are what lies there now, by name; `look` brings them up to date."""

    def __init__(self, models: Path, loras: Path) -> None:
        self.models: dict[str, Model] = {}
        self.loras: dict[str, LoraFile] = {}
        self._folders = (models, loras)
        self._seen: dict[Path, _Look] = {}
        self._said: set[str] = set()

    def look(self, now: float) -> None:
        """Reads both folders. `now`: seconds since the epoch, as files' times are."""
        before, self._seen = self._seen, {}
        models, loras = self._folders
        places = [*self._listed(models, before), *lora_files.places(loras, *_FOREIGN, known=before, say=self.say_once)]
        things = [self._at(place, before, now) for place in places]
        self.models = self._by_name([thing for thing in things if isinstance(thing, Model)])
        self.loras = self._by_name([thing for thing in things if isinstance(thing, LoraFile)])

    def _at(self, place: Path, before: dict[Path, _Look], now: float) -> Model | LoraFile | None:
        """What lies there, once it is still and can be used."""
        try:
            stamp = self._stamp(place)
        except FileNotFoundError:
            return None  # it went away meanwhile
        except OSError as error:
            self.say_once(f"{place} cannot be read ({error.strerror}).")
            return self._kept(place, before)
        last = before.get(place)
        if last is None or last.stamp != stamp:
            still = now - stamp[1] / 1e9 > STILL_SECONDS
            fresh = _Look(stamp, former=None if last is None else last.thing or last.former)
            last = self._judged(place, fresh) if still else fresh
        elif not last.judged:
            last = self._judged(place, last)
        self._seen[place] = last
        return last.thing

    def _stamp(self, place: Path) -> Stamp:
        """Raises OSError."""
        config = lora_files.config_beside(place)
        if self._folders[1] not in place.parents or not is_file(config):
            return stamp_of(place)
        (size, changed), told = stamp_of(place), config.stat()
        return size + told.st_size, max(changed, told.st_mtime_ns)

    def _listed(self, folder: Path, before: Iterable[Path]) -> list[Path]:
        try:
            return _places(folder)
        except OSError as error:
            self.say_once(f"{folder} cannot be read ({error.strerror}).")
            return sorted(place for place in before if place.parent == folder)

    def _kept(self, place: Path, before: dict[Path, _Look]) -> Model | LoraFile | None:
        if place in before:
            self._seen[place] = before[place]
        return self._seen[place].thing if place in before else None

    def _judged(self, place: Path, look: _Look) -> _Look:
        try:
            thing = self._judge(place)
        except Unreadable as error:
            self.say_once(str(error))
            return _Look(look.stamp, look.former, former=look.former)
        if isinstance(thing, LoraFile) and look.former is not None:
            log.info("The file of the LoRA %s was replaced: jobs that start from now on use the new one.", thing.name)
        return _Look(look.stamp, thing, judged=True)

    def _judge(self, place: Path) -> Model | LoraFile | None:
        try:
            return _thing_at(place, lora=self._folders[1] in place.parents)
        except Unreadable:
            raise
        except Unusable as error:
            log.warning("%s", error)
        return None

    def _by_name(self, things: list[_Thing]) -> dict[str, _Thing]:
        """The first of each name; the log says which."""
        found: dict[str, _Thing] = {}
        for thing in things:
            used = found.setdefault(thing.name, thing)
            if used is not thing:
                self.say_once(f"{thing.path} is not used: {used.path} has the same name, {thing.name}. Rename one.")
        return found

    def say_once(self, sentence: str) -> None:
        """A warning in the log, the first time only."""
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", printable(sentence))


class FileStamps:
    """A text for each model that is another one once other files lie still in its places."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._still: dict[str, str] = {}

    def look(self, name: str, places: Iterable[Path], now: float) -> str:
        """Where files change or went away, what it was before; empty where there were none."""
        try:
            files = [(path, path.stat()) for place in places for path in checkpoint_files.files_of(place)]
        except OSError:
            files = []
        kept = [(str(path), of.st_size, of.st_mtime_ns) for path, of in files if path.suffix in _LOADED]
        if not kept:
            return self._still.get(name, "")
        stamp = hashlib.sha256(repr(kept).encode()).hexdigest()[:16]
        newest = max(changed for *_, changed in kept) / 1e9
        if name not in self._still or now - newest > STILL_SECONDS or self._seen.get(name) == stamp:
            self._still[name] = stamp
        self._seen[name] = stamp
        return self._still.get(name, "")


def unusable(models: Path, loras: Path) -> list[str]:
    """What lies in the two folders and cannot be used, each as a sentence."""
    found: list[str] = []
    try:
        places = [*_places(models), *lora_files.places(loras, *_FOREIGN, say=found.append)]
    except OSError as error:
        return [f"{models} cannot be read ({error.strerror})."]
    for place in places:
        try:
            _thing_at(place, lora=loras in place.parents)
        except Unusable as error:
            found.append(str(error))
    return found


def _thing_at(place: Path, *, lora: bool) -> Model | LoraFile | None:
    """What lies there. Raises Unusable, whatever is wrong with it, or Unreadable: the sentence names it."""
    try:
        if not is_text(str(place)):
            raise Unusable("Its name is not UTF-8. Rename it.")
        if lora:
            return lora_files.lora_at(place)
        if place.suffix.lower() in _FOREIGN:
            raise Unusable(f"{place.name} is not used: only .safetensors files and folders are.")
        for problem in checkpoint_files.lasting_problems(place):
            raise Unusable(problem)
        return checkpoint_files.model_at(place)
    except Unreadable:
        raise
    except Unusable as error:
        raise Unusable(f"{place} cannot be used. {error}") from None
    except OSError as error:
        raise Unreadable(f"{place} cannot be read ({error.strerror}).") from None
    except Exception as error:
        raise Unusable(f"{place} cannot be judged ({type(error).__name__}: {error}).") from error


def _places(folder: Path) -> list[Path]:
    """What may be a model or a LoRA in a folder, in a lasting order; nothing that is hidden. Raises OSError."""
    try:
        inside = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [place for place in inside if not place.name.startswith(".") and _may_be_model(place)]


def _may_be_model(place: Path) -> bool:
    """Also of what cannot be looked at just now: it may have been one."""
    try:
        return place.suffix.lower() in (".safetensors", *_FOREIGN) or is_folder(place)
    except OSError:
        return True


def stamp_of(place: Path) -> Stamp:
    """By this one sees that something changed. Raises OSError for a file that goes away meanwhile."""
    states = [path.stat() for path in checkpoint_files.files_of(place)]
    return sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)
