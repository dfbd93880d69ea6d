"""The tiny checkpoint, loaded once, and beds for engines on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.checkpoint import make
from tests.worker.engine_driver import Bed
from worker.checkpoints.loader import Loaded, load
from worker.device import choose


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' schedulers hand torch tensors to numpy in a way that numpy 2 deprecates."""
    known = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(known)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that predicts noise, as Stable Diffusion 1.5 does."""
    return make(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def loaded(folder: Path) -> Loaded:
    """That checkpoint on the CPU in float32."""
    return load(str(folder), choose("cpu", "float32", 0))


@pytest.fixture
def bed(loaded: Loaded) -> Bed:
    """An engine of eight rows on it."""
    return Bed(loaded)


@pytest.fixture
def beds(loaded: Loaded) -> Callable[..., Bed]:
    """Makes more of them."""
    return lambda **how: Bed(loaded, **how)


@pytest.fixture(scope="session")
def postcard() -> Loaded:
    """The shipped model, where what a picture shows matters."""
    return load("postcard", choose("cpu", "float32", 0))
