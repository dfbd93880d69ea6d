"""What a pipeline's pictures look like on the way: its latents, however it packs them, as small pictures.

Knows autoencoders and shapes; nothing of steps or of what denoises.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle

from worker.device import is_out_of_memory
from worker.families.autoencoder import Autoencoder, PatchAutoencoder
from worker.interfaces import LatentCoder

_PATCHED = "AutoencoderKLFlux2"
_PIXELS_FIRST = "Ideogram"


class DraftPreview:
    """For one pipeline. `possible` is False where nobody here can read its latents."""

    def __init__(self, pipeline: Any, device: torch.device, factor: int) -> None:
        self._coder = _coder_of(pipeline, device, factor)
        self._in_pixels = in_pixels(pipeline)
        self._latent_preview: Any = None

    @property
    def possible(self) -> bool:
        """Whether there is something to see."""
        return self._in_pixels or self._coder is not None

    def preview(self, latents: Tensor, size: tuple[int, int]) -> Tensor | None:
        """Latents of pictures of (width, height) as uint8 [n, h, w, 3]; None where they are of no known form.

        Raises what the autoencoder raises, which is then not asked again, unless memory was full.
        """
        if self._in_pixels:
            return _as_seen(latents)
        if self._coder is None or (maps := as_latent_maps(latents, self._coder, size)) is None:
            return None
        if self._latent_preview is None:
            self._fit(self._coder)
        drawn: Tensor = self._latent_preview.preview(maps.float())
        return drawn

    def _fit(self, coder: LatentCoder) -> None:
        from worker.families.latent_preview import LatentPreview

        try:
            self._latent_preview = LatentPreview.fit(coder)
        except Exception as error:
            if not is_out_of_memory(error):
                self._coder = None
            raise


def as_latent_maps(latents: Tensor, coder: LatentCoder, size: tuple[int, int]) -> Tensor | None:
    """Latents as [n, channels, h, w] for `coder`, from any of the forms in which pipelines carry them.

    Maps; maps with an axis of frames; tokens [n, rows × columns, features], row by row, where a token is a latent or a
    patch of them, its channels first. None for anything else.
    """
    if latents.ndim == 5 and 1 in latents.shape[1:3]:
        latents = latents.squeeze(2 if latents.shape[2] == 1 else 1)
    if latents.ndim == 3:
        patch = round((latents.shape[2] / coder.channels) ** 0.5)
        columns, rows = (side // (coder.factor * patch) if patch else 0 for side in size)
        if latents.shape[1:] != (rows * columns, coder.channels * patch**2):
            return None
        latents = pixel_shuffle(latents.transpose(1, 2).reshape(len(latents), -1, rows, columns), patch)
    return latents if latents.ndim == 4 and latents.shape[1] == coder.channels else None


def _as_seen(latents: Tensor) -> Tensor | None:
    """Of pipelines that work on pixels in -1 … 1."""
    if latents.ndim != 4 or latents.shape[1] != 3:
        return None
    return latents.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def in_pixels(pipeline: Any) -> bool:
    """Whether it works on pixels, with no autoencoder of any name."""
    return _network(pipeline) is None


def _network(pipeline: Any) -> Any:
    """What makes pictures of its latents, by the names that diffusers' pipelines have for it."""
    names = ("vae", "movq", "vqgan")
    return next((pipeline.components[name] for name in names if pipeline.components.get(name) is not None), None)


def _coder_of(pipeline: Any, device: torch.device, factor: int) -> LatentCoder | None:
    vae = pipeline.components.get("vae")
    try:
        if type(vae).__name__ == _PATCHED:
            first = type(pipeline).__name__.startswith(_PIXELS_FIRST)
            return PatchAutoencoder(vae, device, factor, pixels_first=first)
        return None if vae is None else Autoencoder(vae, device, factor)
    except (AttributeError, TypeError):  # one that names its parts otherwise
        return None
