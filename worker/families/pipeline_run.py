"""One request on its way through a diffusers pipeline, step by step: `interfaces.GenerationRun`.

The pipeline runs in a thread of its own, which waits after each step until it is asked for the next; the thread that
asks waits in the meantime, so that the two never compute at once. Previews come from the latents, carried on in a
straight line to where the noise ends. Knows nothing of jobs or of what the pipeline is.
"""

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from worker.cuda_streams import record_stream
from worker.interfaces import GenerationRun


def step_callback_name(pipeline: Any) -> str:
    """The argument by which a pipeline tells of its steps, today's or that of older ones; empty without either."""
    takes = inspect.signature(pipeline.__call__).parameters
    return next((name for name in ("callback_on_step_end", "callback") if name in takes), "")


class RunStopped(BaseException):
    """Raised inside the pipeline to end it; no `except Exception` on the way holds it up."""


class PipelineRun(GenerationRun):
    """See `interfaces.GenerationRun`. The thread that computes and the one that asks never run at the same time."""

    def __init__(
        self, pipeline: Any, calls: Sequence[Mapping[str, Any]], steps: int, preview: Callable[[Tensor], Tensor | None],
        *, largest_batch: int,
    ) -> None:  # fmt: skip
        self.steps, self.done, self.largest_batch = steps * len(calls), 0, largest_batch
        self._pipeline, self._calls, self._preview = pipeline, calls, preview
        self._each, self._number = steps, 0  # of a call's steps; the call
        self._resume, self._yielded = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._stopping = self._ended = False
        self._error: BaseException | None = None
        self._pictures: list[Tensor] = []
        self._latents: Tensor | None = None
        self._before: tuple[Tensor, float] | None = None

    def advance(self) -> None:
        if self._ended:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pipeline", daemon=True)
            self._thread.start()
        self._resume.release()
        self._yielded.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                # This frame is in its traceback: a circle would keep all that the pipeline had in memory.
                del error

    def preview(self) -> Tensor | None:
        if self._latents is None:
            return None
        with torch.inference_mode():
            return self._preview(record_stream(self._latents))

    def pictures(self) -> list[Tensor]:
        return list(self._pictures)

    def close(self) -> None:
        self._stopping = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._resume.release()
            self._thread.join()

    def _work(self) -> None:
        try:
            self._resume.acquire()
            with torch.inference_mode():
                for number, call in enumerate(self._calls, start=1):
                    self._number = number - 1
                    self._check()
                    # Some schedulers draw from torch's own generators, whichever the pipeline was given.
                    if generators := call.get("generator"):
                        torch.manual_seed(generators[0].initial_seed())
                    images = self._pipeline(**call, **self._step_callback()).images
                    self._pictures += [image.float().clamp(0, 1) for image in images]
                    self._latents = self._before = None
                    # A pipeline may take fewer steps than it was asked for.
                    self.done = self._each * number
                    if number < len(self._calls):
                        self._wait()
        except RunStopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._ended = True
            self._yielded.release()

    def _step_callback(self) -> dict[str, Any]:
        """What the pipeline is to call after each step."""
        if step_callback_name(self._pipeline) == "callback":
            return {"callback": lambda step, time, latents: self._stepped(None, step, time, {"latents": latents})}
        return {"callback_on_step_end": self._stepped}

    def _stepped(self, pipeline: Any, step: int, time: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Called by the pipeline after each step: hands over to `advance`, which asked for it.

        Not after the last one, which goes on to the pictures. A scheduler may take more steps than were asked for, or
        fewer; `done` is of those that were asked for, and all of them only when the pictures are there.
        """
        self._latents = self._extrapolated(given["latents"], step)
        takes = getattr(self._pipeline, "num_timesteps", None) or self._each
        if step + 1 != takes:
            before = self._each * self._number
            self.done = max(self.done, before + min((step + 1) * self._each // takes, self._each - 1))
            self._wait()
        return {}

    def _wait(self) -> None:
        """Runs that take turns draw as they would alone."""
        here, there = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self._yielded.release()
        self._resume.acquire()
        torch.set_rng_state(here)
        torch.cuda.set_rng_state_all(there)
        self._check()

    def _check(self) -> None:
        if self._stopping:
            raise RunStopped

    def _extrapolated(self, latents: Tensor, step: int) -> Tensor | None:
        """Where a straight line from the step before through this one meets sigma 0: the picture as guessed now."""
        scheduler = self._pipeline.scheduler
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is None or step + 1 >= len(sigmas):
            return latents
        here = float(sigmas[step + 1])
        if getattr(scheduler, "init_noise_sigma", None) == 1 and not scheduler.config.get("use_flow_sigmas"):
            # These keep the variance at 1 on the way; without that the way is straight.
            latents = latents * (1 + here**2) ** 0.5
        before, self._before = self._before, (latents, here)
        if before is None or before[1] == here:
            return None
        slope = (latents - before[0]) / (here - before[1])
        return latents - here * slope
