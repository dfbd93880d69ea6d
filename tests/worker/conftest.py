"""The tiny checkpoint, loaded once, and drivers of engines on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.worker.checkpoint import make
from tests.worker.companions import make_adapter, make_classifier, make_upscaler
from tests.worker.engine_driver import EngineDriver
from worker.checkpoints import LoadedCheckpoint, load
from worker.checkpoints.loader import add_companions
from worker.device import choose_device
from worker.vision import CompanionPaths


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' schedulers hand torch tensors to numpy in a way that numpy 2 deprecates."""
    known = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(known)


@pytest.fixture(autouse=True)
def gradients_as_before() -> Iterator[None]:
    """A worker needs none and turns them off for its process, but the training's tests may come next in this one."""
    before = torch.is_grad_enabled()
    yield
    torch.set_grad_enabled(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that predicts noise, as Stable Diffusion 1.5 does."""
    return make(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def loaded(folder: Path) -> LoadedCheckpoint:
    """That checkpoint on the CPU in float32."""
    return load(str(folder), choose_device("cpu", "float32", 0))


@pytest.fixture
def driver(loaded: LoadedCheckpoint) -> EngineDriver:
    """An engine of eight rows on it."""
    return EngineDriver(loaded)


@pytest.fixture
def drivers(loaded: LoadedCheckpoint) -> Callable[..., EngineDriver]:
    """Makes more of them."""
    return lambda **how: EngineDriver(loaded, **how)


@pytest.fixture(scope="session")
def postcard() -> LoadedCheckpoint:
    """The shipped model, where what a picture shows matters."""
    return load("postcard", choose_device("cpu", "float32", 0))


@pytest.fixture(scope="session")
def complete(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    """The tiny model with everything beside it."""
    root = tmp_path_factory.mktemp("companions")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = CompanionPaths(
        adapter=str(make_adapter(root / "ip_adapter", unet)), upscaler=str(make_upscaler(root / "upscaler")),
        classifier=str(make_classifier(root / "vision")),
    )  # fmt: skip
    device = choose_device("cpu", "float32", 0)
    return add_companions(load(str(folder), device), places, device)
