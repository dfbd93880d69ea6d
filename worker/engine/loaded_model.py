"""A model in memory, with what is worked out from it once: samplers' tables, the map of previews, texts' encodings.

Knows nothing of how many models there are.
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from core.job import MadeWith
from worker import ENGINE
from worker.checkpoint_formats.kinds import CannotLoad
from worker.checkpoints.loader import Loaded
from worker.cuda_streams import borrow
from worker.device import Device
from worker.edits import Desk
from worker.engine.batch import Row
from worker.engine.pipeline_row import Solo
from worker.engine.task import CannotCompute, Task
from worker.families.latent_preview import Sketcher
from worker.families.lora_switcher import states
from worker.families.smoke_test import small_side, try_out
from worker.interfaces import Adaptation, Conditions, Family, Whole
from worker.samplers import Schedules

#: Encodings kept for each model, in the host's memory: FLUX has four megabytes for each.
TEXTS, TEXTS_BYTES = 256, 256 << 20
#: Pixels of a token's side, in latents: flow models see two by two of them at once.
TOKEN = 2


@dataclass(slots=True, kw_only=True)
class Held:
    """One model, ready for jobs."""

    loaded: Loaded
    schedules: Schedules
    sketcher: Sketcher | None  # None for models that draw their own drafts
    made_with: MadeWith
    _adapted: Adaptation = field(default_factory=Adaptation)
    _texts: OrderedDict[tuple[object, ...], Conditions] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    @torch.inference_mode()
    def of(cls, loaded: Loaded, device: Device) -> "Held":
        """Tries the model out on the way, before another one goes for it.

        Raises CannotLoad for one that makes no picture.
        """
        family, info = loaded.family, loaded.info
        if loaded.boost is not None:  # nobody asks for these shapes: nothing is to be compiled for them
            loaded.boost.follow(plain=False)
        try:
            try_out(family, small_side(family))
            sketcher = None if isinstance(family, Whole) else Sketcher.fit(family)
        except Exception as error:
            # Libraries raise whatever they like on weights that do not fit; the owner needs one sentence.
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise CannotLoad(f"{info.name} could be loaded, but makes no picture ({text}).") from error
        if loaded.boost is not None:
            loaded.boost.follow(plain=True)
        return cls(
            loaded=loaded,
            schedules=Schedules(family.scheduler, family.factor * TOKEN),
            sketcher=sketcher,
            made_with=MadeWith(
                model=info.name, digest=info.digest, dtype=info.dtype, device=device.name, engine=ENGINE
            ),
        )

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.loaded.info.name

    @property
    def family(self) -> Family:
        """What computes rows. `admit.py` lets no job through to a `Whole` that would need any."""
        return cast("Family", self.loaded.family)

    def adapt(self, adaptation: Adaptation) -> None:
        """Before each encode and forward. Raises CannotCompute for what this model cannot be made to do."""
        try:
            self.loaded.family.adapt(adaptation)
            self._adapted = adaptation
        except LookupError as error:
            raise CannotCompute(str(error.args[0]) if error.args else "This model lacks what was asked for.") from error
        if self.loaded.boost is not None:
            self.loaded.boost.follow(plain=adaptation == Adaptation())

    def adapt_decoder(self, adaptation: Adaptation) -> None:
        """Before each decode: whether edges meet, and nothing else.

        LoRAs are not the decoder's, and their weights may be in use by a forward beside it.
        """
        self.adapt(replace(self._adapted, tile=adaptation.tile))

    def leave(self) -> None:
        """Before its networks leave the device: nothing that was worked out of them stays there."""
        self._texts.clear()
        if self.loaded.boost is not None:
            self.loaded.boost.leave()

    def come_back(self) -> None:
        """Once its networks are there again."""
        if self.loaded.boost is not None:
            self.loaded.boost.come_back()

    @property
    def padding(self) -> int:
        """Rows of the last step that nobody ordered."""
        return self.loaded.boost.padding if self.loaded.boost is not None else 0

    def drafts(self, task: Task) -> Tensor | None:
        """The drafts of a job's rows as they are now, [n, channels, h, w]: the next step writes over the rows' own."""
        rows = [row.draft for row in task.rows if isinstance(row, Row)]
        return torch.stack(rows) if rows else None

    def sketch(self, task: Task, drafts: Tensor | None) -> Tensor | None:
        """What a job's pictures look like so far, uint8 [n, h, w, 3] on the device; None where that cannot be told."""
        if self.sketcher is not None and drafts is not None:
            return self.sketcher.sketch(borrow(drafts))
        runs = [row.run for row in task.rows if isinstance(row, Solo)]
        return runs[0].draft() if runs else None

    def lora_files(self, adaptation: Adaptation) -> tuple[str, ...]:
        """The states that its LoRAs' files are in now: a job goes on with those that it began with."""
        return states(self.loaded.loras, [name for name, _ in adaptation.loras])

    def desk(self, adaptation: Adaptation) -> Desk:
        """For preparing a job with it; encodings are kept by the LoRAs too, for these may change text encoders."""

        def text(words: str, *, negative: bool = False) -> Conditions:
            return self._text(words, negative, adaptation)

        return Desk(family=self.family, tools=self.loaded.tools, text=text)

    def _text(self, words: str, negative: bool, adaptation: Adaptation) -> Conditions:
        """Each text alone, so that it does not depend on its company. Raises CannotCompute."""
        key = words, negative, adaptation.loras, adaptation.files
        known = self._texts.get(key)
        if known is not None:
            self._texts.move_to_end(key)
            return {name: value.to(self.family.device) for name, value in known.items()}
        try:
            encoded = self.family.encode_prompt(words, negative=negative)
        except ValueError as error:
            raise CannotCompute(str(error)) from error
        self._texts[key] = {name: value.cpu() for name, value in encoded.items()}
        while len(self._texts) > TEXTS or sum(map(_bytes, self._texts.values())) > TEXTS_BYTES:
            self._texts.popitem(last=False)
        return encoded


def _bytes(text: Conditions) -> int:
    return sum(value.nbytes for value in text.values())
