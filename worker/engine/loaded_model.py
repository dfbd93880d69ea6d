"""A model in memory, with what is worked out from it once: samplers' tables, the map of previews, texts' encodings.

Knows nothing of how many models there are.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from core.job import MadeWith, Request
from worker import ENGINE
from worker.checkpoints.loader import LoadedCheckpoint
from worker.cuda_streams import record_stream
from worker.device import Device
from worker.edits import PrepareContext
from worker.engine.batch import Row
from worker.engine.pipeline_row import PipelineRow
from worker.engine.task import Task
from worker.errors import CannotCompute, CannotLoad
from worker.families.latent_preview import LatentPreview
from worker.families.lora_switcher import file_states
from worker.interfaces import Adaptation, Conditions, Family, PipelineModel
from worker.memory.offload_plan import OffloadPlan, plan_with_companions
from worker.samplers import Schedules
from worker.vision.companions import CompanionKind, LazyCompanions, OpenCompanion

#: Encodings kept for each model, in the host's memory: FLUX has four megabytes for each.
MAX_TEXTS, MAX_TEXT_BYTES = 256, 256 << 20
#: Pixels of a token's side, in latents: flow models see two by two of them at once.
TOKEN_LATENTS = 2
#: What a model is tried with before it is used: what it cannot compute shows now, and not in somebody's job.
SMOKE_TEST_PROMPT = "a test"
#: Of the native side: enough for networks that halve a picture several times, and next to no work.
_SMALL = 4


@dataclass(slots=True, kw_only=True)
class LoadedModel:
    """One model, ready for jobs."""

    loaded: LoadedCheckpoint
    schedules: Schedules
    latent_preview: LatentPreview | None  # None for models that make their own previews
    made_with: MadeWith
    plan: OffloadPlan  # how it lies on the device, with the companions that are in memory
    _adapted: Adaptation = field(default_factory=Adaptation)
    _texts: OrderedDict[tuple[object, ...], Conditions] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    @torch.inference_mode()
    def of(cls, loaded: LoadedCheckpoint, device: Device) -> "LoadedModel":
        """Tries the model out on the way, before another one goes for it.

        Raises CannotLoad for one that makes no picture.
        """
        family, info = loaded.family, loaded.info
        if loaded.compiled_model is not None:  # nobody asks for these shapes: nothing is to be compiled for them
            loaded.compiled_model.set_plain(plain=False)
        try:
            smoke_test(family, smoke_test_side(family))
            latent_preview = None if isinstance(family, PipelineModel) else LatentPreview.fit(family)
        except Exception as error:
            # Libraries raise whatever they like on weights that do not fit; the owner needs one sentence.
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise CannotLoad(f"{info.name} could be loaded, but makes no picture ({text}).") from error
        if loaded.compiled_model is not None:
            loaded.compiled_model.set_plain(plain=True)
        return cls(
            loaded=loaded,
            schedules=Schedules(family.scheduler, family.factor * TOKEN_LATENTS),
            latent_preview=latent_preview,
            plan=loaded.plan,
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
        """What computes rows. `prepare_job.py` lets no job through to a `PipelineModel` that would need any."""
        return cast("Family", self.loaded.family)

    @property
    def companions(self) -> LazyCompanions:
        """What lies beside it."""
        return self.loaded.companions

    @property
    def memory_mb(self) -> int:
        """On the device, with the companions that are in memory."""
        return self.loaded.memory_mb + self.companions.memory_mb

    def plan_with(self, more_mb: int) -> OffloadPlan:
        """How it would lie with so much more beside it. Raises NoRoom or CannotLoad where it would not."""
        return plan_with_companions(self.loaded.plan, self.companions.memory_mb + more_mb, self.name)

    def add_companion(self, kind: CompanionKind, opened: OpenCompanion) -> None:
        """A companion that was opened is its own from now on."""
        self.companions.add(kind, opened, self.family.parts)
        self._update_plan()

    def unload_companion(self, kind: CompanionKind) -> None:
        """A companion leaves memory; the next job that needs it has it opened again."""
        self.companions.unload(kind, self.family.parts)
        self._update_plan()

    def withdraw_companion(self, kind: CompanionKind) -> None:
        """From now on it cannot do what only this companion made possible."""
        before = set(self.companions.edits)
        self.companions.withdraw(kind, self.family.parts)
        self._update_plan()
        gone = before - {*self.companions.edits, *self.family.edits}
        edits = tuple(edit for edit in self.loaded.info.edits if edit not in gone)
        self.loaded = replace(self.loaded, info=replace(self.loaded.info, edits=edits))

    def _update_plan(self) -> None:
        with suppress(CannotLoad):  # it lies as it does, and recovers from full memory as ever
            self.plan = self.plan_with(0)

    def adapt(self, adaptation: Adaptation) -> None:
        """Before each encode and forward. Raises CannotCompute for what this model cannot be made to do."""
        try:
            self.loaded.family.adapt(adaptation)
            self._adapted = adaptation
        except LookupError as error:
            raise CannotCompute(str(error.args[0]) if error.args else "This model lacks what was asked for.") from error
        if self.loaded.compiled_model is not None:
            self.loaded.compiled_model.set_plain(plain=adaptation == Adaptation())

    def adapt_decoder(self, adaptation: Adaptation) -> None:
        """Before each decode: whether edges meet, and nothing else.

        LoRAs are not the decoder's, and their weights may be in use by a forward at the same time.
        """
        self.adapt(replace(self._adapted, tile=adaptation.tile))

    def release_device_memory(self) -> None:
        """Before its networks are moved off the device: nothing that was worked out of them stays there."""
        self._texts.clear()
        if self.loaded.compiled_model is not None:
            self.loaded.compiled_model.release()

    def restore(self) -> None:
        """Once its networks are on the device again."""
        if self.loaded.compiled_model is not None:
            self.loaded.compiled_model.restore()

    @property
    def padding(self) -> int:
        """Rows of the last step that nobody ordered."""
        return self.loaded.compiled_model.padding if self.loaded.compiled_model is not None else 0

    def preview_latents(self, task: Task) -> Tensor | None:
        """What a job's preview is made of, [n, channels, h, w]; a copy, for the next step writes over the rows' own."""
        rows = [row.unguided_x0 for row in task.rows if isinstance(row, Row)]
        return torch.stack(rows) if rows else None

    def preview(self, task: Task, latents: Tensor | None) -> Tensor | None:
        """What a job's pictures look like so far, uint8 [n, h, w, 3] on the device; None where that cannot be told."""
        if self.latent_preview is not None and latents is not None:
            return self.latent_preview.preview(record_stream(latents))
        runs = [row.run for row in task.rows if isinstance(row, PipelineRow)]
        return runs[0].preview() if runs else None

    def lora_files(self, adaptation: Adaptation) -> tuple[str, ...]:
        """The states that its LoRAs' files are in now: a job goes on with those that it began with."""
        return file_states(self.loaded.loras, [name for name, _ in adaptation.loras])

    def context(self, adaptation: Adaptation) -> PrepareContext:
        """For preparing a job with it; encodings are kept by the LoRAs too, for these may change text encoders."""

        def text(words: str, *, negative: bool = False) -> Conditions:
            return self._text(words, negative, adaptation)

        return PrepareContext(family=self.family, companions=self.companions.in_memory, text=text)

    def _text(self, words: str, negative: bool, adaptation: Adaptation) -> Conditions:
        """Each text alone, so that it does not depend on others. Raises CannotCompute."""
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
        while len(self._texts) > MAX_TEXTS or sum(map(_bytes, self._texts.values())) > MAX_TEXT_BYTES:
            self._texts.popitem(last=False)
        return encoded


def _bytes(text: Conditions) -> int:
    return sum(value.nbytes for value in text.values())


def smoke_test_side(family: Family | PipelineModel) -> int:
    """Pixels of the side of a square that is quickly tried."""
    return max(1, -(-family.native // (_SMALL * family.multiple))) * family.multiple


@torch.inference_mode()
def smoke_test(family: Family | PipelineModel, side: int) -> None:
    """A text, a forward and a decode at this size, or the pipeline's own step. Raises whatever goes wrong."""
    if isinstance(family, PipelineModel):
        _run(family, side)
        return
    latents = torch.zeros(1, family.channels, side // family.factor, side // family.factor, device=family.device)
    text = {name: value[None] for name, value in family.encode_prompt(SMOKE_TEST_PROMPT).items()}
    one = torch.ones(1, device=family.device)
    family.denoise(latents, one, text, one)
    family.decode(latents[0])


def _run(whole: PipelineModel, side: int) -> None:
    request = Request(
        prompt=SMOKE_TEST_PROMPT, width=side, height=side, seed=0, steps=1, guidance=1.0, sampler="", model=""
    )  # fmt: skip
    run = whole.begin(request, (0,), 1)
    try:
        while run.done < run.steps:
            run.advance()
    finally:
        run.close()
