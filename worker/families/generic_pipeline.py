"""Every other pipeline of diffusers that makes pictures from words: computed as it is, one step at a time.

The loop can pause it, stop it and serve others between its steps, as it does with rows (`pipeline_run.py`); only the
sharing of forwards is missing. Knows nothing of jobs.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.catalogue import Capability
from core.folder_format import UNUSED
from core.job import Request
from core.prompt_weights import unweighted
from worker.checkpoint_formats import read_model_index, with_plain_names
from worker.device import Device
from worker.diffusers_internals import guides_at
from worker.errors import CannotLoad
from worker.families.adaptation import ModelAdapter
from worker.families.draft_preview import DraftPreview, in_pixels
from worker.families.pipeline_run import PipelineRun, step_callback_name
from worker.interfaces import Adaptation, Guidance

SAMPLER = "own"  # the pipeline's own scheduler
STEPS, SCALE = 28, 4.0  # for pipelines that name none
HIGHEST = 30.0  # guidance that a request can ask for
PIXELS = 16  # sides that networks without an autoencoder take: they halve them up to four times


class GenericPipeline:
    """See `interfaces.PipelineModel`."""

    name = "any"
    guidance: Guidance = Guidance.NONE
    sampler = SAMPLER

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        self.device = device
        self._pipeline = pipeline
        self._takes = inspect.signature(pipeline.__call__).parameters
        components = pipeline.components.items()
        self.parts: Mapping[str, nn.Module] = {name: part for name, part in components if isinstance(part, nn.Module)}
        self.scheduler: Mapping[str, Any] = dict(pipeline.scheduler.config)
        self.factor = int(getattr(pipeline, "vae_scale_factor", 1 if in_pixels(pipeline) else 8))
        self.channels = 0  # of latents that nobody here takes into their hands
        self._draft_preview = DraftPreview(pipeline, device, self.factor)
        self.multiple = 4 * self.factor if self.factor > 1 else PIXELS
        self.native = self._default("height") or self._side()
        self.steps = self._default("num_inference_steps") or STEPS
        self.scale = float(self._default(self._scale_name) or SCALE)
        config = getattr(pipeline, "config", {})
        self.distilled = bool(config.get("is_distilled"))  # taught to need few steps
        self._adapter = ModelAdapter(None, ())
        #: What changes nothing with it, and the guidance above which a negative prompt counts; see `events.ModelInfo`.
        self.ignores: tuple[str, ...] = () if self._guides else ("cfg",)
        self.negative_above = 0.0 if guides_at(pipeline, 1.0) else 1.0
        self.edits: tuple[Capability, ...] = (
            *([Capability.NEGATIVE] if self._negates else []),
            *([Capability.PREVIEW] if self._draft_preview.possible else []),
        )

    @classmethod
    def load(cls, folder: Path, device: Device, vae: Any = None) -> "GenericPipeline":
        """`vae` takes the place of its own.

        Raises CannotLoad for a pipeline that makes no pictures from words, or whatever diffusers raises.
        """
        from diffusers import AutoPipelineForText2Image

        how: dict[str, Any] = {"dtype": device.dtype, "local_files_only": True, "use_safetensors": True}
        # What nobody draws with need not be there; what only looks at pictures stays out as everywhere here.
        unused = UNUSED & read_model_index(folder, str(folder)).keys()
        how |= {name: None for name in unused if name == "safety_checker" or not (folder / name).is_dir()}
        how |= {} if vae is None else {"vae": vae}
        try:
            with with_plain_names(folder) as plain:
                pipeline = AutoPipelineForText2Image.from_pretrained(plain, **how)
        except ValueError as error:
            if "AutoPipeline" not in str(error):
                raise
            sentence = f"{folder} holds no pipeline that makes pictures from words in this version of diffusers."
            raise CannotLoad(f"{sentence} Use another model, or a newer diffusers.") from error
        if not step_callback_name(pipeline):
            raise CannotLoad(f"{type(pipeline).__name__} cannot be paused between its steps. Use another model.")
        pipeline.set_progress_bar_config(disable=True)
        if hasattr(pipeline.components.get("vae"), "enable_slicing"):
            # Pictures of one call are decoded one by one, so that only their steps need memory together.
            pipeline.vae.enable_slicing()
        model = cls(pipeline, device.torch_device)
        for part in model.parts.values():
            part.eval().requires_grad_(False)
        return model

    def _default(self, name: str) -> Any:
        """What the pipeline itself takes for it, or None."""
        parameter = self._takes.get(name)
        return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default

    def _side(self) -> int:
        """The side of its native square, from the denoiser's config where that tells."""
        size = getattr(self._config, "sample_size", None)
        size = size or getattr(self._pipeline, "default_sample_size", None) or 128
        return int(size[0] if isinstance(size, Sequence) else size) * self.factor

    @property
    def _config(self) -> Any:
        """The denoiser's, or None."""
        return getattr(self.parts.get("transformer") or self.parts.get("unet"), "config", None)

    @property
    def scales_its_input(self) -> bool:
        """Whether its scheduler does what pipelines with a UNet ask of it before each step."""
        return "unet" not in self.parts or hasattr(self._pipeline.scheduler, "scale_model_input")

    @property
    def takes_guidance_scale(self) -> bool:
        """Whether its denoiser takes the guidance scale as a number: it needs one, however few its steps are."""
        return any(getattr(self._config, name, None) for name in ("guidance_embeds", "time_cond_proj_dim"))

    @property
    def _guides(self) -> bool:
        """Whether the guidance scale changes what it draws."""
        twice = guides_at(self._pipeline, HIGHEST)
        if twice is None:  # nobody says; of these those that may take it as a number show whether they do
            twice = self._scale_name == "true_cfg_scale" or not hasattr(self._config, "guidance_embeds")
        return self._scale_name in self._takes and (twice or self.takes_guidance_scale)

    @property
    def _scale_name(self) -> str:
        """Qwen's own guidance has this name; the plain one is then for distilled models, and None."""
        plain = self._default("guidance_scale") is not None or "true_cfg_scale" not in self._takes
        return "guidance_scale" if plain else "true_cfg_scale"

    @property
    def _negates(self) -> bool:
        """Whether a negative prompt counts, given enough of the guidance that requests are for."""
        other = "true_cfg_scale" in self._takes and self._scale_name != "true_cfg_scale"
        return "negative_prompt" in self._takes and not other and guides_at(self._pipeline, HIGHEST) is not False

    def begin(self, request: Request, indices: Sequence[int], rows: int) -> PipelineRun:
        if request.strength < 1 or request.loras or request.inputs or request.canvas:
            raise ValueError("This model makes pictures from words alone.")
        if request.width % self.multiple or request.height % self.multiple:
            raise ValueError(f"Both sides must be multiples of {self.multiple} pixels with this model.")
        calls = [self._call(request, indices[at : at + rows]) for at in range(0, len(indices), rows)]
        # Schedulers count their steps: runs that take turns need one each.
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
        preview = partial(self._draft_preview.preview, size=(request.width, request.height))
        return PipelineRun(pipeline, calls, request.steps, preview, largest_batch=min(rows, len(indices)))

    def _call(self, request: Request, indices: Sequence[int]) -> Mapping[str, Any]:
        seeds = [(request.seed + index) % 2**32 for index in indices]
        prompt, negative = _prompts_with_style(request)
        arguments = {
            "prompt": prompt,
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            self._scale_name: request.guidance,
            "num_images_per_prompt": len(seeds),
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "pt",
            # The size that was asked for, not the nearest one of a table; the words as they are.
            "use_resolution_binning": False,
            "clean_caption": False,
        }
        if self._negates and (negative or (self._scale_name == "true_cfg_scale" and request.guidance > 1)):
            # A space: without any negative prompt that guidance is not taken at all.
            arguments["negative_prompt"] = negative or " "
        return {name: value for name, value in arguments.items() if name in self._takes}

    def adapt(self, adaptation: Adaptation) -> None:
        """Takes the model as it is; raises LookupError for anything else."""
        if adaptation.loras:
            raise LookupError("This model takes no LoRAs here.")
        self._adapter.adapt(adaptation)


def _prompts_with_style(request: Request) -> tuple[str, str]:
    """The prompt and the negative prompt with the house style, of which more is said the more it counts."""
    prompt, negative, house = unweighted(request.prompt), unweighted(request.negative), request.house
    if house is None:
        return prompt, negative
    said, avoided = house.spoken()
    return _joined(prompt, said), _joined(negative, avoided)


def _joined(words: str, more: str) -> str:
    return ", ".join(part for part in (words, more) if part)
