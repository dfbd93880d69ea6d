"""What looks at pictures finds words and scores for them, and what cannot be opened is left out with a word."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, CLIPImageProcessorPil
from transformers.models.blip.processing_blip import BlipProcessor

from tests.worker.companions import LABELS, make_adapter, make_classifier, make_encoder, make_upscaler
from worker.errors import CannotOpen
from worker.vision import CompanionKind, CompanionPaths, read_companion_headers
from worker.vision.check import open_check
from worker.vision.describe import LabelDescriber, best_words, open_describer, wordings
from worker.vision.image_processor import ImageProcessor

CPU, FLOAT = torch.device("cpu"), torch.float32
PIXELS = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_the_check_gives_each_label_a_score(tmp_path: Path) -> None:
    check = open_check(make_classifier(tmp_path / "one", ("safe", "unsafe")), CPU)
    scores = check.scores(PIXELS)
    assert set(scores) == {"safe", "unsafe"}
    assert sum(scores.values()) == pytest.approx(1), "these exclude each other"
    many = open_check(make_classifier(tmp_path / "many", problem_type="multi_label_classification"), CPU)
    scores = many.scores(PIXELS)
    assert set(scores) == set(LABELS)
    assert all(0 < score < 1 for score in scores.values())
    assert sum(scores.values()) > 1.5, "each of these stands for itself"


@pytest.mark.parametrize("crop", [True, False])
def test_eyes_see_what_the_librarys_own_preprocessor_shows(crop: bool) -> None:
    wide = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    config = wide if crop else {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    expected = CLIPImageProcessorPil(**config)(Image.fromarray(PIXELS), return_tensors="pt").pixel_values
    assert (ImageProcessor.of(config).process(PIXELS) - expected).abs().max() < 0.02


@pytest.mark.parametrize(("width", "height"), [(65_535, 1), (1, 30_000), (301, 97), (40, 33)])
def test_eyes_see_a_pictures_middle_without_making_it_large(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, size: tuple[int, int], *more: Any, **others: Any) -> Image.Image:
        made.append(size[0] * size[1])
        return resize(self, size, *more, **others)

    monkeypatch.setattr(Image.Image, "resize", watched)
    config = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    seen = ImageProcessor.of(config).process(pixels)
    assert seen.shape == (1, 3, 32, 32)
    assert max(made) <= 36 * 36


@pytest.mark.parametrize(("width", "height"), [(301, 97), (40, 33), (20, 65)])
def test_and_it_is_the_middle_of_the_whole_picture_resized(width: int, height: int) -> None:
    config = {"size": {"shortest_edge": 36}, "crop_size": 32, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    # Away from black and white: what overshoots is cut off between the two turns of resizing, in whatever order.
    pixels = np.random.default_rng(1).integers(96, 160, (height, width, 3), dtype=np.uint8)
    full = round(width * 36 / min(width, height)), round(height * 36 / min(width, height))
    left, top = (full[0] - 32) // 2, (full[1] - 32) // 2
    whole = np.asarray(Image.fromarray(pixels).resize(full, Image.Resampling.BICUBIC)) / 255
    seen = ImageProcessor.of(config).process(pixels)[0].permute(1, 2, 0).numpy()
    assert np.abs(seen - whole[top : top + 32, left : left + 32]).max() < 0.01


def test_eyes_see_black_around_a_picture_that_is_smaller_than_what_they_see() -> None:
    config = {"size": {"shortest_edge": 24}, "crop_size": 32, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    seen = ImageProcessor.of(config).process(np.full((50, 50, 3), 255, dtype=np.uint8))[0, 0]
    assert seen[4:28, 4:28].min() == 1
    assert seen.sum() == 24 * 24


def test_eyes_without_a_config_see_at_the_networks_own_size(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path)
    expected = ImageProcessor.open(folder).process(PIXELS)
    (folder / "preprocessor_config.json").unlink()
    assert (ImageProcessor.open(folder).process(PIXELS) - expected).abs().max() == 0


def test_labels_become_four_wordings() -> None:
    both = {
        "thing": "boat",
        "colour": "red",
        "second": "umbrella",
        "second_colour": "orange",
        "ground": "sea",
        "sky": "night",
    }
    assert wordings(both) == (
        "a red boat beside an orange umbrella on the sea at night",
        "at night, a red boat and an orange umbrella on the sea",
        "a picture of a red boat next to an orange umbrella on the sea at night",
        "red boat, orange umbrella, sea, night",
    )
    bare = {"thing": "none", "colour": "none", "second": "none", "ground": "city", "sky": "fog"}
    assert wordings(bare)[0] == "an empty place in the city in the fog"
    assert wordings({"thing": "dog", "mood": "happy"})[0] == "a dog, happy"


def test_the_best_word_of_each_group_counts() -> None:
    assert best_words({"thing:boat": 0.2, "thing:star": 0.9, "sky:day": 0.1}) == {"thing": "star", "sky": "day"}


def test_a_labelled_classifier_describes(tmp_path: Path) -> None:
    describer = open_describer(make_classifier(tmp_path), CPU, FLOAT)
    assert isinstance(describer, LabelDescriber)
    assert len(describer.describe(PIXELS)) == 4


def test_a_classifier_of_other_labels_does_not(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="group:word"):
        open_describer(make_classifier(tmp_path, ("safe", "unsafe")), CPU, FLOAT)


def test_a_network_that_writes_describes(tmp_path: Path) -> None:
    describer = open_describer(make_writer(tmp_path), CPU, FLOAT)
    words = describer.describe(PIXELS)
    assert 1 <= len(words) <= 4
    assert len(set(words)) == len(words)
    assert words == describer.describe(PIXELS), "the same picture gives the same words"


def make_writer(folder: Path) -> Path:
    """A random BLIP that knows a few words."""
    torch.manual_seed(6)
    names = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "red",
        "boat",
        "on",
        "the",
        "sea",
        "at",
        "night",
        "[DEC]",
    ]
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text: dict[str, Any] = {
        **small, "encoder_hidden_size": 16, "vocab_size": len(names), "bos_token_id": 2, "sep_token_id": 3,
        "eos_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 128, "initializer_range": 2.0,
    }  # fmt: skip
    config = BlipConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={name: place for place, name in enumerate(names)})
    processor = CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def test_companions_say_what_they_add(folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = CompanionPaths(
        adapter=str(make_adapter(tmp_path / "adapter", unet)),
        upscaler=str(make_upscaler(tmp_path / "upscaler")),
        classifier=str(make_classifier(tmp_path / "vision")),
    )
    found = read_companion_headers(places, {"unet": unet}, CPU, FLOAT)
    assert [edit.value for edit in found.edits] == ["image_prompt", "style", "character", "upscale", "describe"]
    assert found.available({CompanionKind.DESCRIBER}) == {CompanionKind.CLASSIFIER}, "the classifier describes"
    assert read_companion_headers(CompanionPaths(), {"unet": unet}, CPU, FLOAT).edits == ()


def test_what_cannot_be_opened_is_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_encoder(tmp_path / "image_encoder")
    (tmp_path / "adapter.safetensors").write_bytes(b"")
    empty = tmp_path / "none.pth"
    empty.write_bytes(b"")
    places = CompanionPaths(adapter=str(tmp_path), upscaler=str(empty), classifier=str(tmp_path / "nowhere"))
    with caplog.at_level(logging.WARNING, "darkroom.companions"):
        found = read_companion_headers(places, {}, CPU, FLOAT)
    assert found.edits == () and not found.known
    said = caplog.text
    assert "only models with a UNet" in said and "is not an upscaler" in said and "nowhere" in said
