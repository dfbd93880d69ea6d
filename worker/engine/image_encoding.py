"""Turns pixels into files beside the loop: finished pictures to PNG in order, previews to JPEG newest-wins.

Two threads, so that no preview waits for a large PNG. Knows nothing of models or of the wire.
"""

import io
import logging
import queue
import threading
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from worker.cuda_streams import HostCopy
from worker.families import preview_sheet
from worker.interfaces import Pixels

log = logging.getLogger("darkroom.images")

Work = Callable[[], None]


def png(pixels: Pixels) -> bytes:
    """Lossless; the lowest compression, since speed counts here and the bot keeps disk in hand."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """Small: it lives for a second."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def to_bytes(image: Tensor) -> Tensor:
    """float [3, h, w] in 0 … 1 as uint8 [h, w, 3], still on the device."""
    return image.mul(255).round_().permute(1, 2, 0).to(torch.uint8).contiguous()


class SerialExecutor:
    """Runs work in order in a thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="pictures", daemon=True).start()

    def put(self, work: Work) -> None:
        """Runs it after all that was put before."""
        self._queue.put(work)

    def _run(self) -> None:
        while True:
            self._queue.get()()


class PreviewWriter:
    """Makes JPEGs of previews; of a job's previews only the newest one counts."""

    def __init__(self, send: Callable[[str, int, bytes], None]) -> None:
        self._send = send
        self._slots: dict[tuple[str, int], tuple[HostCopy, tuple[int, int]]] = {}
        self._filled = threading.Condition()
        threading.Thread(target=self._run, name="previews", daemon=True).start()

    def put(self, job: str, attempt: int, preview: HostCopy, full: tuple[int, int]) -> None:
        """`preview`: uint8 [n, h, w, 3], on its way; `full`: the size of one finished picture in pixels."""
        with self._filled:
            self._slots[job, attempt] = (preview, full)
            self._filled.notify()

    def _run(self) -> None:
        while True:
            with self._filled:
                self._filled.wait_for(lambda: self._slots)
                (job, attempt), (preview, full) = self._slots.popitem()
            try:
                self._send(job, attempt, jpeg(preview_sheet(preview.wait().numpy(), full)))
            except Exception:  # one preview less; the next ones want a thread that lives
                log.warning("A preview could not be written.", exc_info=True)
