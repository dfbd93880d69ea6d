"""Rows and batches: a row is one picture on its way, a batch is the rows that take the next step in one forward.

A batch keeps its rows' tensors stacked for as long as the same rows stay together; a row's own tensors are views into
it. Knows nothing of jobs, queues, the wire or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from worker.families.base import Conditions, Family, Guidance
from worker.samplers import BEFORE, INPUT, NOISE, TIME, X0, X0_OUT, X0_X, Plan, X


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One picture: what decides it, and how far it is.

    `x0` is the model's present idea of the finished latents, `draft` the same before guidance: early on guidance
    overshoots by far what any picture holds, and the draft is nearer to the end. Samplers take x0, previews the draft.
    """

    job: str
    index: int  # of the picture in its job
    key: str  # rows with the same key can share a forward
    plan: Plan
    guidance: float
    twice: bool  # its steps take a second forward, without the prompt
    text: Conditions
    negative: Conditions
    generator: torch.Generator  # on the CPU, so that every device draws the same noise
    latents: Tensor
    x0: Tensor
    draft: Tensor
    done: int = 0  # steps
    batch: "Batch | None" = field(default=None, repr=False)
    _noise: tuple[int, Tensor] | None = field(default=None, repr=False)

    @property
    def forwards(self) -> int:
        """Forwards of the model that a step of this row costs."""
        return 2 if self.twice else 1

    @property
    def is_done(self) -> bool:
        """True when its last step was taken."""
        return self.done >= len(self.plan)

    def noise(self) -> Tensor:
        """This step's own noise; asked twice for a step (after a failed try), it is the same."""
        if self._noise is None or self._noise[0] != self.done:
            self._noise = (self.done, torch.randn(self.latents.shape, generator=self.generator))
        return self._noise[1]


def new_row(
    family: Family, *, job: str, index: int, key: str, plan: Plan, guidance: float, seed: int,
    size: tuple[int, int], text: Conditions, negative: Conditions, source: Tensor | None,
) -> Row:  # fmt: skip
    """A row before its first step. `size` is (width, height) in pixels, `source` the latents that it starts near."""
    width, height = size
    generator = torch.Generator("cpu").manual_seed((seed + index) % 2**32)
    noise = torch.randn((family.channels, height // family.factor, width // family.factor), generator=generator)
    latents = noise.to(family.device) * plan.from_noise
    if source is not None:
        latents = latents + source * plan.from_source
    return Row(
        job=job, index=index, key=key, plan=plan, guidance=guidance,
        twice=family.guidance is Guidance.TWICE and guidance > 1, text=text, negative=negative,
        generator=generator, latents=latents, x0=torch.zeros_like(latents), draft=torch.zeros_like(latents),
    )  # fmt: skip


class Batch:
    """Rows of one key, stacked."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self._latents = torch.stack([row.latents for row in rows])
        self._x0 = torch.stack([row.x0 for row in rows])
        self._draft = torch.stack([row.draft for row in rows])
        guided = [place for place, row in enumerate(rows) if row.forwards == 2]
        self._guided = torch.tensor(guided, device=self._latents.device)
        self._all_guided = len(guided) == len(rows)
        texts = [rows[place].negative for place in guided] + [row.text for row in rows]
        self._conditions = {name: torch.stack([text[name] for text in texts]) for name in texts[0]}
        scales = [rows[place].guidance for place in guided] + [row.guidance for row in rows]
        self._scales = torch.tensor(scales, dtype=torch.float32, device=self._latents.device)
        self._scale = self._scales[: len(guided), None, None, None]
        for place, row in enumerate(rows):
            row.latents, row.x0, row.draft = self._latents[place], self._x0[place], self._draft[place]
            row.batch = self

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Batch":
        """The batch that these rows already are, or a new one."""
        batch = rows[0].batch
        if batch is not None and batch.rows == tuple(rows) and all(row.batch is batch for row in rows):
            return batch
        return cls(rows)

    @property
    def forwards(self) -> int:
        """How many samples one forward of it holds."""
        return len(self._scales)

    def advance(self, family: Family) -> None:
        """One step of every row. If it raises, no row has moved and it can be tried again."""
        numbers = np.stack([row.plan.table[row.done] for row in self.rows])
        columns = torch.from_numpy(numbers.T.astype(np.float32)).to(self._latents.device)
        by_row = columns[:, :, None, None, None]
        out, unguided = self._predict(family, self._latents * by_row[INPUT], columns[TIME])
        draft = (unguided * by_row[X0_OUT]).addcmul_(self._latents, by_row[X0_X])
        x0 = out.mul_(by_row[X0_OUT]).addcmul_(self._latents, by_row[X0_X])
        latents = self._latents * by_row[X]
        latents.addcmul_(x0, by_row[X0])
        if numbers[:, BEFORE].any():
            latents.addcmul_(self._x0, by_row[BEFORE])
        if numbers[:, NOISE].any():
            latents.addcmul_(self._draw(numbers[:, NOISE]), by_row[NOISE])
        self._latents.copy_(latents)
        self._x0.copy_(x0)
        self._draft.copy_(draft)
        for row in self.rows:
            row.done += 1

    def _predict(self, family: Family, latents: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Each row's output, guided and before guidance; rows that need none cost one forward, the others two."""
        count = len(self._guided)
        if not count:
            out = family.denoise(latents, times, self._conditions, self._scales)
            return out, out
        if self._all_guided:
            every = family.denoise(torch.cat([latents] * 2), torch.cat([times] * 2), self._conditions, self._scales)
            without, out = every.chunk(2)
            return without + self._scale * (out - without), out
        both = torch.cat([latents[self._guided], latents]), torch.cat([times[self._guided], times])
        every = family.denoise(*both, self._conditions, self._scales)
        without, out = every[:count], every[count:]
        guided = out.clone()
        guided[self._guided] = without + self._scale * (out[self._guided] - without)
        return guided, out

    def _draw(self, amounts: np.ndarray) -> Tensor:
        still = torch.zeros(self._latents.shape[1:])
        noise = [row.noise() if amount else still for row, amount in zip(self.rows, amounts, strict=True)]
        return torch.stack(noise).to(self._latents.device)
