"""The stage after the last step: latents to pixels, beside the steps of others where the device can.

A picture that does not fit into memory whole is decoded in tiles before anybody hears of it. Knows nothing of jobs.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.cuda_streams import HostCopy, SideStream, record_stream
from worker.device import Device, free_cache, is_out_of_memory, without_traceback
from worker.engine.batch import Row
from worker.engine.image_encoding import to_bytes
from worker.engine.loaded_model import LoadedModel
from worker.engine.pipeline_row import PipelineRow
from worker.interfaces import Pixels
from worker.memory import TILE_SIDE, enable_tiling

log = logging.getLogger("darkroom.decoding")

#: Of tiles, in pixels, while memory is full.
TILE_SIDES = (TILE_SIDE, TILE_SIDE // 2)


@dataclass(frozen=True, slots=True)
class PendingDecode:
    """A finished row's picture, or all of a run's, on the way to the host."""

    row: Row | PipelineRow
    images: tuple[HostCopy, ...]
    finite: HostCopy

    def done(self) -> bool:
        """True when `pixels` would not wait."""
        return self.finite.done()

    def pixels(self) -> list[Pixels]:
        """uint8 [h, w, 3] each. Raises ArithmeticError when the model's numbers overflowed."""
        if not bool(self.finite.wait()):
            raise ArithmeticError("The model's numbers overflowed; DARKROOM_DTYPE=float32 avoids that.")
        return [image.wait().numpy() for image in self.images]


def start_decode(row: Row | PipelineRow, model: LoadedModel, side_stream: SideStream, device: Device) -> PendingDecode:
    """Orders the decode on `side_stream`. Raises whatever decoding does, but for what tiles help against."""
    images = _decoded(row, model, device)
    finite = torch.stack([image.isfinite().all() for image in images]).all()
    copies = tuple(side_stream.to_host(to_bytes(image)) for image in images)
    return PendingDecode(row, copies, side_stream.to_host(finite))


def _images(row: Row | PipelineRow, model: LoadedModel) -> list[Tensor]:
    return [model.family.decode(record_stream(row.x0))] if isinstance(row, Row) else row.run.pictures()


def tile_smaller(model: LoadedModel) -> bool:
    """From now on the model's pictures are decoded in tiles, or smaller ones; False when there are none smaller."""
    return any(enable_tiling(model.family.parts.get("vae"), side) for side in TILE_SIDES)


def _decoded(row: Row | PipelineRow, model: LoadedModel, device: Device) -> list[Tensor]:
    """Whole, else in tiles, smaller ones if need be. Raises the last try's error where that is no way out."""
    found = _tried(row, model)
    for side in TILE_SIDES:
        if isinstance(found, list):
            break
        free_cache(device)
        if not isinstance(row, Row) or not enable_tiling(model.family.parts.get("vae"), side):
            continue
        log.warning("Memory is full: pictures of %s are decoded in tiles of %d pixels from now on.", model.name, side)
        found = _tried(row, model)
    if isinstance(found, Exception):
        raise found
    return found


def _tried(row: Row | PipelineRow, model: LoadedModel) -> list[Tensor] | Exception:
    """The pictures, or how memory was full. Raises whatever else decoding does."""
    try:
        return _images(row, model)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # Without its traceback: its frames would keep what the try had in memory, while the next looks for some.
        return without_traceback(error)
