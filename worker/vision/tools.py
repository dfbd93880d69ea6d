"""What lies beside a model: an image adapter, an upscaler, what describes pictures and what checks them.

Each may be missing; edits say in a sentence what they lack. Knows no jobs.
"""

from dataclasses import dataclass

from worker.families.adapters import ImageAdapter
from worker.vision.check import PictureCheck
from worker.vision.describe import Describer
from worker.vision.upscale import Upscaler


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """A model's companions, loaded."""

    adapter: ImageAdapter | None = None
    upscaler: Upscaler | None = None
    describer: Describer | None = None
    check: PictureCheck | None = None
