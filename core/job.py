"""What a job is: its request, its states and the legal ways between them.

Pure values. Knows nothing of how they are stored, shown or computed.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """What a job makes. More kinds will follow; a row with an unknown kind is a newer program's."""

    GRID = "grid"
    VARIATION = "variation"
    CROP = "crop"
    UPSCALE = "upscale"
    EDIT = "edit"  # a region, a wider canvas: part of the source picture stays as it is
    DESCRIBE = "describe"  # ends in words, not in pictures


#: Kinds that end in one picture, shown alone.
SINGLES: frozenset[Kind] = frozenset({Kind.CROP, Kind.UPSCALE})


class Lane(StrEnum):
    """Which queue a job waits in, first one first: turbo at double price, fast, and relax for free."""

    TURBO = "turbo"
    FAST = "fast"
    RELAX = "relax"


class State(StrEnum):
    """Where a job is in its life."""

    PREPARING = "preparing"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: The table of legal transitions. `running -> queued` is a lost worker, a drain or a restart.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PREPARING: frozenset({State.QUEUED, State.DONE, State.FAILED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.QUEUED, State.DONE, State.HELD, State.FAILED, State.CANCELLED}),
    State.HELD: frozenset({State.DONE, State.CANCELLED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

#: States that nothing leaves any more.
FINAL: frozenset[State] = frozenset(state for state, following in TRANSITIONS.items() if not following)


class PayerKind(StrEnum):
    """Who an account belongs to."""

    MEMBER = "member"
    TEAM = "team"


HOME = "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose GPU time: a member or a team, in one server or at "home" (the owner's own plan, used in DMs)."""

    kind: PayerKind
    server: str
    id: str

    def key(self) -> str:
        """The account as one string, e.g. `member:1234:5678`."""
        return f"{self.kind}:{self.server}:{self.id}"

    @classmethod
    def parse(cls, key: str) -> Self:
        """The reverse of `key`. Raises ValueError for anything else."""
        kind, server, payer = key.split(":")
        return cls(kind=PayerKind(kind), server=server, id=payer)


class Role(StrEnum):
    """What a picture that comes with a request is for."""

    MASK = "mask"  # white: to be made anew, black: stays, grey: in between
    PROMPT = "prompt"  # beside the words, or in their place
    STYLE = "style"  # its look, not what it shows
    CHARACTER = "character"  # who it shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A picture that comes with a request, beside the one that it starts from.

    `of` says where the bot keeps it (`<job>/<index>` for a finished picture); a worker gets its bytes instead.
    """

    role: Role
    of: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A small set of weights on top of the model's: a file of the loras folder, by its name, and how strong."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Where the source picture lies in the new one, in pixels; what it leaves open is to be filled."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseStyle:
    """The model's own look on top of the prompt: words, and how strongly they count (0 … 1, by `--stylize`)."""

    positive: str = ""
    negative: str = ""
    weight: float = 0.0

    def spoken(self) -> tuple[str, str]:
        """What to say and what to avoid where words cannot be weighed: the first phrases, all at a weight of 1."""
        return self._first(self.positive), self._first(self.negative)

    def _first(self, words: str) -> str:
        phrases = [phrase.strip() for phrase in words.split(",") if phrase.strip()]
        return ", ".join(phrases[: math.ceil(self.weight * len(phrases))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale:
    """Larger by `factor` (2 or 4). Creative lets the model draw on it, at the request's strength."""

    factor: int
    creative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Every number that decides a picture, but those that the worker's own build adds (`MadeWith`).

    Picture `index` of a job (0-based) draws its noise from the seed `seed + index` (modulo 2**32): the same request on
    the same class of device gives the same picture, alone or in company.
    """

    prompt: str
    negative: str = ""
    width: int  # pixels
    height: int  # pixels
    seed: int  # 0 … 2**32 - 1
    steps: int
    guidance: float
    sampler: str  # a name of catalogue.SAMPLERS
    count: int = 4  # pictures
    stop: int = 100  # per cent of the steps after which the x0 estimate is the picture
    strength: float = 1.0  # 1 = from noise alone; less = that share of the steps, starting near the source picture
    model: str  # the name in the catalogue
    loras: tuple[Lora, ...] = ()
    house: HouseStyle | None = None
    chaos: int = 0  # 0 … 100: how far the pictures of one job lie apart
    tile: bool = False  # opposite edges meet
    inputs: tuple[Input, ...] = ()
    canvas: Canvas | None = None
    upscale: Upscale | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Ignores keys that it does not know: a newer program may have written them."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        for name, kind in (("house", HouseStyle), ("canvas", Canvas), ("upscale", Upscale)):
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        values["loras"] = tuple(Lora(**lora) for lora in values.get("loras", ()))
        given = ({**one, "role": Role(one["role"])} for one in values.get("inputs", ()))
        values["inputs"] = tuple(Input(**one) for one in given)
        return cls(**values)

    def steps_to_run(self) -> int:
        """Forward steps that this request costs a picture: fewer when it starts near a source or stops early.

        What is only made larger takes none of the model's; the one pass over it counts as one.
        """
        if self.upscale is not None and not self.upscale.creative:
            return 1
        near = self.strength < 1  # at least its first step is left out then, so that there are two
        steps = max(2, self.steps) if near else self.steps
        started = min(steps - near, max(1, round(steps * self.strength)))
        skipped = steps - max(1, round(steps * self.stop / 100))
        return max(1, started - skipped)

    def work(self) -> int:
        """Pixels × steps × pictures: what the cap on one job counts, and what prices are estimated from."""
        return self.width * self.height * self.steps_to_run() * self.count

    def batch_key(self) -> str:
        """Rows with the same key can share a forward: model, size, LoRAs, tiling; it starts with the model's name.

        Steps, seed, sampler, guidance and prompt may differ.
        """
        loras = "".join(f"+{lora.name}*{lora.weight:g}" for lora in sorted(self.loras, key=lambda lora: lora.name))
        return f"{self.model}:{self.width}x{self.height}{loras}{'~' if self.tile else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWith:
    """What the worker's build adds to a request; written into the row when the job starts."""

    model: str
    digest: str  # of the weights
    dtype: str
    device: str
    engine: str  # version of the engine

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Ignores keys that it does not know."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The picture that a job starts from: picture `index` (0-based) of job `job`."""

    job: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where on Discord a job was asked for, and so where its result belongs. Ids are snowflakes as text."""

    guild: str | None
    channel: str
    message: str | None  # the progress message, once known
    interaction: str
    token: str  # the interaction's token: a secret for 15 minutes, never logged
    token_expires_at: float  # seconds since the epoch
    locale: str = "en-US"
    private: bool = False

    def __repr__(self) -> str:
        shown = ("guild", "channel", "message", "interaction")
        return f"Where({', '.join(f'{name}={getattr(self, name)}' for name in shown)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the queue as a value. Times are seconds since the epoch, GPU time is milliseconds."""

    id: str  # at most 20 characters of [0-9a-z]: fits a nonce and a custom id
    kind: Kind
    state: State
    lane: Lane
    account: Account
    user: str  # who asked, a snowflake
    where: Where
    typed: str  # the prompt as typed
    request: Request
    source: Source | None = None
    attempt: int = 0  # of being computed: goes up at each claim, guards every later statement
    strikes: int = 0  # worker deaths while computing this job alone; three are enough
    solo: bool = False  # must run alone next time: its last batch was lost
    multiplier: float = 1.0
    estimate_ms: int = 0  # quoted GPU time, before the lane's price: what fair order and waiting times count
    reserved_ms: int = 0
    gpu_ms: int | None = None  # measured, once finished
    charged_ms: int | None = None
    made_with: MadeWith | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    failure: str | None = None  # the sentence its reader sees
    notes: tuple[str, ...] = ()  # small lines said at admission ("ignored: --chaos")
    cancel_requested: bool = False  # cancelled while it ran: it stops, and never runs again
    deleted_at: float | None = None  # hidden since then

    @property
    def is_final(self) -> bool:
        """True when nothing will change this job's outcome any more."""
        return self.state in FINAL
