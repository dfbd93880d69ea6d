"""The models that are measured, by their published numbers, and the same shapes small enough for a CPU.

No weights: speed does not depend on what is in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.job import Request
from worker.checkpoint_formats import FLUX, SD, SDXL, PipelineKind

Config = Mapping[str, Any]

#: With a number behind it, so that no encoding is remembered; short enough for an encoder that reads letters.
WORDS = "a red boat on a calm sea, gulls above the shore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: networks by folder, and the grid of four that is asked for. `goal_s`: ours, on an H200."""

    name: str
    title: str
    kind: PipelineKind
    networks: Mapping[str, Config]
    scheduler: Config
    sampler: str
    side: int
    steps: int
    guidance: float
    goal_s: float

    def request(self, seed: int, steps: int = 0) -> Request:
        """A grid of four."""
        return Request(
            prompt=f"{WORDS} {seed}", width=self.side, height=self.side, seed=seed, steps=steps or self.steps,
            guidance=self.guidance, sampler=self.sampler, model=self.name, count=4,
        )  # fmt: skip


_CLIP_L: Config = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
_CLIP_G: Config = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
_T5: Config = {
    "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu",
}  # fmt: skip
_VAE: Config = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "sample_size": 512,
}  # fmt: skip
_CROSS, _DOWN, _UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D"
_CROSS_UP = "CrossAttnUpBlock2D"
_BETAS: Config = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "timestep_spacing": "leading", "prediction_type": "epsilon",
}  # fmt: skip
_FLOW: Config = {"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False}

_SDXL_NETWORKS: Mapping[str, Config] = {
    "text_encoder": _CLIP_L,
    "text_encoder_2": _CLIP_G,
    "unet": {
        "sample_size": 128, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280), "down_block_types": (_DOWN, _CROSS, _CROSS),
        "up_block_types": (_CROSS_UP, _CROSS_UP, _UP), "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "vae": {**_VAE, "scaling_factor": 0.13025, "sample_size": 1024},
}  # fmt: skip

SUBJECTS: tuple[Subject, ...] = (
    Subject(
        name="sd15", title="Stable Diffusion 1.5, 512², 20 steps", kind=SD, scheduler=_BETAS, sampler="euler",
        side=512, steps=20, guidance=7.5, goal_s=0.35,
        networks={
            "text_encoder": _CLIP_L,
            "unet": {
                "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
                "block_out_channels": (320, 640, 1280, 1280), "down_block_types": (_CROSS, _CROSS, _CROSS, _DOWN),
                "up_block_types": (_UP, _CROSS_UP, _CROSS_UP, _CROSS_UP), "cross_attention_dim": 768,
                "attention_head_dim": 8,
            },
            "vae": {**_VAE, "scaling_factor": 0.18215},
        },
    ),
    Subject(
        name="sdxl", title="SDXL, 1024², 30 steps", kind=SDXL, networks=_SDXL_NETWORKS, scheduler=_BETAS,
        sampler="euler", side=1024, steps=30, guidance=6.0, goal_s=4.5,
    ),
    Subject(
        name="sdxl-4", title="SDXL, 1024², 4 steps without guidance", kind=SDXL, networks=_SDXL_NETWORKS,
        scheduler={**_BETAS, "timestep_spacing": "trailing"}, sampler="euler", side=1024, steps=4, guidance=1.0,
        goal_s=0.5,
    ),
    Subject(
        name="flux-schnell", title="FLUX.1 schnell, 1024², 4 steps", kind=FLUX, scheduler=_FLOW, sampler="flow_euler",
        side=1024, steps=4, guidance=1.0, goal_s=2.4,
        networks={
            "text_encoder": _CLIP_L,
            "text_encoder_2": _T5,
            "transformer": {
                "patch_size": 1, "in_channels": 64, "num_layers": 19, "num_single_layers": 38,
                "attention_head_dim": 128, "num_attention_heads": 24, "joint_attention_dim": 4096,
                "pooled_projection_dim": 768, "guidance_embeds": False, "axes_dims_rope": (16, 56, 56),
            },
            "vae": {
                **_VAE, "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "sample_size": 1024,
                "use_quant_conv": False, "use_post_quant_conv": False,
            },
        },
    ),
)  # fmt: skip

_SMALL: Mapping[str, Config] = {
    "text_encoder": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "projection_dim": 32,
    },
    "text_encoder_2": {
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "projection_dim": 48,
    },
    "vae": {
        "block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 64,
    },
}  # fmt: skip
_SMALL_T5: Config = {"d_model": 48, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 2}
_SMALL_DENOISERS: Mapping[str, Config] = {
    "sd": {
        "sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 32, 32, 32), "cross_attention_dim": 32,
        "attention_head_dim": 4, "norm_num_groups": 8,
    },
    "sdxl": {
        "sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 32, 32), "cross_attention_dim": 80,
        "attention_head_dim": (2, 4, 4), "transformer_layers_per_block": (1, 1, 2), "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 96, "norm_num_groups": 8,
    },
    "flux": {
        "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": 48, "pooled_projection_dim": 32, "axes_dims_rope": (4, 4, 8),
    },
}  # fmt: skip
SMALL_SIDE, SMALL_STEPS = 64, 4


def subject(name: str, *, small: bool) -> Subject:
    """By its name in the command line."""
    whole = next(one for one in SUBJECTS if one.name == name)
    if not small:
        return whole
    networks: dict[str, Config] = {}
    for folder, config in whole.networks.items():
        if folder in {"unet", "transformer"}:
            less = _SMALL_DENOISERS[whole.kind.family]
        elif folder == "text_encoder_2" and whole.kind is FLUX:
            less = _SMALL_T5
        else:
            less = _SMALL[folder]
        networks[folder] = {**config, **less}
    return Subject(
        name=whole.name, title=whole.title, kind=whole.kind, networks=networks, scheduler=whole.scheduler,
        sampler=whole.sampler, side=SMALL_SIDE, steps=min(whole.steps, SMALL_STEPS), guidance=whole.guidance,
        goal_s=whole.goal_s,
    )  # fmt: skip
