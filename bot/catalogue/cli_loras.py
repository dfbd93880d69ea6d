"""What `python bot.py models` says of LoRAs: which there are, what is wrong with one, and which models can draw it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bot.catalogue import catalogue_files, checkpoint_files, locations, lora_files
from bot.catalogue.locations import Availability
from bot.config import Config
from core.catalogue import LoraFile, Model, fits, name_of
from core.catalogue_file import read


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLora:
    """A file, with what it is or why it cannot be used, and the models that are here and of its kind."""

    name: str
    path: Path
    lora: LoraFile | None
    problem: str = ""
    models: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.lora is None:
            return f"{self.name} (cannot be used; python bot.py models check {self.name} says why)"
        return f"{self.name} ({self.lora.shape or 'any'})"

    def tell(self) -> int:
        """Prints it; 0 where it can be used."""
        if self.lora is None:
            print(f"WRONG {self.problem}")
            return 1
        print(f"ok    {self.name} is a LoRA for {self.lora.shape or 'any model that it fits'}, in {self.path}.")
        for note in self.lora.notes:
            print(f"NOTE  {self.path.name} {note}.")
        for model, why in self.lora.misfits.items():
            print(f"NOTE  With the model {model} it cannot be used: it {why}")
        if self.models:
            print(f"ok    It works with {', '.join(self.models)}.")
        return 0


def found(config: Config) -> dict[str, CheckedLora]:
    """Those that the catalogue names, and those of the folder, which win."""
    named = {lora.name: Path(lora.path).expanduser() for lora in read(catalogue_files.documents(config)).loras.values()}
    inside = {lora_files.name_at(path): path for path in lora_files.places(config.data / "loras")[::-1]}
    return {name: _checked(name, path) for name, path in sorted({**named, **inside}.items())}


def find(config: Config, name: str, models: Mapping[str, Model]) -> CheckedLora | None:
    """The LoRA of that name, judged against the models that are here; None where a model has the name, or nothing."""
    if "/" in name or name_of(name) in models:
        return None
    checked = found(config).get(name_of(name))
    if checked is None or checked.lora is None:
        return checked
    here = {}
    for model in models.values():
        place = locations.examined(model, config.data)
        if place.state is Availability.HERE:
            told = checkpoint_files.model_at(place.path, own_vae=bool(model.vae))
            here[model.name] = replace(told, name=model.name)
    lora = lora_files.LoraMisfits().look({checked.name: checked.lora}, here)[checked.name]
    able = tuple(sorted(model.name for model in here.values() if lora.shape and model.shape and fits(lora, model)))
    return CheckedLora(name=checked.name, path=checked.path, lora=lora, models=able)


def _checked(name: str, path: Path) -> CheckedLora:
    try:
        return CheckedLora(name=name, path=path, lora=lora_files.lora_at(path))
    except checkpoint_files.Unusable as error:
        return CheckedLora(name=name, path=path, lora=None, problem=str(error))
