"""Draws one order from its preparation to its finished pictures, without the loop around it, and measures colours."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.events import Submit
from core.job import Request
from tests.worker.companions import open_all
from tests.worker.engine_driver import postcard_request
from worker.checkpoints import LoadedCheckpoint
from worker.edits import PrepareContext, Prepared, prepare
from worker.engine.batch import Batch, Row, new_row
from worker.engine.image_encoding import png, to_bytes
from worker.interfaces import Conditions, Pixels
from worker.samplers import Schedules
from worker.vision import Companions

BOAT = "a red boat on the sea on a sunny day"


def edit_request(**changes: object) -> Request:
    """One picture of a red boat in few steps."""
    return postcard_request(**{"prompt": BOAT, "steps": 10, "count": 1, **changes})


def grey(mask: np.ndarray) -> bytes:
    """A mask as its file."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


class EditDriver:
    """A model and what lies beside it."""

    def __init__(self, loaded: LoadedCheckpoint, companions: Companions | None = None) -> None:
        self.family = loaded.family
        self.companions = companions or open_all(loaded)
        self._schedules = Schedules(loaded.family.scheduler)
        self._texts: dict[str, Conditions] = {}

    def order(
        self, request: Request, source: Pixels | None = None, pictures: tuple[Any, ...] = (), **more: Any
    ) -> Submit:
        """An order as the bot sends it; arrays become files."""
        files = tuple(one if isinstance(one, bytes) else grey(one) if one.ndim == 2 else png(one) for one in pictures)
        data = b"" if source is None else png(source)
        indices = more.pop("indices", tuple(range(request.count)))
        return Submit(job="a", attempt=1, request=request, indices=indices, source=data, pictures=files, **more)

    @torch.inference_mode()
    def prepare(self, order: Submit) -> Prepared:
        """Without a pause."""
        work = prepare(order, PrepareContext(family=self.family, companions=self.companions, text=self._text))
        while True:
            try:
                next(work)
            except StopIteration as end:
                found: Prepared = end.value
                return found

    @torch.inference_mode()
    def draw(
        self, request: Request, source: Pixels | None = None, pictures: tuple[Any, ...] = (), **more: Any
    ) -> list[Pixels]:
        """The finished pictures, all rows in one batch."""
        prepared = self.prepare(self.order(request, source, pictures, **more))
        done = [pixels for _index, pixels in prepared.pictures]
        numbers = replace(request, strength=prepared.strength, sampler=prepared.sampler or request.sampler)
        rows = self._rows(numbers, prepared)
        while rows and not rows[0].is_done:
            Batch.of(rows).advance(self.family)
        for place, row in enumerate(rows):
            picture = prepared.finish(place, to_bytes(self.family.decode(row.x0)).numpy())
            if picture is not None:
                done.append(picture)
        return done

    def _rows(self, request: Request, prepared: Prepared) -> list[Row]:
        schedule = self._schedules.schedule(request.sampler, request.steps, request.strength, request.stop)
        return [
            new_row(
                self.family, job="a", index=start.index, key="", schedule=schedule, guidance=start.guidance,
                seed=request.seed, size=start.size, text=start.text, negative=start.negative, source=start.source,
                keep=start.keep, mask=start.mask, noise=start.noise,
            )
            for start in prepared.starts
        ]  # fmt: skip

    def _text(self, words: str, *, negative: bool = False) -> Conditions:
        key = f"{negative}:{words}"
        if key not in self._texts:
            self._texts[key] = self.family.encode_prompt(words, negative=negative)
        return self._texts[key]


def red(picture: Pixels) -> float:
    """The share of pixels where red stands well above green and blue; orange does not count."""
    r, g, b = (picture[..., channel].astype(int) for channel in range(3))
    return float(((r > np.maximum(g, b) + 60) & (g < 100)).mean())


def yellow(picture: Pixels) -> float:
    """The share where red and green stand well above blue, and near each other."""
    r, g, b = (picture[..., channel].astype(int) for channel in range(3))
    return float(((np.minimum(r, g) > b + 60) & (abs(r - g) < 90)).mean())


def apart(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference of 255."""
    return float(np.abs(one.astype(int) - other).mean())
