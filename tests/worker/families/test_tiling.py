"""A tiling picture has no edge: shifted latents give the same picture, shifted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.worker.checkpoint_families import make_sdxl
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.interfaces import Adaptation, Family


@pytest.fixture(params=["sd", "sdxl"])
def family(request: pytest.FixtureRequest, loaded: LoadedCheckpoint, tmp_path: Path) -> Iterator[Family]:
    """Each kind of UNet; left as it was."""
    device = choose_device("cpu", "float32", 0)
    found = loaded.family if request.param == "sd" else load(str(make_sdxl(tmp_path / "xl")), device).family
    yield found
    found.adapt(Adaptation())


def denoised(family: Family, latents: Tensor) -> Tensor:
    text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
    return family.denoise(latents[None], torch.full((1,), 500.0), text, torch.ones(1))[0]


def shifted(picture: Tensor, down: int, across: int) -> Tensor:
    return torch.roll(picture, (down, across), dims=(-2, -1))


@pytest.mark.parametrize("by", [(8, 8), (8, 0), (0, -8)])
def test_shifted_latents_give_the_same_picture_shifted(family: Family, by: tuple[int, int]) -> None:
    latents = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1))
    family.adapt(Adaptation(tile=True))
    there = denoised(family, shifted(latents, *by))
    assert torch.allclose(there, shifted(denoised(family, latents), *by), atol=1e-4)
    pixels = [side * family.factor for side in by]
    picture = family.decode(shifted(latents, *by))
    assert torch.allclose(picture, shifted(family.decode(latents), *pixels), atol=1e-4)


def test_without_it_everything_is_as_it_was(family: Family) -> None:
    latents = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, picture = denoised(family, latents), family.decode(latents)
    assert not torch.allclose(denoised(family, shifted(latents, 8, 8)), shifted(plain, 8, 8), atol=1e-2)
    family.adapt(Adaptation(tile=True))
    assert not torch.allclose(denoised(family, latents), plain, atol=1e-2)
    family.adapt(Adaptation())
    assert torch.equal(denoised(family, latents), plain)
    assert torch.equal(family.decode(latents), picture)
