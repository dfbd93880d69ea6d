"""`python bot.py models list | add NAME | check NAME`: what models there are, fetching one, looking if it is whole.

For a person at a terminal; needs no running bot and does not disturb one. A running bot notices what is new by itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bot.catalogue import catalogue_files, checkpoint_files, cli_loras, hub_download, locations
from bot.catalogue.folder_watcher import FolderWatcher
from bot.catalogue.hub_download import HuggingFace
from bot.catalogue.locations import Availability, ModelLocation
from bot.config import Config
from core import hub_files
from core.catalogue import FAMILIES, POSTCARD, Model, name_of
from core.catalogue_file import hub_id, is_path, read
from core.errors import ConfigError
from core.hub_files import NoModel, RemoteFile, Repository
from core.hub_messages import gigabytes
from core.model_locations import possible_names
from core.spelling import nearest

_USAGE = "usage: python bot.py models list, models add NAME [--yes], or models check NAME"
#: Bytes whose sums take so long that a word before is due.
_LONG_SUM = 1_000_000_000
Ask = Callable[[str], str]


def run(config: Config, words: Sequence[str], *, ask: Ask = input) -> int:
    """The command; 0 when all is well. Raises ConfigError with a sentence."""
    try:
        return _run(config, words, ask)
    except OSError as error:
        raise ConfigError(f"{error.filename or config.data} cannot be used now ({error.strerror}).") from error


def _run(config: Config, words: Sequence[str], ask: Ask) -> int:
    sure = "--yes" in words
    match [word for word in words if word != "--yes"]:
        case ["list"]:
            return _list(config)
        case ["check", name]:
            lora = cli_loras.find(config, name, _all(config)[0])
            return _check(config, _find(config, name)) if lora is None else lora.tell()
        case ["add", name]:
            fetcher = _ModelFetcher(config, HuggingFace(config.hf_token), _sure if sure else ask)
            return fetcher.add(_find(config, name, hub_too=True))
    raise ConfigError(_USAGE)


def _sure(_question: str) -> str:
    return "y"


# --- which model ------------------------------------------------------------------------------------------------------


def _all(config: Config) -> tuple[dict[str, Model], str]:
    """Entries, what lies in the models folder, and the default's name."""
    entries = read(catalogue_files.documents(config))
    default = catalogue_files.default_of(config, entries)
    folders = FolderWatcher(config.data / "models", config.data / "loras")
    folders.look(float("inf"))
    return {**folders.models, **entries.models, default.name: default}, default.name


def _find(config: Config, name: str, *, hub_too: bool = False) -> Model:
    """The model of that name; for fetching also a place on the hub. Raises ConfigError with the nearest right name."""
    models, _ = _all(config)
    if "/" not in name and (found := models.get(name_of(name)) or _dropped(config, name)):
        return _with_origin(config, found)
    if hub_too and "/" in name and not is_path(name) and not Path(name).exists():
        try:
            repository, file = hub_id(name)
        except ValueError as error:
            raise ConfigError(f"{name} is not a name on the hub: it must be owner/name or owner/name/FILE.") from error
        place = (repository.casefold(), file)
        known = next((one for one in models.values() if (one.path.casefold(), one.file) == place), None)
        return known or _new(_name(config, repository, file, models), repository, file)
    near = nearest(name, models)
    hint = f"Did you mean {near}?" if near else f"The catalogue has {', '.join(sorted(models))}."
    also = " A model on the hub is named owner/name or owner/name/file.safetensors." if hub_too else ""
    raise ConfigError(f"There is no model {name}. {hint}{also}")


def _dropped(config: Config, name: str) -> Model | None:
    """Something in the models folder that cannot be used, so that one can ask what is wrong with it."""
    for place in (config.data / "models" / name, config.data / "models" / f"{name}.safetensors"):
        if place.exists() or locations.note_of(place) is not None:
            return _new(name_of(name), str(place.absolute()), "")
    return None


def _with_origin(config: Config, model: Model) -> Model:
    """A model of the models folder with its place on the hub, where it was fetched from there."""
    note = locations.note_of(Path(model.path)) if is_path(model.path) else None
    if note is None:
        return model
    fetched = replace(model, path=note.repository, file=note.file, licence=model.licence or note.licence)
    return fetched if locations.home_of(fetched, config.data).absolute() == Path(model.path).absolute() else model


def _name(config: Config, repository: str, file: str, models: Mapping[str, Model]) -> str:
    """What a model of the hub is called here already, or else a name that nothing has."""
    if known := locations.fetched_as(repository, file, config.data):
        return known
    first = next(possible_names(repository, file))
    taken = locations.names_taken(config.data) | models.keys()
    free = next(name for name in possible_names(repository, file) if name not in taken)
    if free != first:
        print(f"Another model is already called {first}, so this one is called {free}.")
    return free


def _new(name: str, path: str, file: str) -> Model:
    return replace(FAMILIES["any"], name=name, path=path, file=file)


# --- list -------------------------------------------------------------------------------------------------------------


def _list(config: Config) -> int:
    models, default = _all(config)
    rows = [("name", "family", "on disk", "memory", "licence", "state")]
    for name in sorted(models):
        model, place = models[name], locations.examined(models[name], config.data)
        try:
            size = checkpoint_files.bytes_of(place.path) if place.state is not Availability.ABSENT else 0
            state = str(place.state)
        except OSError as error:
            size, state = 0, f"cannot be read ({error.strerror})"
        state += ", the default" if name == default else ""
        if place.state is Availability.ABSENT and model.recommended_gb:
            state += f", recommended for {model.recommended_gb} GB"
        memory = f"{model.memory_mb / 1024:.3g} GB" if model.memory_mb else "–"
        rows.append((name, model.family, gigabytes(size) if size else "–", memory, _licence(model, place), state))
    _print_table(rows)
    if loras := cli_loras.found(config):
        print("\nLoRAs: " + ", ".join(str(lora) for lora in loras.values()))
    print(f"\nPut your own models into {config.data / 'models'} and LoRAs into {config.data / 'loras'}.")
    return 0


def _licence(model: Model, place: ModelLocation) -> str:
    """As the catalogue says, or else as the hub stated it when the model was fetched."""
    note = locations.note_of(place.path)
    return model.licence or (note.licence if note is not None else "") or "–"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# --- check ------------------------------------------------------------------------------------------------------------


def _check(config: Config, model: Model) -> int:
    place = locations.examined(model, config.data)
    if place.state is Availability.ABSENT:
        cure = f"Fetch it: python bot.py models add {model.name}" if not is_path(model.path) else "Correct its path."
        print(f"{model.name} is not here ({place.path}). {cure}")
        return 1
    wrong = [*place.problems]
    try:
        wrong += _damage(place).values()
    except OSError as error:
        wrong = [locations.unreadable(place.path, error)]
    for sentence in wrong:
        print(f"WRONG {sentence}")
    if not wrong:
        print(f"ok    {model.name} is complete: {gigabytes(checkpoint_files.bytes_of(place.path))} in {place.path}.")
    elif not is_path(model.path):
        print(f"To fetch what is missing: python bot.py models add {model.name}")
    return 1 if wrong else 0


def _damage(place: ModelLocation) -> dict[str, str]:
    """What is wrong with a model's files by the hub's sums: as we noted them, else as the cache names large files."""
    wrong = {}
    note = locations.note_of(place.path)
    noted: Mapping[str, RemoteFile] = note.files if note is not None else {}
    if (size := checkpoint_files.bytes_of(place.path)) > _LONG_SUM:
        print(f"Reading {gigabytes(size)} to check the checksums.", flush=True)
    for file, remote in noted.items():
        path = place.path / file if place.path.is_dir() else place.path
        if not path.is_file():
            wrong[file] = f"{file} is missing."
        elif found := hub_download.differs(path, remote):
            wrong[file] = f"{file}: {found}. Remove it, and add the model again."
    for path in checkpoint_files.files_of(place.path):
        name = path.resolve().name
        if path.is_symlink() and len(name) == 64:
            remote = RemoteFile(size=path.stat().st_size, sha256=name)
            if found := hub_download.differs(path, remote):
                wrong[path.name] = f"{path.name}: {found}. Remove {path.resolve()}, and add the model again."
    return wrong


# --- add --------------------------------------------------------------------------------------------------------------


class _ModelFetcher:
    """Fetches one model."""

    def __init__(self, config: Config, hub: HuggingFace, ask: Ask) -> None:
        self._config = config
        self._hub = hub
        self._ask = ask

    def add(self, model: Model) -> int:
        """Says what it would cost, asks, fetches, checks. Raises ConfigError."""
        place, damage = self._look(model)
        if place.state is Availability.HERE and not damage:
            return 0
        if is_path(model.path) or model.path == POSTCARD.name:
            raise ConfigError(f"{model.name} is a path on this machine, {place.path}: there is nothing to fetch.")
        home = locations.home_of(model, self._config.data)
        if other := locations.model_in_its_place(model, self._config.data):
            cure = "Move it out of that folder, or give the entry another name in models.toml, and try again."
            raise ConfigError(f"{model.name} belongs in {home}, but {other} is there. {cure}")
        repository = self._hub.repository(model.path)
        self._hub.check_terms(repository)
        try:
            files = self._files(model, repository, home)
        except NoModel as error:
            raise ConfigError(str(error)) from None
        self._tell(model, repository, files, _to_come(repository, files, home, damage))
        if not self._agreed():
            print("Nothing was fetched.")
            return 1
        with hub_download.download_lock(self._config.data / "models", model.path, model.file, _say):
            if place.state is not Availability.HERE and self._look(model)[0].state is Availability.HERE:
                return 0  # somebody else was quicker
            self._fetch(repository, files, home)
        if wrong := checkpoint_files.problems(home, own_vae=bool(model.vae)):
            raise ConfigError(f"{model.name} is here, but cannot be used: {wrong[0]}")
        print(f"{model.name} is here. A running bot offers it within a minute: --model {model.name}")
        return 0

    def _look(self, model: Model) -> tuple[ModelLocation, Mapping[str, str]]:
        """Where it is, and what is wrong with its files; says so when it is whole."""
        place = locations.examined(model, self._config.data)
        try:
            damage = _damage(place)
        except OSError as error:
            raise ConfigError(locations.unreadable(place.path, error)) from error
        if place.state is Availability.HERE and not damage:
            print(f"{model.name} is already here: {place.path}.")
        return place, damage

    def _files(self, model: Model, repository: Repository, home: Path) -> tuple[str, ...]:
        """What it consists of. Raises NoModel."""
        if model.file:
            return hub_files.single(repository, model.file)
        hub_files.check_folder(repository)
        note = locations.note_of(home)
        kept = _names_in(home) | (note.files.keys() if note is not None else set())
        return hub_files.folder(repository, self._hub.index(repository), kept)

    def _agreed(self) -> bool:
        try:
            return self._ask("Fetch it? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            raise ConfigError("There is nobody to ask. Add --yes to fetch it anyway.") from None

    def _tell(self, model: Model, repository: Repository, files: Sequence[str], to_come: Sequence[str]) -> None:
        """Size and licence first. Raises ConfigError where there is no room for it."""
        licence = model.licence or repository.licence or "not stated"
        where = f" ({model.licence_url})" if model.licence_url else f" (https://huggingface.co/{repository.id})"
        left, whole = repository.size_of(to_come), repository.size_of(files)
        home = locations.home_of(model, self._config.data)
        print(f"{model.name}: {repository.id}" + (f"/{model.file}" if model.file else ""))
        print(f"  licence   {licence}{where}")
        print(f"  download  {gigabytes(left)}" + (f" of {gigabytes(whole)}, the rest is here" if left < whole else ""))
        print(f"  into      {home}")
        hub_download.check_room(home, left, self._config.disk_free_mb * 1_000_000)

    def _fetch(self, repository: Repository, files: Sequence[str], home: Path) -> None:
        """Raises ConfigError; what has come by then is kept."""
        file = files[0] if home.suffix == ".safetensors" else ""
        part = hub_download.begin(home, file)
        hub_download.write_note(home, repository, files)
        self._hub.fetch(repository, files, part, _say)
        hub_download.put(part, home, file)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _names_in(home: Path) -> set[str]:
    """The files of a model in diffusers' format that lie there already, or on their way."""
    copies = [folder for folder in (home, locations.part_of(home)) if folder.is_dir()]
    return {path.relative_to(one).as_posix() for one in copies for path in checkpoint_files.files_of(one)}


def _to_come(repository: Repository, files: Sequence[str], home: Path, damage: Collection[str]) -> list[str]:
    """Those of a model's files that are not there as this revision has them, as far as one can see beforehand."""
    note = locations.note_of(home)
    noted = note.files if note is not None else {}
    there = home if home.exists() else locations.part_of(home)

    def is_there(file: str) -> bool:
        path, remote = there if there.is_file() else there / file, repository.files[file]
        same = path.is_file() and path.stat().st_size == remote.size and noted.get(file, remote) == remote
        return same and file not in damage

    return [file for file in files if not is_there(file)]
