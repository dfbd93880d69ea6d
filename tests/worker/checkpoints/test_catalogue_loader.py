"""A request's model name means the catalogue's entry, and before there is one the model that the worker began with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.events import Catalogue, LoraPlace, ModelPlace
from tests.worker.fake_models import fake_model
from worker.checkpoints import CatalogueLoader
from worker.checkpoints.catalogue_loader import UnknownModel
from worker.device import choose_device
from worker.memory import ReservedMemory
from worker.vision import CompanionPaths


class FakeLoader:
    """Opens anything, and notes what."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.names: list[str] = []
        self.home: Path | None = None  # where models of the hub lie
        self.vaes: list[str] = []
        self.companions: list[CompanionPaths] = []
        self.reservations: list[ReservedMemory] = []
        self.loras: Any = None

    def __call__(
        self,
        model: str,
        device: Any,
        progress: Any,
        *,
        loras: Any,
        vae: str = "",
        companions: CompanionPaths,
        reserved: ReservedMemory,
        name: str = "",
    ) -> Any:
        self.opened.append(model)
        self.names.append(name)
        self.companions.append(companions)
        self.reservations.append(reserved)
        self.vaes.append(vae)
        self.loras = loras
        return replace(fake_model(model.rpartition("/")[2].lower()), path=self.home or Path(model))


def loader_of(*places: ModelPlace, own: str = "/models/Own", **more: Any) -> tuple[CatalogueLoader, FakeLoader]:
    files = FakeLoader()
    loader = CatalogueLoader(own, choose_device("cpu", "float32", 0), files)
    loader.set_catalogue(Catalogue(default="", models=places, **more))
    return loader, files


def test_an_entry_says_where_what_it_is_called_and_what_is_fixed_of_it() -> None:
    place = ModelPlace(name="fine", where="owner/base", file="fine.safetensors", steps=4, guidance=0.0, sampler="lcm")
    loader, files = loader_of(place, ModelPlace(name="plain", where="/models/plain"))
    info = loader.load("fine").info
    assert files.opened == ["owner/base/fine.safetensors"]
    assert (info.name, info.steps, info.guidance, info.sampler, info.native) == ("fine", 4, 0.0, "lcm", 64)
    info = loader.load("plain").info
    assert (info.steps, info.guidance, info.sampler) == (6, 5.0, "euler"), "as the files say"


def test_an_entrys_own_autoencoder_is_opened_with_it() -> None:
    loader, files = loader_of(ModelPlace(name="a", where="x", vae="owner/vae"), ModelPlace(name="b", where="y"))
    loader.load("a")
    loader.load("b")
    assert files.vaes == ["owner/vae", ""]


def test_what_lies_beside_a_model_and_who_else_is_there_is_known_before_it_is_placed() -> None:
    loader, files = loader_of(ModelPlace(name="a", where="x", upscaler="up", adapter="ip"), own="/models/Own")
    reserved = ReservedMemory(models=700)
    loader.load("a", reserved)
    loader.load("own", reserved)
    assert files.companions == [CompanionPaths(upscaler="up", adapter="ip"), CompanionPaths()]
    assert files.reservations == [reserved, reserved]


def test_a_catalogue_that_is_there_in_time_says_what_the_first_model_is_and_nothing_is_opened_twice() -> None:
    loader, files = loader_of(ModelPlace(name="best", where="/models/Own", vae="owner/vae", upscaler="up", steps=9))
    first = loader.load_first()
    assert (first.info.name, first.info.steps) == ("best", 9) and loader.named_by_catalogue(first) is first
    assert (files.opened, files.vaes, files.companions) == (
        ["/models/Own"],
        ["owner/vae"],
        [CompanionPaths(upscaler="up")],
    )
    assert loader.load("own").info.name == "own", "as its files say"


def test_the_first_model_needs_no_catalogue_and_takes_its_name_when_there_is_one() -> None:
    loader, files = loader_of()
    first = loader.load_first()
    assert files.opened == ["/models/Own"] and first.info.name == "own"
    assert loader.named_by_catalogue(first) is first
    assert loader.load("own").info.name == "own"
    loader.set_catalogue(Catalogue(default="best", models=(ModelPlace(name="best", where="/models/Own", steps=9),)))
    assert (loader.named_by_catalogue(first).info.name, loader.named_by_catalogue(first).info.steps) == ("best", 9)


def test_a_worker_may_be_started_with_a_name_that_only_the_catalogue_explains() -> None:
    files = FakeLoader()
    loader = CatalogueLoader("fine", choose_device("cpu", "float32", 0), files)
    assert loader.needs_catalogue
    loader.set_catalogue(Catalogue(default="fine", models=(ModelPlace(name="fine", where="owner/base", steps=4),)))
    assert not loader.needs_catalogue
    first = loader.load_first()
    assert (files.opened, first.info.name, first.info.steps) == (["owner/base"], "fine", 4)
    loader.set_catalogue(Catalogue(default="a", models=(ModelPlace(name="a", where="x"),)))
    with pytest.raises(UnknownModel, match="knows a"):
        loader.load_first()


def test_a_place_needs_no_catalogue() -> None:
    for own in ("postcard", "owner/name", "/models/own"):
        assert not CatalogueLoader(own, choose_device("cpu", "float32", 0), FakeLoader()).needs_catalogue


def test_an_unknown_name_is_said_with_those_that_are_known() -> None:
    loader, _ = loader_of(ModelPlace(name="a", where="x"))
    with pytest.raises(UnknownModel, match="knows a, own"):
        loader.load("b")


def test_other_files_make_a_model_stale_and_other_numbers_do_not() -> None:
    loader, _ = loader_of(ModelPlace(name="a", where="x"))
    loader.load("a")
    for place, current in (
        (ModelPlace(name="a", where="x", steps=9), True),
        (ModelPlace(name="a", where="y"), False),
        (ModelPlace(name="a", where="x", upscaler="z"), False),
        (ModelPlace(name="a", where="x", stamp="replaced"), False),
    ):
        loader.set_catalogue(Catalogue(default="a", models=(place,)))
        assert loader.is_current("a") is current
    loader.set_catalogue(Catalogue(default="a", models=()))
    assert loader.is_current("a"), "who is not named any more may stay"


def test_a_model_of_the_hub_is_looked_for_by_its_name_in_the_catalogue() -> None:
    loader, files = loader_of(ModelPlace(name="fine", where="owner/base"), own="owner/name")
    loader.load("fine")
    loader.load("name")
    assert files.names == ["fine", ""]


@pytest.mark.parametrize("own", ["owner/name", "/models/Own"], ids=["the first", "another"])
def test_a_model_that_was_fetched_is_not_loaded_again_when_the_bot_finds_where_it_lies(own: str) -> None:
    """The bot sees a new folder, and says that path from then on; with another stamp its files are others."""
    loader, files = loader_of(ModelPlace(name="name", where="owner/name", upscaler="up"), own=own)
    files.home = Path("/data/models/name")
    loader.load("name")
    found = ModelPlace(name="name", where="/data/models/name", upscaler="up", stamp="one")
    for place, current in (
        (replace(found, where="/elsewhere"), False),
        (replace(found, upscaler="other"), False),
        (found, True),
        (replace(found, steps=9), True),
        (replace(found, stamp="two"), False),
    ):
        loader.set_catalogue(Catalogue(default="name", models=(place,)))
        assert loader.is_current("name") is current


def test_the_size_and_the_loras_are_the_newest_catalogues() -> None:
    loader, files = loader_of(ModelPlace(name="a", where="x", memory_mb=900))
    assert (loader.size_mb("a"), loader.size_mb("b")) == (900, 0)
    loader.load("a")
    assert files.loras() == {}
    loader.set_catalogue(
        Catalogue(default="a", models=(), loras=(LoraPlace(name="ink", where="/loras/ink.safetensors"),))
    )
    assert files.loras() == {"ink": Path("/loras/ink.safetensors")}
