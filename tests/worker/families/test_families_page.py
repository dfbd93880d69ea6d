"""The page on adding a family is true: its code, run as it stands there, draws what diffusers draws."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import pytest

from bot.catalogue import checkpoint_files
from core import catalogue, families
from tests.worker.compared import distance, ours, plain, with_sampler
from tests.worker.engine_driver import request
from tests.worker.families.other_pipelines import make_pixart
from worker.checkpoint_formats import kinds
from worker.checkpoints import components, load
from worker.device import choose_device
from worker.interfaces import Adaptation

PAGE = Path(__file__).resolve().parents[3] / "docs" / "families.md"


def blocks() -> list[str]:
    """The page's code: the family, its pipeline, its kind, what computes it, what the bot takes it for, its test."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def pixart(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's family, added as the page says."""
    family, pipeline, kind, place, *_ = blocks()
    module = ModuleType("worker.families.pixart")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(family, str(PAGE), "exec"), module.__dict__)
    names: dict[str, Any] = {"FAMILY_OF": families.FAMILY_OF}
    exec(compile(pipeline, str(PAGE), "exec"), names)
    monkeypatch.setattr(families, "FAMILY_OF", names["FAMILY_OF"])
    names = {"PipelineKind": kinds.PipelineKind, "PIPELINE_KINDS": kinds.PIPELINE_KINDS}
    exec(compile(kind, str(PAGE), "exec"), names)
    monkeypatch.setattr(kinds, "PIPELINE_KINDS", names["PIPELINE_KINDS"])
    names = {"FAMILIES": components.FAMILIES, "PixArt": module.PixArt}
    exec(compile(place, str(PAGE), "exec"), names)
    monkeypatch.setattr(components, "FAMILIES", names["FAMILIES"])
    return module.PixArt


def test_the_pages_family_draws_what_plain_diffusers_draws(pixart: Any, tmp_path: Path) -> None:
    names = {
        "make_pixart": make_pixart, "load": load, "choose_device": choose_device, "diffusers": diffusers,
        "request": request, "plain": plain, "with_sampler": with_sampler, "distance": distance, "ours": ours,
    }  # fmt: skip
    exec(compile(blocks()[-1], str(PAGE), "exec"), names)
    names["test_pixart_draws_what_plain_diffusers_draws"](tmp_path)


def test_it_tells_prompts_apart_and_says_what_it_cannot(pixart: Any, tmp_path: Path) -> None:
    loaded = load(str(make_pixart(tmp_path / "tiny")), choose_device("cpu", "float32", 0))
    assert isinstance(loaded.family, pixart)
    assert (loaded.info.family, loaded.info.native, loaded.info.multiple) == ("pixart", 64, 16)
    one, other = (ours(loaded, request(prompt=prompt)) for prompt in ("a boat", "a yellow star on blue"))
    assert distance(one, other) > 4
    with pytest.raises(LookupError, match="--tile"):
        loaded.family.adapt(Adaptation(tile=True))


def test_the_bot_takes_such_a_folder_for_what_the_page_says(
    pixart: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, entry, _test = blocks()
    told: dict[str, Any] = {"replace": replace, "SD15": catalogue.SD15, "FAMILIES": catalogue.FAMILIES}
    exec(compile(entry, str(PAGE), "exec"), told)
    monkeypatch.setattr(checkpoint_files, "FAMILIES", told["FAMILIES"])
    model = checkpoint_files.model_at(make_pixart(tmp_path / "tiny"))
    assert (model.name, model.family, model.native, model.sampler) == ("tiny", "pixart", 1024, "dpmpp_2m")
    assert model.size_for(1, 1) == (1024, 1024)


def test_a_family_takes_less_than_two_hundred_lines() -> None:
    folder = Path(components.__file__).parent.parent / "families"
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in folder.glob("*.py")}
    assert len(blocks()[0].splitlines()) < 100
    assert max(lengths[name] for name in ("sd.py", "sdxl.py", "flux.py", "generic_pipeline.py")) < 200
