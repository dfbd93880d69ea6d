"""FLUX draws what diffusers' own pipeline draws: packing, places, both text encoders, guidance as a number or none."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from core.job import Request
from tests.worker.checkpoint_families import make_flux
from tests.worker.compared import distance, ours, plain
from tests.worker.engine_driver import request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.families.flux import packed, patch_positions, unpacked
from worker.interfaces import Adaptation, Guidance

CPU = choose_device("cpu", "float32", 0)
KINDS = ["dev", "schnell"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[LoadedCheckpoint, Any]]:
    """Both kinds, loaded here and by diffusers."""
    found = {}
    for kind in KINDS:
        folder = make_flux(tmp_path_factory.mktemp("flux") / f"flux-{kind}", guided=kind == "dev")
        found[kind] = load(str(folder), CPU), diffusers.FluxPipeline.from_pretrained(folder)
    return found


def stepped(loaded: LoadedCheckpoint, pipeline: Any, wanted: Request) -> np.ndarray:
    """The picture by our family, with the straight steps that the pipeline's scheduler has just taken."""
    family = loaded.family
    shape = (family.channels, wanted.height // family.factor, wanted.width // family.factor)
    latents = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(wanted.seed))[None]
    conditions = {name: value[None] for name, value in family.encode_prompt(wanted.prompt).items()}
    sigmas = pipeline.scheduler.sigmas
    with torch.inference_mode():
        for here, there in pairwise(sigmas):
            out = family.denoise(latents, here[None] * 1000, conditions, torch.tensor([wanted.guidance]))
            latents = latents + (there - here) * out
        image = family.decode(latents[0])
    return np.round(image.permute(1, 2, 0).numpy() * 255).astype(int)


@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_flux_draws_what_plain_diffusers_draws(
    made: dict[str, tuple[LoadedCheckpoint, Any]], kind: str, size: tuple[int, int]
) -> None:
    loaded, pipeline = made[kind]
    wanted = request(width=size[0], height=size[1], steps=4, guidance=3.5)
    tokens = 512 if kind == "dev" else 256
    expected = plain(pipeline, wanted, max_sequence_length=tokens)
    assert distance(stepped(loaded, pipeline, wanted), expected) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_does_in_the_engines_loop(made: dict[str, tuple[LoadedCheckpoint, Any]], kind: str) -> None:
    loaded, pipeline = made[kind]
    wanted = request(width=96, steps=4, guidance=3.5, sampler="flow_euler", count=1)
    expected = plain(pipeline, wanted, max_sequence_length=512 if kind == "dev" else 256)
    assert distance(ours(loaded, wanted), expected) <= 2


def test_rows_at_different_times_and_scales_share_a_forward(made: dict[str, tuple[LoadedCheckpoint, Any]]) -> None:
    family = made["dev"][0].family
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    times, scales = torch.tensor([900.0, 20.0]), torch.tensor([1.0, 5.0])
    texts = [family.encode_prompt(words) for words in ("a red boat", "a yellow star")]
    both = {name: torch.stack([text[name] for text in texts]) for name in texts[0]}
    together = family.denoise(latents, times, both, scales)
    for place, text in enumerate(texts):
        one = {name: value[None] for name, value in text.items()}
        row = slice(place, place + 1)
        assert torch.allclose(family.denoise(latents[row], times[row], one, scales[row])[0], together[place], atol=1e-5)


def test_guidance_is_a_number_for_dev_and_nothing_for_schnell(made: dict[str, tuple[LoadedCheckpoint, Any]]) -> None:
    dev, schnell = (made[kind][0] for kind in KINDS)
    assert (dev.family.guidance, schnell.family.guidance) == (Guidance.EMBEDDED, Guidance.NONE)
    assert (dev.info.steps, dev.info.guidance) == (28, 3.5)
    assert (schnell.info.steps, schnell.info.guidance) == (4, 1.0)
    assert dev.info.sampler == "flow_euler"
    assert "negative" not in dev.info.edits


def test_patches_are_those_of_the_pipeline() -> None:
    latents = torch.randn(2, 16, 6, 4)
    patches = diffusers.FluxPipeline._pack_latents(latents, 2, 16, 6, 4)
    assert torch.equal(packed(latents), patches)
    assert torch.equal(unpacked(patches, 6, 4), latents)
    ids = diffusers.FluxPipeline._prepare_latent_image_ids(1, 3, 2, torch.device("cpu"), torch.float32)
    assert torch.equal(patch_positions(3, 2), ids)


def test_what_flux_cannot_do_is_said(made: dict[str, tuple[LoadedCheckpoint, Any]]) -> None:
    family = made["dev"][0].family
    with pytest.raises(LookupError, match="--tile"):
        family.adapt(Adaptation(tile=True))
    with pytest.raises(LookupError, match="`loras` in the data folder"):
        family.adapt(Adaptation(loras=(("any", 1.0),)))
    family.adapt(Adaptation())
    with pytest.raises(ValueError, match="16 pixels"):
        family.denoise(torch.zeros(1, 4, 7, 8), torch.ones(1), {}, torch.ones(1))


def test_a_folder_that_lacks_a_part_is_said(made: dict[str, tuple[LoadedCheckpoint, Any]], tmp_path: Path) -> None:
    from worker.errors import CannotLoad

    folder = make_flux(tmp_path / "flux", guided=False)
    (folder / "text_encoder_2" / "config.json").unlink()
    with pytest.raises(CannotLoad, match="has no text_encoder_2/"):
        load(str(folder), CPU)
