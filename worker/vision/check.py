"""The picture check: an image classifier that gives each of its labels a score between 0 and 1.

What a score leads to is somebody else's rule. Knows no jobs.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.errors import CannotOpen
from worker.interfaces import Pixels
from worker.vision.headers import Shapes, config_of, shapes_of, weights_of
from worker.vision.image_processor import GREY, ImageProcessor
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

    def smoke_test(self) -> None:
        """Looks at one grey picture. Raises ArithmeticError for scores that are no numbers."""
        if not all(map(math.isfinite, self.scores(GREY).values())):
            raise ArithmeticError("its scores are not finite")


def read_check_headers(folder: Path) -> tuple[Shapes, tuple[str, ...]]:
    """Its tensors' shapes and its labels, where headers and config say that it is one. Raises CannotOpen."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, AutoConfig

    labels = config_of(folder).get("id2label") or {}
    if type(AutoConfig.from_pretrained(folder, local_files_only=True)) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise CannotOpen(f"{folder} is not an image classifier that transformers knows.")
    return shapes_of(weights_of(folder)), tuple(map(str, labels.values()))


def open_check(folder: Path, device: torch.device) -> PictureCheck:
    """Loads a folder in transformers' format. Raises CannotOpen, OSError or ValueError when there is none."""
    from transformers import AutoModelForImageClassification

    # Full precision: it is small, and a rule's threshold shall not depend on the device's habits.
    network = open_network(AutoModelForImageClassification, folder, device, torch.float32)
    return PictureCheck(network, ImageProcessor.open(folder))
