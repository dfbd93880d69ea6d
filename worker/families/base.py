"""What the engine needs of a family of models: encode, denoise a batch, decode. Nothing else differs between families.

To add one: write a module with a class of these methods, and let `worker.models` choose it by what the checkpoint's
`model_index.json` names. The engine gives every row its own timestep and text; a family never sees jobs, steps, seeds
or samplers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB

#: What `denoise` needs besides latents and times, by name: one text's have no batch axis, a batch's are stacked. Rows
#: whose conditions differ in names or shapes cannot share a forward.
Conditions = Mapping[str, Tensor]


class Guidance(StrEnum):
    """How a family follows the prompt more closely."""

    TWICE = "twice"  # classifier-free: a second forward without the prompt, for every row whose guidance is above 1
    INPUT = "input"  # the model takes the scale as a number: one forward
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """What is changed in a model for the rows of one batch: LoRAs as (name, weight), and edges that meet."""

    loras: tuple[tuple[str, float], ...] = ()
    tile: bool = False


class Family(Protocol):
    """A loaded model. Latents are float32 on `device`; sizes in pixels; one picture has no batch axis."""

    name: str
    device: torch.device
    native: int  # side of its native square
    multiple: int  # sides that it likes are multiples of this
    factor: int  # pixels a latent's side stands for; sides must be multiples of it
    channels: int  # of the latents
    #: diffusers' scheduler config with `prediction_type` (`flow_prediction` for flow matching), and `guidance_rescale`
    #: (0 … 1) where the model needs it, as those with `rescale_betas_zero_snr` do.
    scheduler: Mapping[str, Any]
    guidance: Guidance
    parts: Mapping[str, nn.Module]  # its networks by diffusers' names: what memory is counted and moved by

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """What `denoise` needs of a text; the same for the same text, whatever else runs.

        `negative`: the text says what the picture shall not show; an empty one then means nothing at all, which some
        models encode as zeros.
        """

    def even(self, texts: Sequence[Conditions]) -> list[Conditions]:
        """The texts of one row, the prompt's and the negative's, made as long as the longest of them."""

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """A picture as latents [channels, height / factor, width / factor], without randomness."""

    def adapt(self, adaptation: Adaptation) -> None:
        """Makes the next forwards and decodes follow it; cheap when it is what it was. Raises LookupError."""

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        """The model's output, float32, for latents [B, …], timesteps [B], stacked conditions, guidance scales [B]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [channels, h, w] as a picture: float32 in 0 … 1, [3, height, width]."""
