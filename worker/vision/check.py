"""The picture check: an image classifier that gives each of its labels a score between 0 and 1.

What a score leads to is somebody else's rule. Knows no jobs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.interfaces import Pixels
from worker.vision.image_processor import ImageProcessor
from worker.vision.transformers_folder import open_network


class PictureCheck:
    """A classifier from a transformers folder."""

    def __init__(self, network: Any, image_processor: ImageProcessor) -> None:
        self._network, self._image_processor = network, image_processor
        self.labels: tuple[str, ...] = tuple(label for _place, label in sorted(network.config.id2label.items()))
        self._many = network.config.problem_type == "multi_label_classification"

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What it holds in memory."""
        return (self._network,)

    @torch.inference_mode()
    def scores(self, pixels: Pixels) -> Mapping[str, float]:
        """{label: score}; labels that exclude each other add up to 1."""
        place = next(self._network.parameters())
        logits: Tensor = self._network(self._image_processor.process(pixels).to(place)).logits[0].float().cpu()
        found = logits.sigmoid() if self._many else logits.softmax(dim=0)
        return dict(zip(self.labels, found.tolist(), strict=True))


def open_check(folder: Path, device: torch.device) -> PictureCheck:
    """Loads a folder in transformers' format. Raises OSError or ValueError when there is none."""
    from transformers import AutoModelForImageClassification

    # Full precision: it is small, and a rule's threshold shall not depend on the device's habits.
    network = open_network(AutoModelForImageClassification, folder, device, torch.float32)
    return PictureCheck(network, ImageProcessor.open(folder))
