"""Opens the shipped vision network as anyone would, and asks it about pictures. Knows no training."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPForImageClassification, CLIPImageProcessor, CLIPVisionModelWithProjection

from models.postcard.companions.labels import best


class VisionModel:
    """Both readings of one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.processor = CLIPImageProcessor.from_pretrained(folder)
        self.classifier = CLIPForImageClassification.from_pretrained(folder).eval()
        self.embedder = CLIPVisionModelWithProjection.from_pretrained(folder).eval()

    def _pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        pixels: Tensor = self.processor(images=list(pictures), return_tensors="pt").pixel_values
        return pixels

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(count, 128)."""
        embeddings: Tensor = self.embedder(pixel_values=self._pixels(pictures)).image_embeds
        return embeddings

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Each label's score alone, 0..1, for each picture."""
        scores = self.classifier(pixel_values=self._pixels(pictures)).logits.sigmoid()
        names = self.classifier.config.id2label
        return [{names[i]: score for i, score in enumerate(row)} for row in scores.tolist()]

    @torch.inference_mode()
    def describe(self, pictures: Sequence[Image.Image]) -> list[dict[str, str]]:
        """The word of each group for each picture."""
        logits = self.classifier(pixel_values=self._pixels(pictures)).logits
        return [best(row, self.classifier.config.id2label) for row in logits.tolist()]
