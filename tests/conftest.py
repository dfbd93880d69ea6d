"""Settings that every test shares. Knows nothing of what is tested; fixtures live beside the tests that use them."""

import gc
import os

import pytest

# One thread a process: beside the other tests a second one costs more than it brings. What is set already holds, even
# if it is more than there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_DYNAMIC", "FALSE")
# Three libraries compute for torch. Who gives the first another processor's kernels (CONTRIBUTING.md) gives them to all
# three: torch fails where they do not fit together.
_ISA = {"default": ("SSE41", "SSE4_2"), "avx2": ("AVX2", "AVX2")}.get(os.environ.get("ATEN_CPU_CAPABILITY", ""))
if _ISA:
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", _ISA[0])
    os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", _ISA[1])
# No test may reach for a model hub; the shipped model lies in the repository.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """What was imported and made so far stays: looking at a million objects of it takes a collection half a second."""
    gc.collect()
    gc.freeze()
