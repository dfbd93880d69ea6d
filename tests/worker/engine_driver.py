"""Drives an engine: orders in, events in a list, turns taken one by one by the test itself."""

import io
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from PIL import Image

from core.catalogue import POSTCARD
from core.events import Cancel, Done, Event, Failed, JobEvent, OverheadTime, Picture, Progress, Submit
from core.job import Request
from tests.worker.fake_models import FakeSource
from worker.checkpoints import LoadedCheckpoint
from worker.cuda_streams import HostCopy
from worker.device import Device, choose_device
from worker.engine import Engine, GpuMeter, LoadedModel, ModelCache
from worker.engine.image_encoding import jpeg
from worker.families import LatentPreview, preview_sheet
from worker.settings import Settings, read
from worker.transport import HeartbeatThread, Inbox, Stop

E = TypeVar("E")
PATIENCE = 60.0  # seconds until a test gives up


def request(**changes: Any) -> Request:
    """A small grid, with these numbers changed."""
    plain = Request(
        prompt="a red boat", width=64, height=64, seed=7, steps=6, guidance=5.0, sampler="euler", count=2, model="tiny"
    )
    return replace(plain, **changes)


def settings(*options: str, **environ: str) -> Settings:
    """A doctor's, who needs no address."""
    return read(["doctor", *options], environ)


def postcard_request(**changes: object) -> Request:
    """Two pictures at the model's own settings, with few steps."""
    own = {"width": 256, "height": 256, "steps": 8, "guidance": POSTCARD.guidance, "model": POSTCARD.name, "seed": 3}
    return request(**{**own, **changes})


def pixels(picture: bytes) -> np.ndarray:
    """A PNG or JPEG as integers [h, w, 3]."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


_fit: Any = LatentPreview.fit
_fitted: dict[tuple[object, ...], LatentPreview] = {}


def fit_once(family: Any) -> LatentPreview:
    """The map of previews of an autoencoder: hundreds of drivers use a few, and fitting costs as much as a grid."""
    vae = family.parts.get("vae")
    if vae is None:
        return _fit(family)
    sums = [(weight.dtype, weight.double().sum().item()) for weight in vae.parameters()]
    key = type(family), family.device, *sums
    if key not in _fitted:
        _fitted[key] = _fit(family)
    return _fitted[key]


def load_model(loaded: LoadedCheckpoint, device: Device) -> LoadedModel:
    """The model, tried out and ready for jobs."""
    with patch.object(LatentPreview, "fit", fit_once):
        return LoadedModel.of(loaded, device)


class _ImmediatePreviews:
    """In the place of `PreviewWriter`: makes each preview in the thread that orders it."""

    def __init__(self, send: Callable[[str, int, bytes], None]) -> None:
        self._send = send

    def put(self, job: str, attempt: int, preview: HostCopy, full: tuple[int, int]) -> None:
        self._send(job, attempt, jpeg(preview_sheet(preview.wait().numpy(), full)))


class EngineDriver:
    """One engine. `send` may come from several threads."""

    def __init__(
        self, *models: LoadedCheckpoint, rows: int = 8, device: Device | None = None, cache: ModelCache | None = None
    ) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()
        self.device = replace(device or choose_device("cpu", "float32", 0), max_rows=rows)
        # A clock a hundred times as fast: what a tiny model costs in microseconds is whole milliseconds in the books.
        self.meter = GpuMeter.for_device(self.device.torch_device, lambda: perf_counter_ns() * 100)
        self.heartbeat = HeartbeatThread()
        self._only = models[0].info.name if len(models) == 1 and cache is None else ""
        self.cache = cache or ModelCache(FakeSource(), self.device, 1000)
        for loaded in models:
            self.cache.add(load_model(loaded, self.device))
        self.engine = Engine(self.cache, self.device, self.meter, self.heartbeat, self._send, Inbox())

    def watch_closely(self) -> None:
        """Every step may say its progress and have its preview, whatever the machine and its threads are doing.

        A second passes between any two looks at the clock, and a preview is made where it is ordered.
        """
        seconds = itertools.count()
        self.engine._clock = lambda: float(next(seconds))
        self.engine._preview_writer = _ImmediatePreviews(self.engine._reporter.preview)

    def _send(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def submit(self, job: str, wanted: Request, attempt: int = 1, **more: Any) -> None:
        """Orders a job; where there is one model, of that."""
        if self._only:
            wanted = replace(wanted, model=self._only)
        indices = more.pop("indices", tuple(range(wanted.count)))
        self.engine.inbox.put(Submit(job=job, attempt=attempt, request=wanted, indices=indices, **more))

    def cancel(self, job: str, attempt: int = 1) -> None:
        """Orders its end."""
        self.engine.inbox.put(Cancel(job=job, attempt=attempt))

    def ticks(self, count: int) -> None:
        """Turns of the loop. There must be something to do."""
        for _ in range(count):
            self.engine.tick()

    def finish(self, *jobs: str) -> None:
        """Turns until these jobs have had their last word."""
        while not all(self._computed(job) for job in jobs):
            self.engine.tick()
        for job in jobs:
            self.wait(lambda job=job: self.last(job) is not None)

    def _computed(self, job: str) -> bool:
        return job not in self.engine._queue.tasks and self.engine.inbox.empty()

    def wait(self, true: Any) -> None:
        """Until an event makes it true."""
        with self._news:
            assert self._news.wait_for(true, PATIENCE), self.events

    def last(self, job: str) -> JobEvent | None:
        """The job's last word, if it was said."""
        words = [event for event in self.of(job) if not isinstance(event, Progress | Picture)]
        return words[-1] if words and type(words[-1]).__name__ in {"Done", "Failed", "Cancelled"} else None

    def of(self, job: str) -> list[Any]:
        """All that was said about a job."""
        return [event for event in list(self.events) if getattr(event, "job", None) == job]

    def pictures(self, job: str) -> list[bytes]:
        """Its PNGs by index."""
        found = {event.index: event.png for event in self.of(job) if isinstance(event, Picture)}
        return [found[index] for index in sorted(found)]

    def previews(self, job: str) -> list[Progress]:
        """Its progress that carries a picture."""
        return [event for event in self.of(job) if isinstance(event, Progress) and event.preview]

    def overhead_ms(self) -> int:
        """All that was booked to overhead."""
        return sum(event.gpu_ms for event in self.events if isinstance(event, OverheadTime))

    def render(self, wanted: Request, job: str = "a", **more: Any) -> list[bytes]:
        """One job alone, to its end: its pictures."""
        self.submit(job, wanted, **more)
        self.finish(job)
        assert isinstance(self.last(job), Done), self.last(job)
        return self.pictures(job)

    def failure(self, job: str) -> Failed:
        """How it failed."""
        word = self.last(job)
        assert isinstance(word, Failed), self.of(job)
        return word

    def stop(self) -> None:
        """Ends a loop that runs in a thread."""
        self.engine.inbox.put(Stop())
