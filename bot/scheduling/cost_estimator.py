"""Learns from finished jobs what a job costs and how long it takes. Knows neither queues nor who pays."""

import logging

from bot.catalogue import ModelRegistry
from bot.config import Config
from core.cost import Calibration, cell_of, default_rate, estimate_ms
from core.events import Heartbeat, Phase
from core.job import Job, Request
from storage.settings import Settings

log = logging.getLogger(__name__)

#: Weight of the newest heartbeat in the pace.
_FRESH = 0.1
#: What was learned is written down every so many jobs, and after each one that took this long.
_KEEP_EVERY, _DEAR_MS = 10, 10_000
_PACE_RANGE = (0.5, 10.0)
#: Behind a model's name: its upscales are another network's work, or tiles, and say nothing of its grids.
_UPSCALES = "+upscale"


class CostEstimator:
    """Estimates for every model on the device in use; kept in the settings, one calibration for each pair."""

    def __init__(self, config: Config, settings: Settings, model_registry: ModelRegistry) -> None:
        self._settings = settings
        self._model_registry = model_registry
        self._device = "cpu" if config.device == "auto" else config.device
        self._learned: dict[str, Calibration] = {}
        self._unkept: dict[str, int] = {}  # jobs by model
        self._warm_since: dict[tuple[str, str], float] = {}  # when the first job of a model and cell ended
        self._beats: dict[str, tuple[float, int]] = {}
        self.pace = 1.0  # wall seconds for a second of GPU time while the worker is busy

    async def begin(self) -> None:
        """What was learned before this start."""
        self._device = str(await self._settings.state("rate:device", self._device))
        await self._load_all()

    async def use(self, model: str, device: str) -> None:
        """A worker has loaded `model` on `device`."""
        if device != self._device:
            await self.keep()
            self._device = device
            self._warm_since.clear()
            await self._settings.put_state("rate:device", device)
            await self._load_all()
        if model not in self._learned:
            await self._load(model)
            await self._load(model + _UPSCALES)

    def estimate_ms(self, request: Request) -> int:
        """GPU time that the request will hardly exceed."""
        name = _work_of(request)
        known = name if name in self._learned else request.model
        return estimate_ms(request, self._of(known).rate_for(request))

    async def learn(self, job: Job, gpu_ms: int) -> None:
        """A job was measured: it has ended, with pictures."""
        if job.made_with is not None and job.made_with.device == self._device:
            name = _work_of(job.request)
            self._learned[name] = self._of(name).with_sample(job.request, gpu_ms, cold=self._is_cold(job))
            self._unkept[name] = self._unkept.get(name, 0) + 1
            if self._unkept[name] >= _KEEP_EVERY or gpu_ms >= _DEAR_MS:
                await self.keep()

    def _is_cold(self, job: Job) -> bool:
        """It began before any job of its kind had ended since this start: it was among the device's first of them."""
        kind = (_work_of(job.request), cell_of(job.request))
        warm_since = self._warm_since.setdefault(kind, job.finished_at or 0.0)
        return (job.started_at or 0.0) < warm_since

    async def keep(self) -> None:
        """Writes down what was learned since the last time."""
        for model in list(self._unkept):
            del self._unkept[model]
            await self._settings.put_state(self._name(model), self._of(model).to_dict())

    def observe(self, worker: str, beat: Heartbeat, now: float) -> None:
        """Compares GPU time with the wall's. `now` is monotonic seconds."""
        before = self._beats.pop(worker, None)
        if beat.phase is Phase.STEPPING:
            self._beats[worker] = (now, beat.busy_ms)
            if before is not None and beat.busy_ms > before[1]:
                pace = (now - before[0]) * 1000 / (beat.busy_ms - before[1])
                self.pace += (min(max(pace, _PACE_RANGE[0]), _PACE_RANGE[1]) - self.pace) * _FRESH

    def _of(self, model: str) -> Calibration:
        """What is known of the model: what was measured, else the first rate of its family."""
        if model in self._learned:
            return self._learned[model]
        known = self._model_registry.get(model.removesuffix(_UPSCALES))
        return Calibration(base=default_rate(self._device, known.family if known is not None else ""))

    def _name(self, model: str) -> str:
        return f"rate:{model}:{self._device}"

    async def _load_all(self) -> None:
        self._learned.clear()
        for model in self._model_registry.choices.models:
            await self._load(model)
            await self._load(model + _UPSCALES)

    async def _load(self, model: str) -> None:
        stored = await self._settings.state(self._name(model))
        if isinstance(stored, dict):
            try:
                self._learned[model] = Calibration.from_dict(stored)
            except (KeyError, TypeError, ValueError):
                log.warning("What was learned about %s could not be read; learning starts over.", model)


def _work_of(request: Request) -> str:
    """Under which name the cost of such jobs is learned."""
    return request.model + (_UPSCALES if request.upscale is not None else "")
