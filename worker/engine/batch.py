"""Rows and batches: a row is one picture on its way, a batch is the rows that take the next step in one forward.

A batch keeps its rows' tensors stacked for as long as the same rows stay together; a row's own tensors are views into
it. Knows nothing of jobs, queues, the wire or time.

A row may keep a part of a picture: where its mask says so, the model's idea of x0 is replaced by what is kept, before
the sampler takes its step. Every sampler then leads from the kept latents at one noise level to the kept latents at the
next, with the row's own noise, and ends exactly in them; no sampler needs to know. Grey is for how long, not for how
much: a latent is kept until the share of steps left is no more than its mask's value (differential diffusion,
arXiv 2306.00950), so grey edges are drawn by the model from a start near the picture. Mixing both ideas of a picture
instead shows them through each other.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from worker.interfaces import Conditions, Family, Guidance
from worker.samplers import BEFORE, EARLIER, INPUT, NOISE, TIME, X0, X0_OUT, X0_X, StepSchedule, X


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One picture: what decides it, and how far it is.

    `x0` is the model's present idea of the finished latents, `unguided_x0` the same before guidance: early on guidance
    overshoots by far what any picture holds, and this is nearer to the end. Pictures are decoded from `x0`, previews
    from `unguided_x0`. `past_x0` holds the x0s of the steps before, the latest first.
    """

    job: str
    index: int  # of the picture in its job
    key: Hashable  # rows with the same key can share a forward
    schedule: StepSchedule
    guidance: float
    classifier_free: bool  # its steps take a second forward, without the prompt
    text: Conditions
    negative: Conditions
    generator: torch.Generator  # on the CPU, so that every device draws the same noise
    latents: Tensor
    x0: Tensor
    unguided_x0: Tensor
    keep: Tensor | None = None
    mask: Tensor | None = None
    past_x0: tuple[Tensor, ...] = ()
    done: int = 0  # steps
    batch: "Batch | None" = field(default=None, repr=False)
    _noise: tuple[int, Tensor] | None = field(default=None, repr=False)

    @property
    def forwards(self) -> int:
        """Forwards of the model that a step of this row costs."""
        return 2 if self.classifier_free else 1

    @property
    def steps(self) -> int:
        """Steps that it takes."""
        return len(self.schedule)

    @property
    def is_done(self) -> bool:
        """True when its last step was taken."""
        return self.done >= self.steps

    @property
    def remaining_share(self) -> float:
        """The share of its steps that is still to be taken."""
        return 1 - self.done / self.steps

    def noise(self) -> Tensor:
        """This step's own noise; asked twice for a step (after a failed try), it is the same."""
        if self._noise is None or self._noise[0] != self.done:
            self._noise = (self.done, torch.randn(self.latents.shape, generator=self.generator))
        return self._noise[1]


def new_row(
    family: Family, *, job: str, index: int, key: Hashable, schedule: StepSchedule, guidance: float, seed: int,
    size: tuple[int, int], text: Conditions, negative: Conditions, source: Tensor | None,
    keep: Tensor | None = None, mask: Tensor | None = None, noise: Tensor | None = None,
) -> Row:  # fmt: skip
    """A row before its first step. `size` is (width, height) in pixels, `source` the latents that it starts near.

    `keep`: latents [channels, h, w] of a picture that stays where `mask` [1, h, w] is 0 and is made anew where it is 1;
    in between it stays for the first 1 - mask of the steps. Both or neither, on the family's device, in float32.
    `noise` [channels, h, w]: its first noise, where that shall not be its own generator's.
    """
    width, height = size
    generator = torch.Generator("cpu").manual_seed((seed + index) % 2**32)
    drawn = torch.randn((family.channels, height // family.factor, width // family.factor), generator=generator)
    noise = (drawn if noise is None else noise).to(family.device)
    latents = noise * schedule.from_noise
    if source is not None:
        latents = latents + source * schedule.from_source
    if keep is not None and mask is not None:
        # What is kept lies at the first step's level from the beginning, also where the rest sets out from noise alone.
        alpha, sigma = schedule.level
        latents = torch.where(mask < 1, keep * alpha + noise * sigma, latents)
    return Row(
        job=job, index=index, key=key, schedule=schedule, guidance=guidance,
        classifier_free=family.guidance is Guidance.CLASSIFIER_FREE and guidance > 1, text=text, negative=negative,
        generator=generator, latents=latents, x0=torch.zeros_like(latents), unguided_x0=torch.zeros_like(latents),
        keep=keep, mask=mask,
    )  # fmt: skip


class Batch:
    """Rows of one key, stacked."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self._latents = torch.stack([row.latents for row in rows])
        self._x0 = torch.stack([row.x0 for row in rows])
        self._unguided_x0 = torch.stack([row.unguided_x0 for row in rows])
        self._past_x0 = self._stack_past()
        self._guide = _GuidedDenoiser(rows)
        self._keep = self._mask = None
        if any(row.mask is not None for row in rows):
            still, all_new = torch.zeros_like(rows[0].latents), torch.ones_like(rows[0].latents[:1])
            self._keep = torch.stack([still if row.keep is None else row.keep for row in rows])
            self._mask = torch.stack([all_new if row.mask is None else row.mask for row in rows])
        for place, row in enumerate(rows):
            row.latents, row.x0, row.unguided_x0 = self._latents[place], self._x0[place], self._unguided_x0[place]
            row.past_x0 = tuple(past[place] for past in self._past_x0)
            row.batch = self

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Batch":
        """The batch that these rows already are, or a new one."""
        batch = rows[0].batch
        if batch is not None and batch.rows == tuple(rows) and all(row.batch is batch for row in rows):
            return batch
        return cls(rows)

    def advance(self, family: Family) -> None:
        """One step of every row. If it raises, no row has moved and it can be tried again."""
        numbers = np.stack([row.schedule.table[row.done] for row in self.rows])
        columns = torch.from_numpy(numbers.T.astype(np.float32)).to(self._latents.device)
        by_row = columns[:, :, None, None, None]
        kept = self._kept()
        out, unguided = self._guide.predict(family, self._latents * by_row[INPUT], columns[TIME])
        unguided_x0 = (unguided * by_row[X0_OUT]).addcmul_(self._latents, by_row[X0_X])
        idea = out.mul_(by_row[X0_OUT]).addcmul_(self._latents, by_row[X0_X])
        x0 = self._pin(idea, kept)
        latents = self._latents * by_row[X]
        latents.addcmul_(x0, by_row[X0])
        for past, column in zip(self._past_x0, (BEFORE, EARLIER), strict=False):
            if numbers[:, column].any():
                latents.addcmul_(self._pin(past, kept), by_row[column])
        if numbers[:, NOISE].any():
            latents.addcmul_(self._draw(numbers[:, NOISE]), by_row[NOISE])
        unguided_x0 = self._pin(unguided_x0, kept)
        # From here on nothing asks for memory, so that nothing can raise when some of this has happened.
        self._latents.copy_(latents)
        self._x0.copy_(x0)
        self._unguided_x0.copy_(unguided_x0)
        # The model's own ideas are remembered: what was kept so far says nothing of how they have been changing.
        for past, newer in reversed(list(zip(self._past_x0, (idea, *self._past_x0), strict=False))):
            past.copy_(newer)
        for row in self.rows:
            row.done += 1

    def _stack_past(self) -> tuple[Tensor, ...]:
        """As many earlier x0s as any of the rows looks back at."""
        deep = max(row.schedule.lookback for row in self.rows)
        past = [[row.past_x0[k] if k < len(row.past_x0) else row.x0 for row in self.rows] for k in range(deep)]
        return tuple(torch.stack(rows) for rows in past)

    def _kept(self) -> Tensor | None:
        """Where the rows keep what they had, in this step."""
        if self._mask is None:
            return None
        left = torch.tensor([row.remaining_share for row in self.rows], device=self._mask.device)
        return self._mask < left[:, None, None, None]

    def _pin(self, latents: Tensor, kept: Tensor | None) -> Tensor:
        return latents if kept is None or self._keep is None else torch.where(kept, self._keep, latents)

    def _draw(self, amounts: np.ndarray) -> Tensor:
        still = torch.zeros(self._latents.shape[1:])
        noise = [row.noise() if amount else still for row, amount in zip(self.rows, amounts, strict=True)]
        return torch.stack(noise).to(self._latents.device)


class _GuidedDenoiser:
    """Asks the model for a batch's rows, with their prompts and, for those that follow them closely, without."""

    def __init__(self, rows: Sequence[Row]) -> None:
        device = rows[0].latents.device
        guided = [place for place, row in enumerate(rows) if row.classifier_free]
        self._count, self._all = len(guided), len(guided) == len(rows)
        self._guided = torch.tensor(guided, device=device)
        scales = [rows[place].guidance for place in guided] + [row.guidance for row in rows]
        self._scales = torch.tensor(scales, dtype=torch.float32, device=device)
        self._scale = self._scales[: len(guided), None, None, None]
        texts = _stacked([row.text for row in rows])
        without = _stacked([rows[place].negative for place in guided])
        self._conditions = {name: torch.cat([without[name], text]) for name, text in texts.items()} if guided else texts
        rescales = [row.schedule.rescale for row in rows]
        self._rescale = torch.tensor(rescales, device=device)[:, None, None, None] if any(rescales) else None

    def predict(self, family: Family, latents: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Each row's output, guided and before guidance; rows that need none cost one forward, the others two."""
        if not self._count:
            out = family.denoise(latents, times, self._conditions, self._scales)
            return out, out
        without, out = self._ask(family, latents, times)
        if self._all:
            guided = without + self._scale * (out - without)
        else:
            guided = out.clone()
            guided[self._guided] = without + self._scale * (out[self._guided] - without)
        if self._rescale is not None:
            wider = _spread(out) / _spread(guided)
            guided = guided * (1 + self._rescale * (wider - 1))
        return guided, out

    def _ask(self, family: Family, latents: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """The guided rows' outputs without their prompts, and all rows' with them."""
        guided_inputs = (latents, times) if self._all else (latents[self._guided], times[self._guided])
        count = self._count
        both = torch.cat([guided_inputs[0], latents]), torch.cat([guided_inputs[1], times])
        every = family.denoise(*both, self._conditions, self._scales)
        return every[:count], every[count:]


def condition_shapes(conditions: Conditions) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes: rows that differ in them cannot share a forward."""
    return tuple((name, tuple(value.shape)) for name, value in sorted(conditions.items()))


def _stacked(conditions: Sequence[Conditions]) -> Mapping[str, Tensor]:
    names = conditions[0] if conditions else ()
    return {name: torch.stack([each[name] for each in conditions]) for name in names}


def _spread(out: Tensor) -> Tensor:
    return out.std(dim=(1, 2, 3), keepdim=True)
