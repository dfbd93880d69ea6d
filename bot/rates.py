"""Learns from finished jobs what a job costs and how long it takes. Knows neither queues nor who pays."""

import logging
from dataclasses import replace

from bot.config import Config
from core.cost import Calibration, default_rate, estimate_ms
from core.events import Heartbeat, Phase
from core.job import MadeWith, Request
from storage.settings import Settings

log = logging.getLogger(__name__)

#: Weight of the newest heartbeat in the pace.
_FRESH = 0.1
#: What was learned is written down every so many jobs, and after each one that took this long.
_KEEP_EVERY, _DEAR_MS = 10, 10_000
_PACE_RANGE = (0.5, 10.0)


class Rates:
    """Estimates for the model in use; kept in the settings, one calibration for each model and device."""

    def __init__(self, config: Config, settings: Settings, model: str) -> None:
        self._settings = settings
        self._model = model
        self._device = "cpu" if config.device == "auto" else config.device
        self._calibration = Calibration(base=default_rate(self._device))
        self._unkept = 0
        self._beats: dict[str, tuple[float, int]] = {}
        self.pace = 1.0  # wall seconds for a second of GPU time while the worker is busy

    async def begin(self) -> None:
        """What was learned before this start."""
        self._device = str(await self._settings.state("rate:device", self._device))
        await self._load()

    async def use(self, model: str, device: str) -> None:
        """A worker has loaded `model` on `device`."""
        if (model, device) != (self._model, self._device):
            self._model, self._device = model, device
            await self._settings.put_state("rate:device", device)
            await self._load()

    def estimate_ms(self, request: Request, count: int | None = None) -> int:
        """GPU time that the request will hardly exceed; for `count` pictures of it when given."""
        if count is not None:
            request = replace(request, count=count)
        return estimate_ms(request, self._calibration.rate_for(request))

    async def learn(self, request: Request, made_with: MadeWith | None, gpu_ms: int) -> None:
        """A job was measured."""
        if made_with is not None and (made_with.model, made_with.device) == (self._model, self._device):
            self._calibration = self._calibration.with_sample(request, gpu_ms)
            self._unkept += 1
            if self._unkept >= _KEEP_EVERY or gpu_ms >= _DEAR_MS:
                await self.keep()

    async def keep(self) -> None:
        """Writes down what was learned since the last time."""
        if self._unkept:
            self._unkept = 0
            await self._settings.put_state(self._name(), self._calibration.to_dict())

    def hear(self, worker: str, beat: Heartbeat, now: float) -> None:
        """Compares GPU time with the wall's. `now` is monotonic seconds."""
        before = self._beats.pop(worker, None)
        if beat.phase is Phase.STEPPING:
            self._beats[worker] = (now, beat.busy_ms)
            if before is not None and beat.busy_ms > before[1]:
                pace = (now - before[0]) * 1000 / (beat.busy_ms - before[1])
                self.pace += (min(max(pace, _PACE_RANGE[0]), _PACE_RANGE[1]) - self.pace) * _FRESH

    def _name(self) -> str:
        return f"rate:{self._model}:{self._device}"

    async def _load(self) -> None:
        stored = await self._settings.state(self._name())
        self._calibration = Calibration(base=default_rate(self._device))
        if isinstance(stored, dict):
            try:
                self._calibration = Calibration.from_dict(stored)
            except (KeyError, TypeError, ValueError):
                log.warning("What was learned about %s could not be read; learning starts anew.", self._model)
