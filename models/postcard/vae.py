"""Trains the autoencoder on crops of renders near their things, until small things keep their colour.

Knows nothing of captions or diffusion. Resumes from its checkpoint, or from the shipped weights.
"""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models.postcard.checkpoints import Average, load, save
from models.postcard.render import places, render
from models.postcard.team import Team, same_start
from models.postcard.world import SIZES, training_scene

CROP, BATCH, POOL = 96, 16, 1200
CHANNELS = (16, 32, 64, 64)
KL_WEIGHT = 1e-5


def new_vae() -> AutoencoderKL:
    """The autoencoder with random weights: 8 times smaller latents of 4 channels."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=256,
        mid_block_add_attention=False,
        force_upcast=False,
    )
    # Starting with little noise keeps the decoder from learning to ignore the latents.
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -5.0
    return vae


class Crops:
    """A pool of renders, slowly renewed, that gives random crops near the things."""

    def __init__(self, rng: random.Random, pool: int = POOL) -> None:
        self._rng = rng
        self._pool = [self._draw() for _ in range(pool)]

    def _draw(self) -> tuple[np.ndarray, list[tuple[float, float]]]:
        small = self._rng.random() < 0.12
        size = (160, 160) if small else self._rng.choices(SIZES, (8, 1, 1, 1, 1, 1, 1, 1, 1))[0]
        scene = training_scene(self._rng, size)
        return np.asarray(render(scene)), [(p.x, p.y) for p in places(scene)]

    def batch(self, count: int = BATCH) -> Tensor:
        """(count, 3, CROP, CROP) in -1..1; now and then a picture of the pool is renewed."""
        if self._rng.random() < 0.5:
            self._pool[self._rng.randrange(len(self._pool))] = self._draw()
        crops = [self._crop(*self._rng.choice(self._pool)) for _ in range(count)]
        # Contiguous, for with channels last the backward pass of group norm takes half of a step on a CPU.
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1

    def _crop(self, picture: np.ndarray, centres: list[tuple[float, float]]) -> np.ndarray:
        rng = self._rng
        height, width = picture.shape[:2]
        if centres and rng.random() < 0.75:
            x, y = rng.choice(centres)
            x, y = x + rng.gauss(0, 30) - CROP / 2, y + rng.gauss(0, 30) - CROP / 2
        else:
            x, y = rng.random() * (width - CROP), rng.random() * (height - CROP)
        left, top = (round(min(max(v, 0), side - CROP)) for v, side in ((x, width), (y, height)))
        crop = picture[top : top + CROP, left : left + CROP]
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def reconstruction_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared, absolute and gradient error together."""
    error = output - target
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return 10 * error.square().mean() + error.abs().mean() + 0.5 * (across + down)


@torch.no_grad()
def psnr(vae: AutoencoderKL, seed: int = 99, count: int = 32) -> float:
    """Decibels on whole renders that training never sees (mean of squared errors, 0..1 scale)."""
    from models.postcard.world import held_out_scene

    rng = random.Random(seed)
    total = 0.0
    for _ in range(count):
        picture = np.asarray(render(held_out_scene(rng)))
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        total += float(((x - y) / 2).square().mean())
    return -10 * math.log10(total / count)


def train_vae(team: Team, folder: Path, minutes: float, lr: float) -> None:
    """The whole autoencoder, from its own checkpoint or from nothing."""
    vae = new_vae()
    average = Average(vae, 0.998)
    path = folder / "vae.safetensors"
    step = load(path, vae, average)

    def loss_of(x: Tensor) -> Tensor:
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample()).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_error(y.float(), x) + KL_WEIGHT * kl

    def keep(step: int) -> None:
        save(path, vae, average, step)
        print(f"vae {step} held-out {psnr(average.model):.2f} dB", flush=True)

    _fit(team, vae, average, list(vae.parameters()), loss_of, keep, minutes=minutes, lr=lr, step=step)


def train_decoder(team: Team, folder: Path, minutes: float, lr: float) -> None:
    """Only the decoder of the frozen autoencoder: pictures get sharper, latents stay what the UNet knows."""
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    average = Average(vae, 0.998)
    average.skip_warm_up()
    learning = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]

    def loss_of(x: Tensor) -> Tensor:
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.mode()
        return reconstruction_error(vae.decode(latents).sample.float(), x)

    def keep(step: int) -> None:
        average.model.save_pretrained(folder / "vae")
        print(f"decoder {step} held-out {psnr(average.model):.2f} dB", flush=True)

    seed = time.time_ns() % 100_000  # each run of this stage sees other pictures
    _fit(team, vae, average, learning, loss_of, keep, minutes=minutes, lr=lr, step=seed - seed % 500)


def _fit(
    team: Team,
    vae: AutoencoderKL,
    average: Average,
    learning: list[torch.nn.Parameter],
    loss_of: Callable[[Tensor], Tensor],
    keep: Callable[[int], None],
    *,
    minutes: float,
    lr: float,
    step: int,
) -> None:
    """Fits the weights in `learning` for so many minutes, the rate falling to nothing; `keep` saves now and then."""
    same_start(vae, team)
    crops = Crops(random.Random(1000 + step + 7919 * team.rank), POOL // team.size)
    torch.manual_seed(step + team.rank)
    optimizer = torch.optim.AdamW(learning, lr=lr, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    begin = last = time.monotonic()
    first = step
    while (spent := team.leads_say((time.monotonic() - begin) / (60 * minutes))) < 1:
        for group in optimizer.param_groups:
            fall = 0.02 + 0.98 * math.cos(spent * math.pi / 2) ** 2
            group["lr"] = lr * min(1.0, (step - first + 1) / 100) * fall
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(crops.batch(BATCH // team.size))
        vae.zero_grad()
        loss.backward()
        team.share_gradients(vae)
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        average.update(vae)
        step += 1
        if step % 100 == 0 and team.leads:
            pace, last = (time.monotonic() - last) / 100, time.monotonic()
            print(f"autoencoder {step} loss {loss.item():.4f} {pace:.3f} s/step", flush=True)
        if step % 500 == 0 and team.leads:
            keep(step)
    if team.leads:
        keep(step)
