"""A job that the worker has: its order, its rows, what is finished. Knows nothing of how rows are computed."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from core.events import Submit
from core.job import Kind, MadeWith
from worker.edits import Prepared, grid_of
from worker.engine.batch import Row
from worker.engine.pipeline_row import PipelineRow
from worker.errors import CannotCompute
from worker.interfaces import Adaptation, ModelProtocol, PipelineModel
from worker.samplers import MAX_STEPS

#: A first preview after this share of the steps, but after no more than `FIRST_PREVIEW_MAX_STEPS` of them.
FIRST_PREVIEW_SHARE = 8
FIRST_PREVIEW_MAX_STEPS = 3


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """One attempt at one job."""

    order: Submit
    preparing: Generator[None, None, Prepared] | None = None  # begun, and not in the loop yet
    prepared: Prepared | None = None
    rows: list[Row | PipelineRow] = field(default_factory=list)  # in the order of `prepared.starts`
    made_with: MadeWith | None = None  # what was said to draw it, since its rows entered
    undecoded: int = 0
    paused: bool = False  # takes no step until it is told to go on
    runs_alone: bool = False  # its last shared forward raised: from now on no other job is in its batch
    reported_at: float = 0.0  # monotonic seconds of its last progress
    previewed_at: float | None = None
    lora_files: tuple[str, ...] = ()  # the states of its LoRAs' files as it began; empty until then
    ran_out_of_memory: bool = False  # memory was full while it was prepared
    result_failed: str = ""  # a picture of it was computed, but could not be finished: the sentence that says so

    @property
    def id(self) -> str:
        """The id of the job that it is a part of."""
        return self.order.job

    @property
    def attempt(self) -> int:
        """Which try at it."""
        return self.order.attempt

    @property
    def model(self) -> str:
        """The name of the model that it asks for."""
        return self.order.request.model

    @property
    def is_begun(self) -> bool:
        """True from the first piece of its preparation on."""
        return self.preparing is not None or self.prepared is not None

    @property
    def needs_its_model(self) -> bool:
        """True while something of it would be lost with the model: its preparation, or a run of a pipeline."""
        under_way = self.preparing is not None and self.prepared is None
        return under_way or any(isinstance(row, PipelineRow) for row in self.rows)

    @property
    def adaptation(self) -> Adaptation:
        """What is changed in the model for it."""
        request = self.order.request
        loras = sorted((lora.name, lora.weight) for lora in request.loras)
        return Adaptation(loras=tuple(loras), tile=request.tile, files=self.lora_files)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.order.request.width, self.order.request.height

    @property
    def step(self) -> int:
        """Steps done by the slowest row."""
        return min(row.done for row in self.rows)

    @property
    def steps(self) -> int:
        """Steps that each row takes."""
        return self.rows[0].steps

    def close(self) -> None:
        """Ends what is still under way."""
        if self.preparing is not None:
            self.preparing.close()
        for row in self.rows:
            if isinstance(row, PipelineRow):
                row.run.close()

    def wants_preview(self, now: float, every: float) -> bool:
        """True when a preview is due: one early, then by the clock; none when the pictures themselves come next."""
        seen = self.order.previews and self.prepared is not None and self.prepared.previews
        if not seen or self.step == 0 or self.step >= self.steps:
            return False
        if self.previewed_at is None:
            return self.step >= min(FIRST_PREVIEW_MAX_STEPS, max(1, self.steps // FIRST_PREVIEW_SHARE))
        return now - self.previewed_at >= every


def check_request(order: Submit, family: ModelProtocol, samplers: tuple[str, ...]) -> None:
    """Raises CannotCompute when the numbers of a request cannot work with this model."""
    request = order.request
    if order.kind is Kind.DESCRIBE:
        return
    unit = _size_unit(order, family)
    problems: Mapping[str, bool] = {
        f"This model has no sampler {request.sampler!r}; it has {', '.join(samplers)}.": request.sampler
        not in samplers,
        f"{request.width}×{request.height} does not suit this model: both sides must be multiples of {unit} pixels.": (
            min(request.width, request.height) < unit or bool(request.width % unit or request.height % unit)
        ),
        f"{request.steps} steps are not possible: use 1 to {MAX_STEPS}.": not 1 <= request.steps <= MAX_STEPS,
        "The order names no picture.": not order.indices or min(order.indices) < 0,
    }
    for sentence, wrong in problems.items():
        if wrong:
            raise CannotCompute(sentence)


def _size_unit(order: Submit, family: ModelProtocol) -> int:
    """What the sides of its pictures have to be multiples of, in pixels."""
    if order.source and not order.request.tile:
        # `edits` draw it on the model's grid and cut it to any size; edges that meet would not survive that.
        return 1
    # Convolutions take any latents. Transformers look at patches of them; a `PipelineModel` says itself what it takes.
    patches = "transformer" in family.parts and not isinstance(family, PipelineModel)
    return grid_of(family) if patches else family.factor
