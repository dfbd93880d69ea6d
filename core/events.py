"""All that a worker can say, and all that it can be told, as frozen values.

Job events and job orders carry (job, attempt): whoever hears a late one compares attempts and drops it.
GPU time is in milliseconds of the device, never of the wall. A field's type says what it may be, down to its range
(`core/wire_values.py`); `core/wire.py` holds what arrives against it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from core.job import Kind, MadeWith, Request
from core.wire_values import (
    AttemptNumber,
    Count,
    GpuTime,
    JobId,
    Line,
    Many,
    Name,
    Range,
    Sentence,
    ShortWords,
    Side,
    Step,
)

PROTOCOL = 3
#: Far more than any worker has: models that it has ever loaded, and jobs in its hands.
MOST_MODELS, MOST_JOBS = 1000, 4096


class Phase(StrEnum):
    """What a worker is doing right now; each phase has its own deadline (`PHASE_DEADLINE_SECONDS`)."""

    IDLE = "idle"
    LOADING = "loading"
    COMPILING = "compiling"
    ENCODING = "encoding"
    STEPPING = "stepping"
    DECODING = "decoding"


#: How long a worker may stay in one phase *without progress* before it counts as hung, in seconds. Heartbeats carry how
#: long the current phase has lasted, so a worker whose heartbeat thread lives while its loop hangs is found too.
PHASE_DEADLINE_SECONDS = {
    Phase.IDLE: float("inf"),
    Phase.LOADING: 1800.0,
    Phase.COMPILING: 1800.0,
    Phase.ENCODING: 120.0,
    Phase.STEPPING: 120.0,
    Phase.DECODING: 120.0,
}
HEARTBEAT_SECONDS = 1.0


class FailureKind(StrEnum):
    """Why a worker gave a job up."""

    INVALID = "invalid"  # this job can never work here (size, sampler, broken source)
    OUT_OF_MEMORY = "out_of_memory"  # not even with one row
    ERROR = "error"  # an exception while computing it


# --- what a worker says about itself -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What the loaded model is and can do; the bot keeps the last one to speak before a worker is there."""

    name: Name
    family: Name
    digest: str
    dtype: str
    native: Annotated[int, Range(1, 1 << 16)]  # the side in pixels of its native square
    multiple: Annotated[int, Range(1, 1 << 16)]  # width and height are multiples of this
    steps: Annotated[int, Range(1, 10_000)]
    guidance: Annotated[float, Range(-1000, 1000)]
    sampler: Name
    samplers: Annotated[tuple[Name, ...], Many(256)]
    #: Of core.catalogue.Edit: what it can do besides pictures from words.
    edits: Annotated[tuple[Name, ...], Many(256)] = ()
    #: Of core.parameters: what changes nothing with it.
    ignores: Annotated[tuple[Name, ...], Many(256)] = ()
    negative_above: Annotated[float, Range(-1000, 1000)] = 1.0  # at a higher guidance than this `--no` counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First word of a worker: answers the bot's challenge. `proof` = HMAC-SHA256(key, challenge) in hex."""

    protocol: int
    version: ShortWords
    proof: Annotated[str, Line(128)]
    name: ShortWords
    pid: Annotated[int, Range(0, 1 << 31)]
    device: ShortWords
    memory_mb: Count
    max_rows: Annotated[int, Range(0, 1 << 20)]  # rows that fit in one forward at the native size


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded: orders can be computed from now on. Orders sent before wait inside the worker."""

    model: ModelInfo
    load_ms: GpuTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Which models are in memory now, oldest use first; the others of the catalogue take a load before their step.

    Sent after every load and every unload. `known`: those that this worker has ever loaded, with what they can do.
    """

    loaded: Annotated[tuple[Name, ...], Many(MOST_MODELS)]
    known: Annotated[tuple[ModelInfo, ...], Many(MOST_MODELS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed:
    """The first model cannot be loaded; the sentence says why and what to do.

    The worker exits after it, unless it `stays` for the other models of the catalogue; Models follows then.
    """

    sentence: Sentence
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Sent every HEARTBEAT_SECONDS by a thread of its own. `jobs`: (job, attempt) in the worker's hands.

    `phase_seconds`: for how long this phase has made no progress. `computing`: the jobs of the forward (or encode or
    decode) going on, for telling who was on the GPU when a worker is lost.
    """

    phase: Phase
    phase_seconds: Annotated[float, Range(0, 1e9)]
    jobs: Annotated[tuple[tuple[JobId, AttemptNumber], ...], Many(MOST_JOBS)] = ()
    computing: Annotated[tuple[JobId, ...], Many(MOST_JOBS)] = ()
    busy_ms: Count = 0  # device time since the worker started: Σ jobs' gpu_ms + Σ overhead


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadTime:
    """Device time that no job pays: `cause` is load, warmup, preview, padding, oom, …"""

    cause: Annotated[str, Line(40)]
    gpu_ms: GpuTime


# --- what a worker says about a job --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The job's rows entered the loop."""

    job: JobId
    attempt: AttemptNumber
    made_with: MadeWith


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`step` of `steps` is done for the slowest of the job's rows; `preview` is a small JPEG of the grid or empty."""

    job: JobId
    attempt: AttemptNumber
    step: Step
    steps: Step
    gpu_ms: GpuTime  # so far, in this attempt
    preview: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One finished picture: lossless PNG. Its size is said before its bytes, which can only be so many then."""

    job: JobId
    attempt: AttemptNumber
    index: Annotated[int, Range(0, 10_000)]
    width: Side
    height: Side
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a picture shows, in words: several wordings, the best first. Done follows."""

    job: JobId
    attempt: AttemptNumber
    words: Annotated[tuple[Sentence, ...], Many(16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """All pictures were sent. `gpu_ms`: all that this attempt measured for the job."""

    job: JobId
    attempt: AttemptNumber
    gpu_ms: GpuTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The worker gives the job up; it stays alive and serves the others."""

    job: JobId
    attempt: AttemptNumber
    kind: FailureKind
    sentence: Sentence
    gpu_ms: GpuTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The job left the loop because it was told to."""

    job: JobId
    attempt: AttemptNumber
    gpu_ms: GpuTime


# --- what a worker is told -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """First word of the bot: prove that you know the key. `nonce` in hex."""

    protocol: int
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The proof was right."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """Where a model of the catalogue is, and what the catalogue fixes of it; empty, 0 and None: as the files say.

    `where`: postcard, a folder in diffusers' format, a single .safetensors file, or a hub id (`owner/name`); with
    `file`, that file of the hub's repository is the whole checkpoint. The other paths are of the same sort.
    """

    name: str  # what requests call it
    where: str
    file: str = ""
    family: str = ""  # of core.catalogue.FAMILIES
    native: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    steps: int = 0
    guidance: float | None = None
    sampler: str = ""
    memory_mb: int = 0  # that it takes on the device, by the catalogue
    vae: str = ""
    adapter: str = ""
    upscaler: str = ""
    classifier: str = ""
    stamp: str = ""  # another one when other files lie in these places; empty where the bot does not see them


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraPlace:
    """A LoRA that requests may name. `shape`: the checkpoints that it fits, as core.safetensors_header tells it."""

    name: str
    where: str  # a .safetensors file
    shape: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All models and LoRAs that requests may name from now on; sent after Welcome and after each change.

    `default` is the one to load before anybody asks. What is not in here any more may be let go.
    """

    default: str
    models: tuple[ModelPlace, ...]
    loras: tuple[LoraPlace, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Compute `indices` (0-based pictures) of `request`.

    `source`: the PNG of the picture that it starts from, or empty; `pictures`: those of `request.inputs`, in order.
    `previews`: whether anybody watches.
    """

    job: str
    attempt: int
    request: Request
    indices: tuple[int, ...]
    previews: bool = True
    source: bytes = field(default=b"", repr=False)
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    kind: Kind = Kind.GRID  # a description has a request like any other; only this says that words are wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Take no further step of this job for now: its rows wait in memory. Not answered; heartbeats go on naming it."""

    job: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Go on from the step where it was paused."""

    job: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Drop the job before the next step. Answered by Cancelled, or by Done when it was too late."""

    job: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Finish nothing, exit soon."""


JobEvent = Started | Progress | Picture | Described | Done | Failed | Cancelled
WorkerEvent = Hello | Ready | Models | LoadFailed | Heartbeat | OverheadTime
Event = JobEvent | WorkerEvent
Order = Challenge | Welcome | Catalogue | Submit | Pause | Resume | Cancel | Shutdown
Message = Event | Order
