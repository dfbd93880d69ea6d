"""A family whose model is a formula, and diffusers' own way through it, for what is tested about samplers and rows."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm

from tests.worker.checkpoint import SCHEDULER
from worker.engine.batch import Row, new_row
from worker.interfaces import Guidance
from worker.samplers import Schedules, diffusers_scheduler, set_steps

#: Spacings of timesteps, the last one as fine-tunes with a schedule that ends in pure noise have it.
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
SPACINGS = (
    {}, {"timestep_spacing": "linspace"}, {"timestep_spacing": "trailing"}, {"use_karras_sigmas": True}, ZERO_SNR
)  # fmt: skip
FLOWS = (
    {"shift": 3.0},
    {"use_dynamic_shifting": True, "max_shift": 1.15, "base_shift": 0.5},
    {"use_dynamic_shifting": True, "shift_terminal": 0.1},
)
#: Scheduler configs of all kinds of models: what they predict, and over which timesteps.
CONFIGS: tuple[dict[str, Any], ...] = (
    *(
        {**SCHEDULER, "prediction_type": kind, **spacing}
        for kind in ("epsilon", "v_prediction")
        for spacing in SPACINGS
    ),
    *({"prediction_type": "flow_prediction", **flow} for flow in FLOWS),
)
SIDE = 32  # pixels: four latents
TOKENS = 4


class ToyFamily:
    """A row's output hangs on its latents, time and text alone."""

    device = torch.device("cpu")
    channels, factor, guidance = 4, 8, Guidance.CLASSIFIER_FREE

    def denoise(self, latents: Any, timesteps: Any, conditions: Any, scales: Any) -> Any:
        return toy_output(latents, timesteps[:, None, None, None], conditions["text"][:, :1, :1, None])


def toy_output(latents: Any, time: Any, text: Any) -> Any:
    return torch.tanh(latents * 1.3 + text) * 0.9 + 0.1 * time / 1000


@dataclass(frozen=True)
class RowSpec:
    """A row's numbers, when it joins (a tick) and after how many steps it leaves."""

    sampler: str
    steps: int
    seed: int = 1
    guidance: float = 1.0
    joins: int = 0
    leaves: int = 1000
    strength: float = 1.0


SOURCE = torch.linspace(-1.5, 1.5, 64).view(4, 4, 4)


def row_of(spec: RowSpec, config: dict[str, Any], text: float = 0.1, job: str = "a", **more: Any) -> Row:
    """That row, before its first step."""
    family, stop = more.pop("family", ToyFamily()), more.pop("stop", 100)
    given: dict[str, Any] = {
        "job": job, "index": 0, "key": "k", "guidance": spec.guidance, "seed": spec.seed, "size": (SIDE, SIDE),
        "schedule": Schedules(config).schedule(spec.sampler, spec.steps, spec.strength, stop, (SIDE, SIDE)),
        "text": {"text": torch.full((2, 3), text)}, "negative": {"text": torch.full((2, 3), -text)},
        "source": SOURCE if spec.strength < 1 else None,
    }  # fmt: skip
    return new_row(family, **{**given, **more})


def reference(spec: RowSpec, config: dict[str, Any], text: float = 0.1) -> list[torch.Tensor]:
    """The latents at the start and after each step by diffusers' own scheduler, calculated in float64.

    In float32 its formulas lose digits of their own: 4e-4 in Euler's first step from pure noise.
    """
    scheduler = diffusers_scheduler(spec.sampler, config)
    near = spec.strength < 1
    steps = max(2, spec.steps) if near else spec.steps
    set_steps(scheduler, spec.sampler, steps, TOKENS)
    for name in ("sigmas", "alphas_cumprod"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, getattr(scheduler, name).double())
    start = steps - min(steps - near, max(1, round(steps * spec.strength)))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)  # else it would skip a step where two timesteps are equal
    generator = torch.Generator().manual_seed(spec.seed)
    latents = torch.randn(1, 4, 4, 4, generator=generator).double()
    if start:
        latents = noised(scheduler, SOURCE[None].double(), latents, scheduler.timesteps[start : start + 1])
    else:
        latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
    after = [latents[0]]
    for time in scheduler.timesteps[start:]:
        seen = latents
        if hasattr(scheduler, "scale_model_input"):
            seen = scheduler.scale_model_input(latents, time)
        out = toy_output(seen.float(), time, text)
        if spec.guidance > 1:
            without = toy_output(seen.float(), time, -text)
            out = without + spec.guidance * (out - without)
        noisy = {"generator": generator} if spec.sampler in ("euler_a", "lcm") else {}
        stepped, *x0 = scheduler.step(out.double(), time, latents, return_dict=False, **noisy)
        # With some spacings DDIM's last stride ends just before the picture; ours ends in it.
        latents = x0[0] if spec.sampler == "ddim" and len(after) == len(scheduler.timesteps) - start else stepped
        after.append(latents[0])
    return after


def noised(scheduler: Any, picture: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """A picture at the noise level of a timestep, in diffusers' own words."""
    if hasattr(scheduler, "add_noise"):
        return scheduler.add_noise(picture, noise, time)
    return scheduler.scale_noise(picture, time, noise)


def draw_in_float32(monkeypatch: Any) -> None:
    """diffusers' own noise, drawn in float32 as its pipelines do although it calculates in float64 here."""

    def drawn(shape: Any, generator: Any, device: Any, dtype: Any) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    for module in (scheduling_euler_ancestral_discrete, scheduling_lcm):
        monkeypatch.setattr(module, "randn_tensor", drawn)
