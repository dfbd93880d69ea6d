"""Every other pipeline of diffusers that makes pictures from words: computed as it is, one step at a time.

The loop can pause it, stop it and serve others between its steps, as it does with rows (`running.py`); only the sharing
of forwards is missing. Knows nothing of jobs.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.catalogue import Edit
from core.folder_format import UNUSED
from core.job import Request
from worker.device import Device
from worker.families.adapting import Adapter
from worker.families.autoencoder import Autoencoder
from worker.families.base import Adaptation, Guidance
from worker.families.running import PipelineRun
from worker.kinds import CannotLoad, index_of
from worker.plainnames import plainly

SAMPLER = "own"  # the pipeline's own scheduler
STEPS, SCALE = 28, 4.0  # for pipelines that name none


class AnyPipeline:
    """See `base.Whole`. `rows`: pictures in one call of the pipeline; more of them come one call after the other."""

    name = "any"
    guidance: Guidance = Guidance.NONE
    sampler = SAMPLER

    def __init__(self, pipeline: Any, device: torch.device, rows: int) -> None:
        self.device = device
        self._pipeline, self._rows = pipeline, rows
        self._takes = inspect.signature(pipeline.__call__).parameters
        components = pipeline.components.items()
        self.parts: Mapping[str, nn.Module] = {name: part for name, part in components if isinstance(part, nn.Module)}
        self.scheduler: Mapping[str, Any] = dict(pipeline.scheduler.config)
        vae = self.parts.get("vae")
        plain = type(vae).__name__ == "AutoencoderKL"
        self._autoencoder = Autoencoder(vae, device) if plain else None
        self.factor = int(getattr(pipeline, "vae_scale_factor", 8))
        self.channels = self._autoencoder.channels if self._autoencoder else 0
        self.multiple = 4 * self.factor
        self.native = self._default("height") or self._side()
        self.steps = self._default("num_inference_steps") or STEPS
        self.scale = float(self._default(self._scale_name) or SCALE)
        self._adapter = Adapter(None, ())
        self._sketcher: Any = None
        self.edits: tuple[Edit, ...] = (
            *([Edit.NEGATIVE] if self._negates else []),
            *([Edit.PREVIEW] if self._autoencoder else []),
        )

    @classmethod
    def load(cls, folder: Path, device: Device) -> "AnyPipeline":
        """Raises CannotLoad for a pipeline that makes no pictures from words, or whatever diffusers raises."""
        from diffusers import AutoPipelineForText2Image

        how: dict[str, Any] = {"dtype": device.dtype, "local_files_only": True, "use_safetensors": True}
        # What nobody draws with need not be there.
        how |= {name: None for name in UNUSED & index_of(folder, str(folder)).keys() if not (folder / name).is_dir()}
        try:
            with plainly(folder) as plain:
                pipeline = AutoPipelineForText2Image.from_pretrained(plain, **how)
        except ValueError as error:
            if "AutoPipeline" not in str(error):
                raise
            sentence = f"{folder} holds no pipeline that this version of diffusers makes pictures from words with."
            raise CannotLoad(f"{sentence} Use another model, or a newer diffusers.") from error
        if "callback_on_step_end" not in inspect.signature(pipeline.__call__).parameters:
            raise CannotLoad(f"{type(pipeline).__name__} cannot be stopped between its steps. Use another model.")
        pipeline.set_progress_bar_config(disable=True)
        model = cls(pipeline, device.place, device.max_rows)
        for part in model.parts.values():
            part.eval().requires_grad_(False)
        return model

    def _default(self, name: str) -> Any:
        """What the pipeline itself takes for it, or None."""
        parameter = self._takes.get(name)
        return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default

    def _side(self) -> int:
        """The side of its native square, from the denoiser's config where that tells."""
        denoiser = self.parts.get("transformer") or self.parts.get("unet")
        size = getattr(getattr(denoiser, "config", None), "sample_size", None)
        size = size or getattr(self._pipeline, "default_sample_size", None) or 128
        return int(size[0] if isinstance(size, Sequence) else size) * self.factor

    @property
    def _scale_name(self) -> str:
        """Qwen's own guidance has this name; the plain one is then for distilled models, and None."""
        plain = self._default("guidance_scale") is not None or "true_cfg_scale" not in self._takes
        return "guidance_scale" if plain else "true_cfg_scale"

    @property
    def _negates(self) -> bool:
        return "negative_prompt" in self._takes

    def begin(self, request: Request, indices: Sequence[int]) -> PipelineRun:
        """See `base.Whole`."""
        if request.strength < 1 or request.loras or request.inputs or request.canvas:
            raise ValueError("This model makes pictures from words alone.")
        if request.width % self.multiple or request.height % self.multiple:
            raise ValueError(f"Both sides must be multiples of {self.multiple} pixels with this model.")
        parts = [indices[at : at + self._rows] for at in range(0, len(indices), self._rows)]
        calls = [self._call(request, part) for part in parts]
        # Schedulers count their steps: runs that take turns need one each.
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
        return PipelineRun(pipeline, calls, request.steps, self._sketch)

    def _call(self, request: Request, indices: Sequence[int]) -> Mapping[str, Any]:
        seeds = [(request.seed + index) % 2**32 for index in indices]
        wished = {
            "prompt": request.prompt,
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            self._scale_name: request.guidance,
            "num_images_per_prompt": len(seeds),
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "pt",
        }
        if self._negates and (request.negative or self._scale_name == "true_cfg_scale"):
            # A space: without any negative prompt that guidance is not taken at all.
            wished["negative_prompt"] = request.negative or " "
        return {name: value for name, value in wished.items() if name in self._takes}

    def _sketch(self, latents: Tensor) -> Tensor | None:
        """Latents [n, channels, h, w] as small pictures, where they are plain ones."""
        if self._autoencoder is None or latents.ndim != 4 or latents.shape[1] != self.channels:
            return None
        if self._sketcher is None:
            from worker.preview import Sketcher

            self._sketcher = Sketcher.fit(self._autoencoder)
        drawn: Tensor = self._sketcher.sketch(latents.float())
        return drawn

    def adapt(self, adaptation: Adaptation) -> None:
        """Takes the model as it is; raises LookupError for anything else."""
        if adaptation.loras:
            raise LookupError("This model takes no LoRAs here.")
        self._adapter.adapt(adaptation)
