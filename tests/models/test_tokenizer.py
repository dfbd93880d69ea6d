"""The tokenizer keeps each word of a caption whole, and nothing that a person may type breaks it."""

import random
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from models.postcard.captions import caption, vocabulary
from models.postcard.tokenizer import MAX_LENGTH, new_tokenizer, write_tokenizer
from models.postcard.world import draw_scene

SHIPPED = Path(__file__).parents[2] / "models" / "postcard" / "tokenizer"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(SHIPPED)


def test_every_caption_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    pieces = {word: len(tokenizer(word)["input_ids"]) - 2 for word in vocabulary()}
    assert {word: n for word, n in pieces.items() if n != 1} == {}


def test_captions_fit_into_the_length(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(1)
    longest = max(len(tokenizer(caption(draw_scene(rng, (256, 256)), rng))["input_ids"]) for _ in range(2000))
    assert longest < MAX_LENGTH == tokenizer.model_max_length


@pytest.mark.parametrize("words", ["🚤✨ a red boat", "Zzyzx qwertz", "赤い船", "naïve café — “boat”", "\x00\n\t", ""])
def test_unknown_words_and_emoji_survive(tokenizer: CLIPTokenizer, words: str) -> None:
    found = tokenizer(words, padding="max_length", max_length=MAX_LENGTH, truncation=True)["input_ids"]
    assert len(found) == MAX_LENGTH
    assert found[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id in found
    assert max(found) < len(tokenizer)


def test_unknown_words_are_spelt_in_bytes_not_swallowed(tokenizer: CLIPTokenizer) -> None:
    one, other = (tokenizer(words)["input_ids"] for words in ("zzyzx", "qwertz"))
    assert one != other
    assert len(one) > 3


def test_upper_case_means_the_same(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer("A Red BOAT")["input_ids"] == tokenizer("a red boat")["input_ids"]


def test_shipped_tokenizer_is_what_the_code_makes(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    fresh = write_tokenizer(tmp_path)
    assert fresh.get_vocab() == tokenizer.get_vocab() == new_tokenizer().get_vocab()
