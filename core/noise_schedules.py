"""Tells from a scheduler's config whether Darkroom's samplers know a checkpoint's noise schedule. Pure: opens nothing.

A folder in diffusers' format names its scheduler, which says two things: how noise lies over the model's steps, which
the model was trained with, and how steps are taken, which a request chooses by a sampler's name. Only the first decides
here. What is not in these tables is never drawn by a default: the folder's own pipeline draws it whole.
"""

from collections.abc import Collection, Mapping

#: Schedulers of Stable Diffusion, which differ in nothing but how they take their steps.
_NOISE = frozenset({
    "DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler",
    "PNDMScheduler", "SASolverScheduler", "UniPCMultistepScheduler",
})  # fmt: skip
_FLOW = frozenset({"FlowMatchEulerDiscreteScheduler"})
#: By family; another one may have any of them.
SCHEDULERS: Mapping[str, frozenset[str]] = {"sd": _NOISE, "sdxl": _NOISE, "flux": _FLOW}

#: Of these, those that clip what they take for the picture where their config is silent.
_CLIP_UNLESS_TOLD = frozenset({"DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler"})
_CLIP = _CLIP_UNLESS_TOLD | {"HeunDiscreteScheduler", "LCMScheduler"}

#: What the samplers' tables take over as it stands.
_FOLLOWED = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "trained_betas", "rescale_betas_zero_snr", "timestep_spacing",
    "steps_offset", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "sigma_min",
    "sigma_max", "interpolation_type", "original_inference_steps", "timestep_scaling", "lambda_min_clipped",
})  # fmt: skip
#: How steps are taken: for a request to choose. The last two lines count for flow matching alone.
_OF_STEPS = frozenset({
    "algorithm_type", "solver_order", "solver_type", "solver_p", "predictor_order", "corrector_order", "tau_func",
    "disable_corrector", "predict_x0", "lower_order_final", "euler_at_final", "final_sigmas_type", "variance_type",
    "set_alpha_to_one", "skip_prk_steps", "clip_sample", "clip_sample_range", "sample_max_value",
    "dynamic_thresholding_ratio", "tensor_format", "flow_shift", "shift", "shift_terminal", "time_shift_type",
    "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "invert_sigmas", "stochastic_sampling",
})  # fmt: skip
#: What flow matching's table takes over.
_FLOW_FOLLOWED = frozenset({
    "num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len",
    "max_image_seq_len", "shift_terminal", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
    "time_shift_type",
})  # fmt: skip
#: The values that are known, by field; a field that is not there has one of them.
_NOISE_VALUES: Mapping[str, tuple[object, ...]] = {
    "prediction_type": ("epsilon", "v_prediction"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_type": ("discrete",),
    "thresholding": (False,),
    "use_flow_sigmas": (False,),
    "use_dynamic_shifting": (False,),
    "predict_epsilon": (True,),
    "timestep_values": (None,),
}
_FLOW_VALUES: Mapping[str, tuple[object, ...]] = {
    "prediction_type": ("flow_prediction", "flow"),
    "invert_sigmas": (False,),
    "stochastic_sampling": (False,),
    "use_flow_sigmas": (False,),
}
#: Every field of these schedulers that is known.
NOISE_FIELDS = _FOLLOWED | _OF_STEPS | _NOISE_VALUES.keys()
FLOW_FIELDS = _FLOW_FOLLOWED | _FLOW_VALUES.keys() | NOISE_FIELDS


def unknown_in(family: str, scheduler: str, config: Mapping[str, object]) -> str:
    """What about a schedule no sampler here knows, in a few words; empty where all of it is known.

    `scheduler`: the name of its class.

    >>> unknown_in("sdxl", "EDMEulerScheduler", {}), unknown_in("sd", "PNDMScheduler", {"steps_offset": 1})
    ('EDMEulerScheduler', '')
    """
    if scheduler not in SCHEDULERS.get(family, _NOISE | _FLOW):
        return scheduler or "no scheduler"
    if scheduler in _CLIP and config.get("clip_sample", scheduler in _CLIP_UNLESS_TOLD):
        return "clip_sample"
    values, fields = (_FLOW_VALUES, FLOW_FIELDS) if scheduler in _FLOW else (_NOISE_VALUES, NOISE_FIELDS)
    for field, value in config.items():
        if field in values and not _is_one_of(value, values[field]):
            return f"{field} {value}"
        if field not in fields and not field.startswith("_") and value is not None:
            return field
    return ""


def _is_one_of(value: object, known: Collection[object]) -> bool:
    """A number is not taken for a truth value, nor a list for anything."""
    return any(type(value) is type(one) and value == one for one in known)
