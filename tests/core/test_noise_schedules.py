"""Which noise schedules the samplers know: every field of every scheduler was looked at, and nothing else is taken."""

import inspect
from typing import Any

import diffusers
import pytest

from core.noise_schedules import FLOW_FIELDS, NOISE_FIELDS, SCHEDULERS, unknown_in

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def fields_of(scheduler: str) -> set[str]:
    return {*inspect.signature(getattr(diffusers, scheduler).__init__).parameters} - {"self", "args", "kwargs"}


@pytest.mark.parametrize("family", SCHEDULERS)
def test_every_field_of_a_known_scheduler_was_looked_at(family: str) -> None:
    known = FLOW_FIELDS if family == "flux" else NOISE_FIELDS
    for scheduler in SCHEDULERS[family]:
        assert not fields_of(scheduler) - known, scheduler


@pytest.mark.parametrize("family", SCHEDULERS)
def test_a_known_scheduler_as_diffusers_makes_it_is_known(family: str) -> None:
    for scheduler in SCHEDULERS[family]:
        defaults = inspect.signature(getattr(diffusers, scheduler).__init__).parameters
        config = {name: parameter.default for name, parameter in defaults.items() if parameter.kind.value == 1}
        plain = {name: value for name, value in config.items() if name not in ("self", "clip_sample")}
        assert unknown_in(family, scheduler, {**plain, "clip_sample": False, "_diffusers_version": "0"}) == ""


@pytest.mark.parametrize(
    ("family", "scheduler", "config", "unknown"),
    [
        ("sdxl", "EDMDPMSolverMultistepScheduler", {}, "EDMDPMSolverMultistepScheduler"),
        ("sdxl", "EDMEulerScheduler", {}, "EDMEulerScheduler"),
        ("sdxl", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "FlowMatchEulerDiscreteScheduler"),
        ("sd", "TCDScheduler", SD, "TCDScheduler"),
        ("sd", "", SD, "no scheduler"),
        ("sd", "EulerDiscreteScheduler", {**SD, "prediction_type": "sample"}, "prediction_type sample"),
        ("sd", "EulerDiscreteScheduler", {**SD, "timestep_type": "continuous"}, "timestep_type continuous"),
        ("sdxl", "UniPCMultistepScheduler", {**SD, "use_flow_sigmas": True}, "use_flow_sigmas True"),
        ("sd", "DDIMScheduler", SD, "clip_sample"),
        ("sd", "LCMScheduler", {**SD, "clip_sample": True}, "clip_sample"),
        ("sd", "DDIMScheduler", {**SD, "clip_sample": False, "thresholding": True}, "thresholding True"),
        ("sd", "DDPMScheduler", {**SD, "clip_sample": False, "beta_schedule": "sigmoid"}, "beta_schedule sigmoid"),
        ("sd", "EulerDiscreteScheduler", {**SD, "sigma_data": 0.5}, "sigma_data"),
        ("sd", "EulerDiscreteScheduler", {**SD, "prediction_type": ["epsilon"]}, "prediction_type ['epsilon']"),
        ("flux", "FlowMatchHeunDiscreteScheduler", {}, "FlowMatchHeunDiscreteScheduler"),
        ("flux", "FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, "stochastic_sampling True"),
        ("flux", "FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "invert_sigmas True"),
        ("flux", "FlowMatchEulerDiscreteScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas True"),
    ],
)
def test_what_no_sampler_knows_is_named(family: str, scheduler: str, config: dict[str, Any], unknown: str) -> None:
    assert unknown_in(family, scheduler, config) == unknown


@pytest.mark.parametrize(
    ("scheduler", "more"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}),
        ("EulerDiscreteScheduler", {"clip_sample": True, "sample_max_value": 1.0, "thresholding": False}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
        ("DDIMScheduler", {"clip_sample": False, "rescale_betas_zero_snr": True, "tensor_format": "pt"}),
        ("EulerDiscreteScheduler", {"solver_p": None, "somebody_s_own": None, "_class_name": "EDMEulerScheduler"}),
    ],
)
def test_what_published_checkpoints_say_is_known(scheduler: str, more: dict[str, Any]) -> None:
    assert unknown_in("sdxl", scheduler, {**SD, **more}) == ""
