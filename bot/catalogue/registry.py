"""The catalogue in life: which models and LoRAs requests may name now, where they are, what workers said of them.

Looks again every few seconds at models.toml and at the two folders. Loads no model: knows files by their headers, and
all else from a worker's word.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.catalogue import catalogue_files, checkpoint_files, locations, lora_files
from bot.catalogue.catalogue_files import expected
from bot.catalogue.folder_watcher import FileStamps, FolderWatcher, Stamp, stamp_of
from bot.catalogue.locations import Availability, ModelLocation
from bot.catalogue.lora_files import LoraMisfits
from bot.config import Config
from bot.file_storage import is_file, is_folder
from core import events, wire
from core.catalogue import FAMILIES, POSTCARD, Choices, LoraFile, Model, name_of
from core.catalogue_file import Entries, is_path, read
from core.errors import ConfigError, FrameError
from core.spelling import is_text
from storage.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 20.0
#: Under this name the settings keep what workers said of models.
_FACTS = "models"
#: Models that no catalogue names and workers have.
_MOST_BROUGHT = 1000
_COMPANIONS = ("vae", "adapter", "upscaler", "classifier")
_BY_FILES = (
    *("family", "shape", "native", "multiple", "min_side", "max_side", "sizes"),
    *("steps", "guidance", "sampler", "samplers", "ignores"),
)

__all__ = ["ModelRegistry", "expected"]


@dataclass(frozen=True, slots=True)
class _Found:
    """One look's result: entries as written, models and LoRAs that requests may name, where the worker starts.

    `stamps`: by model, what is another text when its files are others.
    """

    origins: Mapping[str, Model]
    models: Mapping[str, Model]
    loras: Mapping[str, LoraFile]
    default: str
    launch: str
    stamps: Mapping[str, str] = field(default_factory=dict)


class ModelRegistry:
    """`choices` is a value that changes as a whole; `changed` is called after each change of it.

    `launch`: where a worker of this machine finds the default model, as an option of its command.
    """

    def __init__(self, config: Config, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._config = config
        self._settings = settings
        self._clock = clock
        self._watcher = FolderWatcher(config.data / "models", config.data / "loras")
        self._facts: dict[str, Any] = {}  # by name: the place it was loaded from, and what was said
        self._unkept = False
        self._spoken: set[str] = set()  # those of which a worker has spoken since this start
        self._brought: dict[str, Model] = {}  # what workers have and no catalogue names
        self._misfits = LoraMisfits()
        self._judged: dict[Model, tuple[Stamp, ModelLocation, Model]] = {}
        self._stamps = FileStamps()
        self._stamped: dict[str, str] = {}  # by model, as workers were told last
        default = catalogue_files.default_of(config, read(catalogue_files.documents(config)))
        self._found = _Found({}, {default.name: default}, {}, default.name, default.path)
        self.choices = Choices(default=default.name, models=self._found.models)

    @property
    def model(self) -> Model:
        """The one that is used where nobody chose."""
        return self.choices.usual()

    @property
    def launch(self) -> str:
        """The path or hub id of the model that a local worker starts with."""
        return self._found.launch

    def get(self, name: str) -> Model | None:
        """The model of that name, if requests may name it."""
        return self.choices.get(name)

    async def begin(self) -> None:
        """The first look, and what was said before this start. Raises ConfigError."""
        stored = await self._settings.state(_FACTS)
        self._facts = stored if isinstance(stored, dict) else {}
        try:
            self._found = await asyncio.to_thread(self._look)
        except ConfigError:
            raise
        except Exception:  # as in `look`
            log.exception("The catalogue could not be read; only %s can be used.", self.choices.default)
        self._replaced()
        self._rebuild()

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Once. What cannot be read leaves all as it was, and the log says so."""
        try:
            self._found = await asyncio.to_thread(self._look)
        except ConfigError as error:
            self._watcher.say_once(f"{error.sentence} Until then the catalogue stays as it was.")
            return
        except Exception:  # whatever lies in a folder, the bot goes on
            log.exception("The catalogue could not be read; it stays as it was.")
            return
        replaced = self._replaced()
        for name in replaced:
            log.info("The files of the model %s have changed: it is loaded again.", name)
        others = self._rebuild()
        if others:
            log.info("The catalogue has changed: %s.", ", ".join(sorted(self.choices.models)))
        if others or replaced:
            try:
                self.changed()
            except Exception:  # whoever is told: the next look tells of the next change
                log.exception("What the catalogue has now could not be told.")

    def _replaced(self) -> list[str]:
        """Models whose files are others than before: until a worker has loaded them, nobody knows their digests."""
        before, stamps = self._stamped, self._found.stamps
        self._stamped = {**before, **stamps}
        replaced = [name for name, stamp in stamps.items() if before.get(name, stamp) != stamp]
        self._spoken -= set(replaced)
        return replaced

    async def told(self, *infos: events.ModelInfo) -> None:
        """A worker has loaded these models."""
        news = [self._note(info) for info in infos]
        if any(news):  # once for all of them: each look at the choices is as long as there are models
            self._rebuild()
        if self._unkept:
            await self._settings.put_state(_FACTS, self._facts)
            self._unkept = False

    def _note(self, info: events.ModelInfo) -> bool:
        """Whether that is new."""
        model = self.get(info.name) or self._brought.get(info.name) or self._alias(info.name)
        if model is None and len(self._brought) >= _MOST_BROUGHT:
            self._watcher.say_once("Workers bring along more models than anybody has; the later ones are not used.")
            return False
        if model is None:
            base = FAMILIES.get(info.family, FAMILIES["any"])
            model = self._brought[info.name] = replace(base, name=info.name, path="")
        facts = {"path": model.path, "info": asdict(info)}
        new = self._facts.get(model.name) != facts
        self._unkept = self._unkept or (bool(model.path) and new)
        new = new or model.name not in self._spoken
        self._facts[model.name] = facts
        self._spoken.add(model.name)
        return new

    def order(self, *, local: bool) -> events.Catalogue:
        """What a worker has to know. One on another machine finds hub ids there, and paths where it shares our disk."""
        models = tuple(self._place(model, local) for model in self.choices.models.values() if model.path)
        loras = tuple(
            events.LoraPlace(name=lora.name, where=lora.path, shape=lora.shape) for lora in self.choices.loras.values()
        )
        return events.Catalogue(default=self.choices.default, models=models, loras=loras)

    def _place(self, model: Model, local: bool) -> events.ModelPlace:
        origin = model if local else self._found.origins.get(model.name, model)
        fixed = {key: getattr(model, key) for key in ("native", "steps", "guidance", "sampler") if key in model.fixed}
        return events.ModelPlace(
            name=model.name,
            where=origin.path,
            file="" if is_path(origin.path) else origin.file,
            family=model.family,
            sizes=model.sizes,
            memory_mb=model.memory_mb,
            stamp=self._found.stamps.get(model.name, "") if is_path(origin.path) else "",
            **fixed,
            **{key: getattr(origin, key) for key in _COMPANIONS},
        )

    def _alias(self, name: str) -> Model | None:
        """The default, as a worker calls it that only knows the place it was started with."""
        return self.model if name == name_of(self.launch) else None

    def _rebuild(self) -> bool:
        """Whether the choices are others now."""
        found = self._found
        models = {name: self._told(model) for name, model in {**self._brought, **found.models}.items()}
        absent = tuple(sorted(set(found.origins) - set(models)))
        before = self.choices
        self.choices = Choices(default=found.default, models=models, loras=found.loras, absent=absent)
        return self.choices != before

    def _told(self, model: Model) -> Model:
        """With what a worker said of the same place. An earlier start's word does not tell which weights are there."""
        facts = self._facts.get(model.name)
        if not isinstance(facts, dict) or facts.get("path") != model.path:
            return model
        try:
            info = wire.built(events.ModelInfo, facts["info"])
        except (KeyError, FrameError):
            return model
        told = model.refined_by(info)
        return told if model.name in self._spoken else replace(told, digest="")

    # --- looking, in a thread ---------------------------------------------------------------------------------------

    def _look(self) -> _Found:
        """Reads files and headers. Raises ConfigError."""
        documents = catalogue_files.documents(self._config)
        entries = read(documents)
        default = catalogue_files.default_of(self._config, entries)
        origins = {**entries.models, default.name: default}
        # Without a worker here the disk tells nothing: what the owner wrote down is where the workers are.
        elsewhere = catalogue_files.names_in(documents[1:]) if self._config.worker == "none" else frozenset()
        self._watcher.look(self._clock())
        models: dict[str, Model] = {}
        for entry in origins.values():
            place, model = self._judged_or_absent(entry)
            if place.state is Availability.HERE or entry.name == default.name or entry.name in elsewhere:
                models[entry.name] = model
        for model in self._watcher.models.values():
            used = models.setdefault(model.name, model)
            if used.path != model.path:
                self._watcher.say_once(f"{model.path} is not used: the catalogue has {model.name} at {used.path}.")
        there = Path(models[default.name].path)
        # In the hub's cache a folder is called by a commit, from which nobody can tell the model's name.
        at_home = is_path(default.path) or there.parent == self._config.data / "models"
        launch = models[default.name].path if at_home or default.path == POSTCARD.name else default.path
        loras = self._with_misfits(self._loras(entries), models)
        for sentence in lora_files.remarks(loras.values(), models):
            self._watcher.say_once(sentence)
        return _Found(origins, models, loras, default.name, launch, self._stamps_of(models))

    def _stamps_of(self, models: Mapping[str, Model]) -> Mapping[str, str]:
        """With what lies beside them."""
        wheres = {name: (model.path, *(getattr(model, key) for key in _COMPANIONS)) for name, model in models.items()}
        return {
            name: self._stamps.look(name, [Path(where).expanduser() for where in told if is_path(where)], self._clock())
            for name, told in wheres.items()
        }

    def _judged_or_absent(self, entry: Model) -> tuple[ModelLocation, Model]:
        """As `_judge`; whatever is wrong with one entry's files, the others are there.

        What the disk does not give for a moment stays what it was.
        """
        before = self._judged.get(entry)
        try:
            place, model = self._judge(entry)
            if place.is_unread and before is not None:
                return before[1:]
            if is_text(str(place.path)):
                return place, model
            wrong = "the name of its place is not UTF-8. Rename it"
        except (OSError, checkpoint_files.Unreadable) as error:
            wrong = f"its files cannot be read ({getattr(error, 'strerror', None) or error})"
            if before is not None:
                self._watcher.say_once(f"Of the model {entry.name} {wrong}; it stays as it was.")
                return before[1:]
        except Exception as error:
            wrong = f"its files cannot be judged ({type(error).__name__}: {error})"
        self._watcher.say_once(f"The model {entry.name} cannot be used: {wrong}.")
        return ModelLocation(state=Availability.ABSENT, path=Path(entry.path)), entry

    def _judge(self, entry: Model) -> tuple[ModelLocation, Model]:
        """Where an entry is, and with what its files tell; from memory while the files are as they were."""
        before = self._judged.get(entry)
        if before is not None and before[0] == stamp_of(before[1].path):
            return before[1:]
        place = locations.find(entry, self._config.data)
        here = place.state is Availability.HERE
        judged = place, self._with_files(entry, place.path) if here else entry
        if here:
            self._judged[entry] = (stamp_of(place.path), *judged)
        return judged

    def _with_files(self, entry: Model, path: Path) -> Model:
        """An entry with what its files tell, where it does not say it itself."""
        try:
            found = checkpoint_files.model_at(path, own_vae=bool(entry.vae))
        except checkpoint_files.Unreadable:
            raise
        except checkpoint_files.Unusable:
            found = entry
        kept = {*entry.fixed, *(("min_side", "max_side", "sizes") if "native" in entry.fixed else ())}
        if entry.path == POSTCARD.name:
            kept.add("multiple")
        told: dict[str, Any] = {key: getattr(found, key) for key in _BY_FILES if key not in kept}
        told |= {key: self._beside(entry, key) for key in _COMPANIONS}
        return replace(entry, path=str(path), **told)

    def _beside(self, entry: Model, key: str) -> str:
        """A companion's place; empty where there is none."""
        where: str = getattr(entry, key)
        if not where or not is_path(where):
            return where
        path = Path(where).expanduser()
        if not is_file(path) and not is_folder(path):
            self._watcher.say_once(f"The model {entry.name} is used without its {key}: there is no {path}.")
            return ""
        return str(path)

    def _with_misfits(self, loras: dict[str, LoraFile], models: Mapping[str, Model]) -> dict[str, LoraFile]:
        """What cannot be judged beforehand is judged by a worker."""
        try:
            return self._misfits.look(loras, models)
        except Exception as error:
            self._watcher.say_once(f"LoRAs cannot be held against the models ({type(error).__name__}: {error}).")
            return loras

    def _loras(self, entries: Entries) -> dict[str, LoraFile]:
        """Those of the folder, and those that the catalogue names elsewhere."""
        found = dict(self._watcher.loras)
        for lora in entries.loras.values():
            used = found.get(lora.name)
            if used is not None:
                self._watcher.say_once(f"{lora.path} is not used: {used.path} has the same name, {lora.name}.")
                continue
            try:
                found[lora.name] = replace(lora_files.lora_at(Path(lora.path).expanduser()), name=lora.name)
            except checkpoint_files.Unusable as error:
                self._watcher.say_once(f"The LoRA {lora.name} cannot be used. {error}")
            except Exception as error:
                self._watcher.say_once(f"The LoRA {lora.name} cannot be judged ({type(error).__name__}: {error}).")
        return found
