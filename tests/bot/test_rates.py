"""What a job will cost is learned for each model by itself, and outlives a restart."""

from pathlib import Path

import pytest

from bot.config import Config
from bot.rates import Rates
from bot.shelf import Shelf
from core.job import MadeWith
from storage.database import Database
from storage.settings import Settings
from tests.bot.samples import a_request

MADE = MadeWith(model="x", digest="d", dtype="float16", device="cuda:0", engine="1")


@pytest.fixture
async def settings(tmp_path: Path):
    async with Database.open(tmp_path / "data") as db:
        yield Settings(db)


async def rates(settings: Settings, data: Path) -> Rates:
    config = Config.from_env({"DARKROOM_DATA": str(data), "DARKROOM_WORKER": "none"}, data / "no.env")
    (data / "models.toml").write_text('[[model]]\nname = "large"\nwhere = "a/b"\nfamily = "flux"\n')
    shelf = Shelf(config, settings)
    await shelf.begin()
    made = Rates(config, settings, shelf)
    await made.begin()
    return made


async def test_a_model_of_a_large_family_is_dearer_before_anything_was_measured(settings, tmp_path) -> None:
    made = await rates(settings, tmp_path / "data")
    small, large = (made.estimate_ms(a_request(model=model)) for model in ("postcard", "large"))
    assert 8 * small < large < 12 * small


async def test_what_one_model_cost_says_nothing_of_another_and_is_remembered(settings, tmp_path) -> None:
    made = await rates(settings, tmp_path / "data")
    await made.use("large", "cuda:0")
    before = made.estimate_ms(a_request(model="postcard"))
    await made.learn(a_request(model="large"), MADE, 50_000)
    assert made.estimate_ms(a_request(model="large")) > 49_000
    assert made.estimate_ms(a_request(model="postcard")) == before
    again = await rates(settings, tmp_path / "data")
    assert again.estimate_ms(a_request(model="large")) > 49_000


async def test_a_measurement_of_another_device_is_not_learned(settings, tmp_path) -> None:
    made = await rates(settings, tmp_path / "data")
    before = made.estimate_ms(a_request(model="large"))
    await made.learn(a_request(model="large"), MADE, 50_000)
    assert made.estimate_ms(a_request(model="large")) == before
