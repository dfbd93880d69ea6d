"""The stage after the last step: latents to pixels, beside the steps of others where the device can.

A picture that does not fit into memory whole is decoded in tiles before anybody hears of it. Knows nothing of jobs.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.cuda_streams import Copy, Lane, borrow
from worker.device import Device, bare, free_cache, is_out_of_memory
from worker.engine.batch import Row
from worker.engine.image_encoding import to_bytes
from worker.engine.loaded_model import Held
from worker.engine.pipeline_row import Solo
from worker.interfaces import Pixels
from worker.memory.placement import tile
from worker.memory.size_estimate import TILE

log = logging.getLogger("darkroom.decoding")

#: Of tiles, in pixels, while memory is full.
SIDES = (TILE, TILE // 2)


@dataclass(frozen=True, slots=True)
class Decoding:
    """A finished row's picture, or all of a run's, on the way to the host."""

    row: Row | Solo
    images: tuple[Copy, ...]
    finite: Copy

    def done(self) -> bool:
        """True when `pixels` would not wait."""
        return self.finite.done()

    def pixels(self) -> list[Pixels]:
        """uint8 [h, w, 3] each. Raises ArithmeticError when the model's numbers overflowed."""
        if not bool(self.finite.wait()):
            raise ArithmeticError("The model's numbers overflowed; DARKROOM_DTYPE=float32 avoids that.")
        return [image.wait().numpy() for image in self.images]


def begin(row: Row | Solo, held: Held, lane: Lane, device: Device) -> Decoding:
    """Orders the decode on `lane`. Raises whatever decoding does, but for what tiles help against."""
    images = _drawn(row, held, device)
    finite = torch.stack([image.isfinite().all() for image in images]).all()
    return Decoding(row, tuple(lane.to_host(to_bytes(image)) for image in images), lane.to_host(finite))


def _images(row: Row | Solo, held: Held) -> list[Tensor]:
    return [held.family.decode(borrow(row.x0))] if isinstance(row, Row) else row.run.pictures()


def tile_smaller(held: Held) -> bool:
    """From now on the model's pictures are decoded in tiles, or smaller ones; False when there are none smaller."""
    return any(tile(held.family.parts.get("vae"), side) for side in SIDES)


def _drawn(row: Row | Solo, held: Held, device: Device) -> list[Tensor]:
    """Whole, else in tiles, smaller ones if need be. Raises the last try's error where that is no way out."""
    found = _tried(row, held)
    for side in SIDES:
        if isinstance(found, list):
            break
        free_cache(device)
        if not isinstance(row, Row) or not tile(held.family.parts.get("vae"), side):
            continue
        log.warning("Memory is full: pictures of %s are decoded in tiles of %d pixels from now on.", held.name, side)
        found = _tried(row, held)
    if isinstance(found, Exception):
        raise found
    return found


def _tried(row: Row | Solo, held: Held) -> list[Tensor] | Exception:
    """The pictures, or how memory was full. Raises whatever else decoding does."""
    try:
        return _images(row, held)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # Bare: its frames would keep all that the try had in memory, while the next one looks for room.
        return bare(error)
