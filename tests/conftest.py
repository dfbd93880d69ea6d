"""Settings that every test shares. Knows nothing of what is tested; fixtures live beside the tests that use them."""

import gc
import os

import pytest

# One thread a process: beside the other tests a second one costs more than it brings. What is set already holds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for a model hub; the shipped model lies in the repository.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """What was imported and made so far stays: looking at a million objects of it takes a collection half a second."""
    gc.collect()
    gc.freeze()
