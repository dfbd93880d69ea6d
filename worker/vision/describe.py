"""Describes a picture in words, in several wordings, the best first.

Either a network writes them (BLIP, Florence and others that transformers calls image-text-to-text), or a classifier
whose labels are `group:word` is put into sentences. Knows no jobs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import nn

from core.edits import WORDINGS
from worker.errors import CannotOpen
from worker.interfaces import Pixels
from worker.vision.check import PictureCheck, open_check, read_check_headers
from worker.vision.headers import Shapes, config_of, shapes_of, weights_of
from worker.vision.image_processor import GREY
from worker.vision.transformers_folder import open_network

#: What a label's word says where it stands in a sentence; others stand after a comma.
_PLACES = {
    "sea": "on the sea", "snow": "in the snow", "beach": "on the beach", "desert": "in the desert",
    "meadow": "in a meadow", "city": "in the city", "forest": "in the forest",
}  # fmt: skip
_TIMES = {
    "day": "by day", "night": "at night", "sunset": "at sunset", "storm": "in a storm", "dawn": "at dawn",
    "fog": "in the fog",
}  # fmt: skip
_NONE = "none"
#: Florence's names for what it is to do; others need none.
_TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
_LONGEST = 96  # tokens
#: One of these says how the library shows pictures to a network that writes.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_OTHER_LABELS = "A classifier describes pictures only where its labels are `group:word`."


class Describer(Protocol):
    """Whatever finds words for a picture."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What it holds in memory."""

    def describe(self, pixels: Pixels) -> tuple[str, ...]:
        """Up to WORDINGS different wordings."""

    def smoke_test(self) -> None:
        """Looks at one grey picture. Raises whatever goes wrong."""


class LabelDescriber:
    """Takes the best word of each group, and tells them in four ways."""

    def __init__(self, check: PictureCheck) -> None:
        self._check = check
        self.networks = check.networks

    @staticmethod
    def reads(labels: Sequence[str]) -> bool:
        """Whether a classifier's labels are of that form."""
        return bool(labels) and all(":" in label for label in labels)

    def describe(self, pixels: Pixels) -> tuple[str, ...]:
        """A sentence, the same turned round, a longer one, and bare words."""
        return wordings(best_words(self._check.scores(pixels)))

    def smoke_test(self) -> None:
        """See `Describer`."""
        self._check.smoke_test()


class WritingDescriber:
    """A network that writes."""

    def __init__(self, network: Any, processor: Any) -> None:
        self._network, self._processor = network, processor
        self.networks: tuple[nn.Module, ...] = (network,)
        self._tasks = _TASKS if "florence" in network.config.model_type else ("",)

    @torch.inference_mode()
    def describe(self, pixels: Pixels) -> tuple[str, ...]:
        """The most likely wordings by beam search: the same picture gives the same words."""
        found: list[str] = []
        for task in self._tasks:
            each = -(-WORDINGS // len(self._tasks))
            found.extend(self._write(Image.fromarray(pixels), task, each))
        return tuple(dict.fromkeys(words for words in found if words))[:WORDINGS]

    def smoke_test(self) -> None:
        """See `Describer`."""
        self.describe(GREY)

    def _write(self, image: Image.Image, task: str, count: int) -> list[str]:
        words = {"text": task} if task else {}
        inputs = self._processor(images=image, return_tensors="pt", **words)
        inputs = inputs.to(self._network.device, self._network.dtype)
        tokens = self._network.generate(
            **inputs, max_new_tokens=_LONGEST, num_beams=max(3, count), num_return_sequences=count, do_sample=False
        )
        return [" ".join(line.split()) for line in self._processor.batch_decode(tokens, skip_special_tokens=True)]


def best_words(scores: Mapping[str, float]) -> dict[str, str]:
    """The word of each group with the highest score."""
    found: dict[str, tuple[float, str]] = {}
    for label, score in scores.items():
        group, _, word = label.partition(":")
        if group not in found or score > found[group][0]:
            found[group] = (score, word)
    return {group: word for group, (_score, word) in found.items()}


def wordings(words: Mapping[str, str]) -> tuple[str, ...]:
    """Four ways to say the words of the groups thing, colour, second, second_colour, ground, sky, and others."""
    told = {group: word for group, word in words.items() if word != _NONE}
    things = [
        " ".join(told[part] for part in (colour, thing) if part in told)
        for thing, colour in (("thing", "colour"), ("second", "second_colour"))
        if thing in told
    ]
    known = {"thing", "colour", "second", "second_colour", "ground", "sky"}
    others = [word for group, word in told.items() if group not in known]
    named = [_article(thing) for thing in things] or ["an empty place"]
    where = _PLACES.get(told.get("ground", ""), "")
    when = _TIMES.get(told.get("sky", ""), "")
    plain = [told[group] for group in ("ground", "sky") if group in told]
    rest = "".join(f", {word}" for word in others)
    return tuple(
        dict.fromkeys((
            _line(" beside ".join(named), where, when) + rest,
            ", ".join(part for part in (when, _line(" and ".join(named), where)) if part) + rest,
            _line("a picture of", " next to ".join(named), where, when) + rest,
            ", ".join([*things, *plain, *others]),
        ))
    )  # fmt: skip


def read_describer_headers(folder: Path) -> tuple[Shapes, bool]:
    """Its tensors' shapes, where headers and config say that it is one, and whether it is a classifier.

    Raises CannotOpen with what is wrong.
    """
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig

    if _is_classifier(folder):
        shapes, labels = read_check_headers(folder)
        if not LabelDescriber.reads(labels):
            raise CannotOpen(_OTHER_LABELS)
        return shapes, True
    if type(AutoConfig.from_pretrained(folder, local_files_only=True)) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise CannotOpen(f"{folder} is not an image-text-to-text network that transformers knows.")
    if not any((folder / name).is_file() for name in _PROCESSORS):
        raise CannotOpen(f"{folder} holds no {_PROCESSORS[0]}: fetch all of the repository.")
    return shapes_of(weights_of(folder)), False


def open_describer(folder: Path, device: torch.device, dtype: torch.dtype) -> Describer:
    """By what the folder's config says it is. Raises CannotOpen, or whatever transformers does."""
    if _is_classifier(folder):
        check = open_check(folder, device)
        if not LabelDescriber.reads(check.labels):
            raise CannotOpen(_OTHER_LABELS)
        return LabelDescriber(check)
    from transformers import AutoModelForImageTextToText, AutoProcessor

    network = open_network(AutoModelForImageTextToText, folder, device, dtype)
    return WritingDescriber(network, AutoProcessor.from_pretrained(folder, local_files_only=True))


def _is_classifier(folder: Path) -> bool:
    return any("Classification" in name for name in config_of(folder).get("architectures") or ())


def _line(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
