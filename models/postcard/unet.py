"""Trains the UNet and the text encoder together: v-prediction on latents, captions dropped now and then for guidance.

Resumes from its checkpoint. Knows no pixels; the autoencoder is frozen and only fills the pool.
"""

import math
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from models.postcard.captions import caption
from models.postcard.checkpoints import Average, load, save
from models.postcard.latents import Batch, Pool, Size
from models.postcard.team import Team, same_start
from models.postcard.text import WIDTH, token_ids
from models.postcard.world import SIZES

BATCH, TRAIN_STEPS, CAPTION_DROPOUT, INSIDE_WEIGHT = 32, 1000, 0.1, 2.5
SMALL: dict[Size, float] = {(160, 160): 0.75, (192, 192): 0.25}
LARGE: dict[Size, float] = {SIZES[0]: 0.52} | dict.fromkeys(SIZES[1:], 0.06)


class Denoiser(nn.Module):
    """What is trained: the UNet and the text encoder as one module."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text = text

    def forward(self, noisy: Tensor, steps: Tensor, ids: Tensor) -> Tensor:
        states = self.text(ids).last_hidden_state
        out: Tensor = self.unet(noisy, steps, states).sample
        return out


def new_unet() -> UNet2DConditionModel:
    """The UNet with random weights: 4.2 million parameters."""
    return UNet2DConditionModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,  # heads, not their width: an old misnomer of the library
        norm_num_groups=8,
    )


def new_scheduler() -> EulerDiscreteScheduler:
    """Noise that nearly drowns the picture at the end, so that nothing of its brightness leaks through."""
    return EulerDiscreteScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


def loss_of(denoiser: Denoiser, batch: Batch, ids: Tensor, alphas: Tensor, noise: torch.Generator) -> Tensor:
    """Squared error of v, a little heavier where the things are; noise levels spread evenly over the batch."""
    x, count = batch.latents, len(batch.latents)
    steps = ((torch.arange(count) + torch.rand(count, generator=noise)) / count * TRAIN_STEPS).long()
    eps = torch.randn(x.shape, generator=noise)
    a, s = (v.view(-1, 1, 1, 1) for v in (alphas[steps].sqrt(), (1 - alphas[steps]).sqrt()))
    with torch.autocast("cpu", torch.bfloat16):
        v = denoiser(a * x + s * eps, steps, ids)
    weight = 1 + INSIDE_WEIGHT * batch.inside
    return ((v.float() - (a * eps - s * x)).square() * weight).mean() / weight.mean()


def train_unet(
    team: Team,
    folder: Path,
    denoiser: Denoiser,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    *,
    minutes: float,
    sizes: dict[Size, float],
    lr: float = 1e-3,
    decay: bool = True,
    start_pool: int = 3000,
    grow: int = 8,
) -> None:
    """Trains for so many minutes; `decay` lets the rate fall to nothing at the end."""
    average = Average(denoiser, 0.999)
    denoiser.unet.set_attn_processor(AttnProcessor())  # on a CPU the fused attention's backward pass is the slower one
    path = folder / "painter.safetensors"
    step = load(path, denoiser, average)
    same_start(denoiser, team)
    seed = 77 + step + 7919 * team.rank
    rng, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    same = random.Random(step)  # the members agree on the size of a batch, or they would wait for each other
    begin = time.monotonic()
    pool = Pool(vae, rng, sizes, limit=40_000)
    pool.fill(start_pool // team.size)
    print(f"unet pool of {len(pool)} in {time.monotonic() - begin:.0f} s", flush=True)
    alphas = DDPMScheduler.from_config(new_scheduler().config).alphas_cumprod
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    last, first, shown = time.monotonic(), step, 0.0
    while (spent := team.leads_say((time.monotonic() - begin) / (60 * minutes))) < 1:
        fall = 0.01 + 0.99 * math.cos(spent * math.pi / 2) ** 2 if decay else 1.0
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step - first + 1) / 150) * fall
        if step % 4 == 0:
            pool.grow(grow // team.size)
        batch = pool.batch(BATCH // team.size, same)
        words = ["" if rng.random() < CAPTION_DROPOUT else caption(s, rng) for s in batch.scenes]
        optimizer.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):
            loss = loss_of(denoiser, batch, token_ids(tokenizer, words), alphas, noise)
            loss.backward()
        team.share_gradients(denoiser)
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        average.update(denoiser)
        step += 1
        shown += (loss.item() - shown) / min(step - first, 100)
        if step % 100 == 0 and team.leads:
            pace, last = (time.monotonic() - last) / 100, time.monotonic()
            print(f"unet {step} loss {shown:.4f} {pace:.3f} s/step pool {len(pool)} done {spent:.0%}", flush=True)
        if step % 500 == 0 and team.leads:
            save(path, denoiser, average, step)
    if team.leads:
        save(path, denoiser, average, step)
