"""Plans for requests: which samplers a model may use, and the table of each, from a throw-away diffusers scheduler."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from core.catalogue import SAMPLERS
from worker.samplers import multistep, steps
from worker.samplers.table import FLOW, Array, NoiseLevels, StepSchedule

PREDICTIONS = ("epsilon", "v_prediction")  # of the models that are no flow


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampler:
    """A name of the catalogue: diffusers' class with what is fixed about it, and how its table is made."""

    kind: str
    levels: Callable[[Any, str], NoiseLevels]
    table: Callable[[NoiseLevels, Any], Array]
    fixed: Mapping[str, Any] = field(default_factory=dict)


#: All end in the picture: after the last step the latents are x0, and nothing of the noise is left.
_CLEAN = {"final_sigmas_type": "zero", "lower_order_final": True, "thresholding": False, "use_flow_sigmas": False}
_DPM = {**_CLEAN, "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
_OTHER_SPACINGS = {"use_exponential_sigmas": False, "use_beta_sigmas": False, "use_lu_lambdas": False}
_KARRAS = {**_DPM, **_OTHER_SPACINGS, "use_karras_sigmas": True}
_UNIPC = {**_CLEAN, "solver_order": 2, "solver_type": "bh2", "predict_x0": True, "disable_corrector": []}
_DDIM = {"set_alpha_to_one": True, "clip_sample": False, "thresholding": False}
_SAMPLERS: Mapping[str, _Sampler] = {
    "euler": _Sampler(
        kind="EulerDiscreteScheduler", levels=steps.euler_levels, table=steps.first_order_table,
        fixed={"final_sigmas_type": "zero"},
    ),
    "euler_a": _Sampler(
        kind="EulerAncestralDiscreteScheduler", levels=steps.euler_levels, table=steps.ancestral
    ),
    "dpmpp_2m": _Sampler(
        kind="DPMSolverMultistepScheduler", levels=multistep.variance_levels, table=multistep.dpmpp_2m,
        fixed={**_DPM, "use_karras_sigmas": False},
    ),
    "dpmpp_2m_karras": _Sampler(
        kind="DPMSolverMultistepScheduler", levels=multistep.variance_levels, table=multistep.dpmpp_2m, fixed=_KARRAS
    ),
    "ddim": _Sampler(kind="DDIMScheduler", levels=steps.ddim_levels, table=steps.first_order_table, fixed=_DDIM),
    "unipc": _Sampler(
        kind="UniPCMultistepScheduler", levels=multistep.variance_levels, table=multistep.unipc, fixed=_UNIPC
    ),
    "lcm": _Sampler(kind="LCMScheduler", levels=steps.lcm_levels, table=steps.consistency, fixed=_DDIM),
    "flow_euler": _Sampler(
        kind="FlowMatchEulerDiscreteScheduler", levels=steps.flow_levels, table=steps.first_order_table,
        fixed={"stochastic_sampling": False, "invert_sigmas": False},
    ),
}  # fmt: skip


def samplers_for(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The samplers that a model with this scheduler config may use, in the catalogue's order."""
    if _prediction(config) == FLOW:
        return ("flow_euler",)
    # Where the schedule ends in nothing but noise, the noise that is predicted there says nothing of the picture:
    # these two would divide by zero.
    hopeless = ("ddim", "lcm") if config.get("rescale_betas_zero_snr") and _prediction(config) == "epsilon" else ()
    return tuple(name for name in SAMPLERS if name != "flow_euler" and name not in hopeless)


def diffusers_scheduler(sampler: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler: what the tables are derived from and tested against."""
    import diffusers

    if sampler not in _SAMPLERS:
        raise ValueError(f"There is no sampler {sampler!r} here; use one of {', '.join(SAMPLERS)}.")
    chosen = _SAMPLERS[sampler]
    kind = getattr(diffusers, chosen.kind)
    known = inspect.signature(kind.__init__).parameters
    own = {key: value for key, value in config.items() if key in known or key.startswith("_")}
    return kind.from_config(own, **{key: value for key, value in chosen.fixed.items() if key in known})


class Schedules:
    """Plans for one model, by its scheduler's config (`scheduler_config.json`).

    `token` is the side in pixels of what a flow model counts as one token of the picture.
    """

    def __init__(self, config: Mapping[str, Any], token: int = 16) -> None:
        self.config = dict(config)
        self._token = token
        self._cached = lru_cache(maxsize=256)(self._make)

    def schedule(
        self, sampler: str, steps: int, strength: float, stop: int, size: tuple[int, int] | None = None
    ) -> StepSchedule:
        """The plan for a request's numbers (see `Request`); `size` is (width, height) in pixels.

        Raises ValueError for a sampler that this model cannot use, and for more steps than it was trained with.
        """
        tokens = 0
        if size is not None and self.config.get("use_dynamic_shifting"):
            tokens = (size[0] // self._token) * (size[1] // self._token)
        return self._cached(sampler, steps, strength, stop, tokens)

    def _make(self, sampler: str, steps: int, strength: float, stop: int, tokens: int) -> StepSchedule:
        if sampler not in samplers_for(self.config):
            raise ValueError(f"This model takes {', '.join(samplers_for(self.config))}, but not {sampler!r}.")
        most = int(self.config.get("num_train_timesteps", 1000))
        if steps > most:
            raise ValueError(f"{steps} steps are not possible: this model takes at most {most}.")
        near = strength < 1
        scheduler = diffusers_scheduler(sampler, self.config)
        # Of one step none can be left out; without that nothing of the source would be in what is drawn.
        set_steps(scheduler, sampler, max(2, steps) if near else steps, tokens)
        chosen = _SAMPLERS[sampler]
        levels = chosen.levels(scheduler, _prediction(self.config))
        length = len(levels.times)
        start = length - min(length - near, max(1, round(length * strength)))
        end = max(start + 1, round(length * stop / 100))
        levels = levels.since(start)
        table = np.ascontiguousarray(chosen.table(levels, scheduler)[: end - start])
        table.setflags(write=False)
        level = float(levels.alpha[0]), float(levels.sigma[0])
        source, noise = level if start else (0.0, float(getattr(scheduler, "init_noise_sigma", 1.0)))
        rescale = float(self.config.get("guidance_rescale") or 0.0)
        return StepSchedule(table=table, from_noise=noise, from_source=source, level=level, rescale=rescale)


def set_steps(scheduler: Any, sampler: str, steps: int, tokens: int = 0) -> None:
    """`set_timesteps` as the pipelines call it: LCM's grid made fine enough, flow matching as FLUX does it."""
    if sampler == "lcm":
        scheduler.set_timesteps(steps, original_inference_steps=max(steps, scheduler.config.original_inference_steps))
    elif sampler == "flow_euler":
        if steps == 1:  # where to end says nothing of a schedule that has only its start
            scheduler.register_to_config(shift_terminal=None)
        shift = _shift(scheduler.config, tokens) if scheduler.config.use_dynamic_shifting else None
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
    else:
        scheduler.set_timesteps(steps)


def _shift(config: Any, tokens: int) -> float:
    """Larger pictures keep more noise for longer: a line through the two numbers of tokens that the config names."""
    few, many = config.base_image_seq_len, config.max_image_seq_len
    return float(config.base_shift + (config.max_shift - config.base_shift) * (tokens - few) / (many - few))


def _prediction(config: Mapping[str, Any]) -> str:
    """`flow_prediction` also when only the class or its numbers say so: such configs name no prediction.

    Raises ValueError for one that no table here is made for.
    """
    if str(config.get("_class_name", "")).startswith("FlowMatch") or config.get("prediction_type") in (FLOW, "flow"):
        return FLOW
    prediction = str(config.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise ValueError(f"No sampler here knows the prediction {prediction!r}; they know {', '.join(PREDICTIONS)}.")
    return prediction
