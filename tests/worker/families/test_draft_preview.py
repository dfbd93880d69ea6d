"""Previews of pipelines that carry their latents in other forms: what is drawn is what the pipeline would decode."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from tests.worker.compared import distance, plain
from tests.worker.engine_driver import request
from tests.worker.families.other_pipelines import flux2, make_pixart, qwen
from worker.checkpoints import load
from worker.device import choose_device
from worker.families import GenericPipeline
from worker.families.autoencoder import Autoencoder, PatchAutoencoder
from worker.families.draft_preview import DraftPreview, as_latent_maps
from worker.interfaces import PipelineModel

CPU = torch.device("cpu")
WIDTH, HEIGHT, COUNT = 96, 64, 2


@pytest.mark.parametrize("make", [qwen, flux2])
@torch.inference_mode()
def test_packed_latents_are_unpacked_into_the_pipelines_own_picture(make: Any) -> None:
    torch.manual_seed(0)
    pipeline, words = make()
    pipeline.set_progress_bar_config(disable=True)
    ask = partial(
        pipeline, **words, width=WIDTH, height=HEIGHT, num_inference_steps=2, num_images_per_prompt=COUNT,
        return_dict=False,
    )  # fmt: skip
    seen: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        seen.append(given["latents"])
        return {}

    generator = torch.Generator().manual_seed(1)
    pictures = ask(generator=generator, output_type="pt", callback_on_step_end=keep)[0]
    draft_preview = GenericPipeline(pipeline, CPU)._draft_preview
    coder = draft_preview._coder
    assert coder is not None and seen[-1].ndim == 3
    maps = as_latent_maps(seen[-1], coder, (WIDTH, HEIGHT))
    assert maps is not None
    for latents, picture in zip(maps, pictures, strict=True):
        assert float((coder.decode(latents) - picture).abs().max()) < 1e-4
    drawn = draft_preview.preview(seen[-1], (WIDTH, HEIGHT))
    assert drawn is not None and drawn.dtype == torch.uint8
    assert drawn.shape[0] == COUNT and drawn.shape[2] / drawn.shape[1] == WIDTH / HEIGHT
    assert draft_preview.preview(seen[-1], (WIDTH + 16, HEIGHT)) is None, "of another size nothing is drawn"


class Folding(nn.Module):
    """An autoencoder that loses nothing: eight by eight pixels are a latent. `films`: it has an axis of frames."""

    dtype = torch.float32

    def __init__(self, *, films: bool = False) -> None:
        super().__init__()
        self.config = SimpleNamespace(z_dim=192, batch_norm_eps=1e-4, latents_std=[2.0] * 192)
        self.bn = SimpleNamespace(running_mean=torch.randn(768), running_var=torch.rand(768) + 0.5)
        self.films = nn.Conv3d(1, 1, 1) if films else None

    def encode(self, image: Tensor) -> Any:
        assert image.ndim == (5 if self.films else 4)
        folded = pixel_unshuffle(image[:, :, 0] if self.films else image, 8)
        return SimpleNamespace(latent=folded[:, :, None] if self.films else folded)

    def decode(self, latents: Tensor, return_dict: bool) -> tuple[Tensor]:
        unfolded = pixel_shuffle(latents[:, :, 0] if self.films else latents, 8)
        return (unfolded[:, :, None] if self.films else unfolded,)


@pytest.mark.parametrize(
    "coder",
    [
        lambda: Autoencoder(Folding(), CPU, 8),
        lambda: Autoencoder(Folding(films=True), CPU, 8),
        lambda: PatchAutoencoder(Folding(), CPU, 8),
        lambda: PatchAutoencoder(Folding(), CPU, 8, pixels_first=True),
    ],
    ids=["latents", "films", "patches", "patches by pixels"],
)
def test_a_picture_comes_back_as_it_was(coder: Any) -> None:
    coder = coder()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    latents = coder.encode_picture(pixels)
    assert latents.shape == (coder.channels, 32 // coder.factor, 48 // coder.factor)
    assert float((coder.decode(latents).permute(1, 2, 0) * 255 - torch.from_numpy(pixels)).abs().max()) < 0.01


def test_patches_whose_places_come_first_are_read_so() -> None:
    coder = PatchAutoencoder(Folding(), CPU, 8, pixels_first=True)
    tokens = torch.randn(1, 2 * 3, 768)  # row by row; a token is [down, across, channels]
    normed = tokens * (coder._vae.bn.running_var + 1e-4).sqrt() + coder._vae.bn.running_mean
    raw = normed.view(2, 3, 2, 2, 192).permute(4, 0, 2, 1, 3).reshape(192, 4, 6)
    maps = as_latent_maps(tokens, coder, (48, 32))
    assert maps is not None
    assert torch.allclose(coder.decode(maps[0]), (pixel_shuffle(raw, 8) / 2 + 0.5).clamp(0, 1), atol=1e-5)


def test_pictures_that_are_made_without_latents_are_drawn_as_they_are() -> None:
    draft_preview = DraftPreview(SimpleNamespace(components={}), CPU, 1)
    drawn = draft_preview.preview(torch.tensor([-1.0, 0.0, 3.0]).view(1, 3, 1, 1).expand(2, 3, 8, 8), (8, 8))
    assert drawn is not None and drawn.shape == (2, 8, 8, 3)
    assert drawn[0, 0, 0].tolist() == [0, 128, 255]
    assert draft_preview.possible and draft_preview.preview(torch.zeros(1, 4, 8, 8), (8, 8)) is None


def test_an_autoencoder_that_cannot_be_read_is_asked_once() -> None:
    class Odd(Folding):
        def encode(self, image: Tensor) -> Any:
            raise RuntimeError("not with these pictures")

    draft_preview = DraftPreview(SimpleNamespace(components={"vae": Odd()}), CPU, 8)
    latents = torch.zeros(1, 192, 4, 4)
    with pytest.raises(RuntimeError, match="not with these"):
        draft_preview.preview(latents, (32, 32))
    assert draft_preview.preview(latents, (32, 32)) is None and not draft_preview.possible


def test_a_pipeline_that_tells_of_its_steps_in_the_older_way_can_be_left_too(tmp_path: Path) -> None:
    folder = make_pixart(tmp_path / "tiny")
    model = load(str(folder), choose_device("cpu", "float32", 0)).family
    assert isinstance(model, PipelineModel)
    wanted = request(negative="a star", steps=4)
    run = model.begin(wanted, (0, 1), 2)
    counts = []
    while run.done < run.steps:
        run.advance()
        counts.append((run.done, run.preview() is not None))
    assert counts == [(1, False), (2, True), (3, True), (4, False)]
    pipeline = diffusers.PixArtSigmaPipeline.from_pretrained(folder)
    expected = plain(pipeline, wanted, use_resolution_binning=False, clean_caption=False)
    picture = np.round(run.pictures()[0].permute(1, 2, 0).numpy() * 255).astype(int)
    assert distance(picture, expected) <= 2
    left = model.begin(wanted, (0,), 1)
    left.advance()
    left.close()
    assert not left.pictures()
