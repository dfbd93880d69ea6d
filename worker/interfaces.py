"""What the engine needs of a family of models: encode, denoise a batch, decode. Nothing else differs between families.

To add one: write a module with a class of these methods and one line in `worker.checkpoints.components`, which chooses
it by what the checkpoint's `model_index.json` names (docs/families.md walks through one). The engine gives
every row its own timestep and text; a family never sees jobs, steps, seeds or samplers. A model that has no family runs
as a `PipelineModel`: diffusers' own pipeline, one step at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.catalogue import Capability
from core.job import Request

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB

#: What `denoise` needs besides latents and times, by name: one text's have no batch axis, a batch's are stacked. Rows
#: whose conditions differ in names or shapes cannot share a forward; `Family.pad_to_longest` makes one row's alike.
Conditions = Mapping[str, Tensor]


class Guidance(StrEnum):
    """How a family follows the prompt more closely."""

    CLASSIFIER_FREE = "twice"  # a second forward without the prompt, for every row whose guidance is above 1
    EMBEDDED = "input"  # the model takes the scale as a number: one forward
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """What is changed in a model for the rows of one batch: LoRAs as (name, weight), and edges that meet.

    `files`: for each LoRA the state of its file that counts (`lora_switcher.file_states`); none: what is there then.
    """

    loras: tuple[tuple[str, float], ...] = ()
    tile: bool = False
    files: tuple[str, ...] = ()


class ModelProtocol(Protocol):
    """A loaded model of either kind: a `Family`, whose rows share forwards, or a `PipelineModel`. Sizes are pixels."""

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
    edits: tuple[Capability, ...]  # what it can do by itself, without an adapter or another companion
    parts: Mapping[str, nn.Module]  # its networks by diffusers' names: what memory is counted, moved and compiled by

    def adapt(self, adaptation: Adaptation) -> None:
        """Makes the next encodes, forwards and decodes follow it; cheap when it is what it was.

        Raises LookupError with a sentence when it cannot; everything is then as it was.
        """


class LatentCoder(Protocol):
    """Pictures to latents and back. Latents are float32 on `device`; one picture has no batch axis."""

    device: torch.device
    factor: int
    channels: int

    def encode_picture(self, pixels: Pixels) -> Tensor:
        """A picture as latents [channels, height / factor, width / factor], without randomness."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [channels, h, w] as a picture: float32 in 0 … 1, [3, height, width]."""


class Family(ModelProtocol, LatentCoder, Protocol):
    """A model whose rows share forwards."""

    def encode_prompt(self, text: str, *, negative: bool = False) -> Conditions:
        """What `denoise` needs of a text; the same for the same text, whatever else runs.

        `negative`: the text says what the picture shall not show; an empty one then means nothing at all, which some
        models encode as zeros. LoRAs may change text encoders too, so the engine calls `adapt` first, as before a
        forward, and keeps what it gets by (text, negative, adaptation.loras and files).
        """

    def pad_to_longest(self, texts: Sequence[Conditions]) -> list[Conditions]:
        """The texts of one row, the prompt's and the negative's, made as long as the longest of them."""

    def denoise(self, latents: Tensor, timesteps: Tensor, conditions: Conditions, scales: Tensor) -> Tensor:
        """The model's output, float32, for latents [B, …], timesteps [B], stacked conditions, guidance scales [B]."""


class GenerationRun(Protocol):
    """Some pictures of one request on their way through a pipeline of its own. Used from one thread."""

    steps: int  # that `advance` will take, all pictures together
    done: int  # steps taken; the pictures are there when it is `steps`
    largest_batch: int  # pictures in its largest call of the pipeline

    def advance(self) -> None:
        """Takes one step; the last one decodes too. Raises what the pipeline raised; the run is over then."""

    def preview(self) -> Tensor | None:
        """What the pictures will be like: uint8 [n, h, w, 3], smaller than they; None where that cannot be told."""

    def pictures(self) -> list[Tensor]:
        """The finished ones, as `Family.decode` gives them."""

    def close(self) -> None:
        """Ends it, wherever it is; may be called twice."""


@runtime_checkable
class PipelineModel(ModelProtocol, Protocol):
    """A model whose forwards are shared with nobody; it brings its own sampler and way of following the prompt."""

    def begin(self, request: Request, indices: Sequence[int], rows: int) -> GenerationRun:
        """The pictures with these indices, before their first step, at most `rows` of them at once.

        Raises ValueError when it cannot make them.
        """
