"""A request's model name means the catalogue's entry, and before there is one the model that the worker began with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.events import Catalogue, LoraPlace, ModelPlace
from tests.worker.fake_models import paper
from worker.checkpoints.catalogue_loader import NotKnown, Opener
from worker.device import choose
from worker.memory.offload_plan import Company
from worker.vision.companion_paths import Places


class Files:
    """Opens anything, and notes what."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.names: list[str] = []
        self.home: Path | None = None  # where models of the hub lie
        self.vaes: list[str] = []
        self.tools: list[Places] = []
        self.companies: list[Company] = []
        self.loras: Any = None

    def __call__(
        self, model: str, device: Any, progress: Any, *, loras: Any, vae: str = "", tools: Places, company: Company,
        name: str = "",
    ) -> Any:  # fmt: skip
        self.opened.append(model)
        self.names.append(name)
        self.tools.append(tools)
        self.companies.append(company)
        self.vaes.append(vae)
        self.loras = loras
        return replace(paper(model.rpartition("/")[2].lower()), where=self.home or Path(model))


def opener_of(*places: ModelPlace, own: str = "/models/Own", **more: Any) -> tuple[Opener, Files]:
    files = Files()
    opener = Opener(own, choose("cpu", "float32", 0), files)
    opener.know(Catalogue(default="", models=places, **more))
    return opener, files


def test_an_entry_says_where_what_it_is_called_and_what_is_fixed_of_it() -> None:
    place = ModelPlace(name="fine", where="owner/base", file="fine.safetensors", steps=4, guidance=0.0, sampler="lcm")
    opener, files = opener_of(place, ModelPlace(name="plain", where="/models/plain"))
    info = opener.load("fine").info
    assert files.opened == ["owner/base/fine.safetensors"]
    assert (info.name, info.steps, info.guidance, info.sampler, info.native) == ("fine", 4, 0.0, "lcm", 64)
    info = opener.load("plain").info
    assert (info.steps, info.guidance, info.sampler) == (6, 5.0, "euler"), "as the files say"


def test_an_entrys_own_autoencoder_is_opened_with_it() -> None:
    opener, files = opener_of(ModelPlace(name="a", where="x", vae="owner/vae"), ModelPlace(name="b", where="y"))
    opener.load("a")
    opener.load("b")
    assert files.vaes == ["owner/vae", ""]


def test_what_lies_beside_a_model_and_who_else_is_there_is_known_before_it_is_placed() -> None:
    opener, files = opener_of(ModelPlace(name="a", where="x", upscaler="up", adapter="ip"), own="/models/Own")
    company = Company(models=700)
    opener.load("a", company)
    opener.load("own", company)
    assert files.tools == [Places(upscaler="up", adapter="ip"), Places()]
    assert files.companies == [company, company]


def test_a_catalogue_that_is_there_in_time_says_what_the_first_model_is_and_nothing_is_opened_twice() -> None:
    opener, files = opener_of(ModelPlace(name="best", where="/models/Own", vae="owner/vae", upscaler="up", steps=9))
    first = opener.first()
    assert (first.info.name, first.info.steps) == ("best", 9) and opener.named(first) is first
    assert (files.opened, files.vaes, files.tools) == (["/models/Own"], ["owner/vae"], [Places(upscaler="up")])
    assert opener.load("own").info.name == "own", "as its files say"


def test_the_first_model_needs_no_catalogue_and_takes_its_name_when_there_is_one() -> None:
    opener, files = opener_of()
    first = opener.first()
    assert files.opened == ["/models/Own"] and first.info.name == "own"
    assert opener.named(first) is first
    assert opener.load("own").info.name == "own"
    opener.know(Catalogue(default="best", models=(ModelPlace(name="best", where="/models/Own", steps=9),)))
    assert (opener.named(first).info.name, opener.named(first).info.steps) == ("best", 9)


def test_a_worker_may_be_started_with_a_name_that_only_the_catalogue_explains() -> None:
    files = Files()
    opener = Opener("fine", choose("cpu", "float32", 0), files)
    assert opener.needs_catalogue
    opener.know(Catalogue(default="fine", models=(ModelPlace(name="fine", where="owner/base", steps=4),)))
    assert not opener.needs_catalogue
    first = opener.first()
    assert (files.opened, first.info.name, first.info.steps) == (["owner/base"], "fine", 4)
    opener.know(Catalogue(default="a", models=(ModelPlace(name="a", where="x"),)))
    with pytest.raises(NotKnown, match="knows a"):
        opener.first()


def test_a_place_needs_no_catalogue() -> None:
    for own in ("postcard", "owner/name", "/models/own"):
        assert not Opener(own, choose("cpu", "float32", 0), Files()).needs_catalogue


def test_an_unknown_name_is_said_with_those_that_are_known() -> None:
    opener, _ = opener_of(ModelPlace(name="a", where="x"))
    with pytest.raises(NotKnown, match="knows a, own"):
        opener.load("b")


def test_other_files_make_a_model_stale_and_other_numbers_do_not() -> None:
    opener, _ = opener_of(ModelPlace(name="a", where="x"))
    opener.load("a")
    for place, current in (
        (ModelPlace(name="a", where="x", steps=9), True),
        (ModelPlace(name="a", where="y"), False),
        (ModelPlace(name="a", where="x", upscaler="z"), False),
        (ModelPlace(name="a", where="x", stamp="replaced"), False),
    ):
        opener.know(Catalogue(default="a", models=(place,)))
        assert opener.is_current("a") is current
    opener.know(Catalogue(default="a", models=()))
    assert opener.is_current("a"), "who is not named any more may stay"


def test_a_model_of_the_hub_is_looked_for_by_its_name_in_the_catalogue() -> None:
    opener, files = opener_of(ModelPlace(name="fine", where="owner/base"), own="owner/name")
    opener.load("fine")
    opener.load("name")
    assert files.names == ["fine", ""]


@pytest.mark.parametrize("own", ["owner/name", "/models/Own"], ids=["the first", "another"])
def test_a_model_that_was_fetched_is_not_loaded_again_when_the_bot_finds_where_it_lies(own: str) -> None:
    """The bot sees a new folder, and says that path from then on; with another stamp its files are others."""
    opener, files = opener_of(ModelPlace(name="name", where="owner/name", upscaler="up"), own=own)
    files.home = Path("/data/models/name")
    opener.load("name")
    found = ModelPlace(name="name", where="/data/models/name", upscaler="up", stamp="one")
    for place, current in (
        (replace(found, where="/elsewhere"), False),
        (replace(found, upscaler="other"), False),
        (found, True),
        (replace(found, steps=9), True),
        (replace(found, stamp="two"), False),
    ):
        opener.know(Catalogue(default="name", models=(place,)))
        assert opener.is_current("name") is current


def test_the_size_and_the_loras_are_the_newest_catalogues() -> None:
    opener, files = opener_of(ModelPlace(name="a", where="x", memory_mb=900))
    assert (opener.size_mb("a"), opener.size_mb("b")) == (900, 0)
    opener.load("a")
    assert files.loras() == {}
    opener.know(Catalogue(default="a", models=(), loras=(LoraPlace(name="ink", where="/loras/ink.safetensors"),)))
    assert files.loras() == {"ink": Path("/loras/ink.safetensors")}
