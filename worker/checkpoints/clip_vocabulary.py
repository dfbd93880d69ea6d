"""The CLIP tokenizer for checkpoints that are one file and bring none: 49,408 tokens, by OpenAI's list of merges.

The list is taken from beside the checkpoint, from an installed package that ships it, or from the hub's cache; nothing
is fetched. Knows nothing of models.
"""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

from worker.errors import CannotLoad

LENGTH = 77
TOKENS = 49408
_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_FILE = "bpe_simple_vocab_16e6.txt.gz"
_PACKAGES = ("clip", "open_clip")
_CACHED = (
    ("openai/clip-vit-large-patch14", ""),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer/"),
    ("stabilityai/stable-diffusion-xl-base-1.0", "tokenizer/"),
)


def clip_tokenizer(beside: Path, pad: str = _END) -> Any:
    """The tokenizer; `beside`: the checkpoint's folder, `pad`: the token that fills up. Raises CannotLoad."""
    from transformers import CLIPTokenizer

    for folder in (beside / "tokenizer", *_cached()):
        if (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file():
            return CLIPTokenizer.from_pretrained(folder, local_files_only=True, pad_token=pad, model_max_length=LENGTH)
    merges = _merges()
    letters = _letters()
    whole = [first + second for first, second in merges]
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *whole, _START, _END]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=LENGTH)


def _letters() -> list[str]:
    """A sign for every byte, in the order of their tokens."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, plain), *(chr(256 + place) for place in range(256 - len(plain)))]


def _merges() -> list[tuple[str, str]]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / _FILE
            if path.is_file():
                lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
                count = TOKENS - 2 * 256 - 2
                pairs = [line.split() for line in lines[1 : count + 1]]
                return [(first, second) for first, second in pairs]
    cure = "run `pip install openai-clip==1.0.1`, or put a tokenizer/ folder of CLIP beside the file."
    raise CannotLoad(f"A checkpoint in one file brings no tokenizer, and CLIP's vocabulary is not installed: {cure}")


def _cached() -> list[Path]:
    """Folders of CLIP tokenizers that the hub's cache holds."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, f"{folder}vocab.json") for repository, folder in _CACHED)
    return [Path(path).parent for path in found if isinstance(path, str)]
