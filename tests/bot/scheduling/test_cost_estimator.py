"""What a job will cost is learned for each model by itself, and outlives a restart."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.catalogue import ModelRegistry
from bot.config import Config
from bot.scheduling import CostEstimator
from core.job import Job, MadeWith, Upscale
from storage.database import Database
from storage.settings import Settings
from tests.harness.bot_samples import a_job, a_request

MADE = MadeWith(model="x", digest="d", dtype="float16", device="cuda:0", engine="1")


@pytest.fixture
async def settings(tmp_path: Path):
    async with Database.open(tmp_path / "data") as db:
        yield Settings(db)


def a_done_job(model: str, started: float = 1000.0, finished: float = 1010.0) -> Job:
    return a_job(request=a_request(model=model), made_with=MADE, started_at=started, finished_at=finished)


async def costs(settings: Settings, data: Path) -> CostEstimator:
    config = Config.from_env({"DARKROOM_DATA": str(data), "DARKROOM_WORKER": "none"}, data / "no.env")
    (data / "models.toml").write_text('[[model]]\nname = "large"\nwhere = "a/b"\nfamily = "flux"\n')
    model_registry = ModelRegistry(config, settings)
    await model_registry.begin()
    made = CostEstimator(config, settings, model_registry)
    await made.begin()
    return made


async def test_a_model_of_a_large_family_is_dearer_before_anything_was_measured(settings, tmp_path) -> None:
    made = await costs(settings, tmp_path / "data")
    small, large = (made.estimate_ms(a_request(model=model)) for model in ("postcard", "large"))
    assert 8 * small < large < 12 * small


async def test_what_one_model_cost_says_nothing_of_another_and_is_remembered(settings, tmp_path) -> None:
    made = await costs(settings, tmp_path / "data")
    await made.use("large", "cuda:0")
    before = made.estimate_ms(a_request(model="postcard"))
    await made.learn(a_done_job("large"), 50_000)
    assert made.estimate_ms(a_request(model="large")) > 49_000
    assert made.estimate_ms(a_request(model="postcard")) == before
    again = await costs(settings, tmp_path / "data")
    assert again.estimate_ms(a_request(model="large")) > 49_000


async def test_a_measurement_of_another_device_is_not_learned(settings, tmp_path) -> None:
    made = await costs(settings, tmp_path / "data")
    before = made.estimate_ms(a_request(model="large"))
    await made.learn(a_done_job("large"), 50_000)
    assert made.estimate_ms(a_request(model="large")) == before


async def test_what_a_start_costs_its_first_jobs_is_not_what_the_others_will_cost(settings, tmp_path) -> None:
    made = await costs(settings, tmp_path / "data")
    await made.use("large", "cuda:0")
    for began, ended, cost in ((0.0, 10.0, 70_000), (1.0, 11.0, 60_000), (12.0, 13.0, 9_000), (13.0, 14.0, 10_000)):
        await made.learn(a_done_job("large", began, ended), cost)
    assert 9_900 < made.estimate_ms(a_request(model="large")) < 10_100


async def test_what_an_upscale_cost_says_nothing_of_grids_and_is_remembered(settings, tmp_path) -> None:
    made = await costs(settings, tmp_path / "data")
    await made.use("large", "cuda:0")
    grid, larger = a_request(model="large"), a_request(model="large", upscale=Upscale(factor=2), count=1)
    before = made.estimate_ms(grid)
    assert made.estimate_ms(larger) < before, "one pass over one picture"
    await made.learn(replace(a_done_job("large"), request=larger), 50_000)
    assert made.estimate_ms(grid) == before and made.estimate_ms(larger) > 49_000
    again = await costs(settings, tmp_path / "data")
    assert again.estimate_ms(grid) == before and again.estimate_ms(larger) > 49_000
