"""Makes a CLIPTokenizer of our own: all bytes, and merges that turn every word of the captions into one token.

The merges are found by plain byte pair encoding over the word list, run until each word is whole, so that applying
them in order always rebuilds the words. Knows no pictures.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from models.postcard.captions import vocabulary

MAX_LENGTH = 40
END = "</w>"


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes that byte-level tokenizers use, in byte order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    shifted = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(shifted)) for b in range(256)]


def find_merges(words: list[str]) -> list[tuple[str, str]]:
    """Pairs to merge, in order, until every word is one token."""
    pieces = [[*word[:-1], word[-1] + END] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for p in pieces for pair in pairwise(p))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merge(p, best) for p in pieces]


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            out.append("".join(pair))
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out


def new_tokenizer() -> CLIPTokenizer:
    """The tokenizer; the same words always give the same one."""
    alphabet = byte_alphabet()
    merges = find_merges([w for w in vocabulary() if w.isalpha()])
    tokens = [*alphabet, *(letter + END for letter in alphabet)]
    tokens += [token for token in dict.fromkeys("".join(pair) for pair in merges) if token not in set(tokens)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=merges,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Save it in the folder and read it back, as every user of the model will."""
    new_tokenizer().save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
