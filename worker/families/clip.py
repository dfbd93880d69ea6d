"""Reads prompts with a CLIP text encoder: long ones in chunks, weighted ones by mixing what their parts say.

A short prompt without weights gives what the pipeline's own call gives. Longer ones are cut into chunks of as
many tokens as the encoder reads at once, and the chunks' states stand one after the other. Parts (`a::2 b`) are read
one by one and added up by their shares; emphasis (`(red:1.3)`) moves the words' states away from those of an empty
prompt, or towards them. Knows nothing of denoisers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.prompt_weights import Part, parse

#: So many at most: the denoiser looks at all of them in every step, and nobody writes more.
MAX_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one pass through the encoder, as long as it reads: ids, their emphasis, and how many are no filler."""

    ids: tuple[int, ...]
    emphasis: tuple[float, ...]
    token_count: int


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """What an encoder made of a text: `states` [chunks × length, features], `pooled` [features] of the first chunk."""

    states: Tensor
    pooled: Tensor


class PromptEncoder:
    """One encoder with its tokenizer; `penultimate`: its last layer but one is what the denoiser was trained on."""

    def __init__(self, tokenizer: Any, encoder: Any, device: torch.device, *, penultimate: bool) -> None:
        self._tokenizer, self._encoder, self._device, self._penultimate = tokenizer, encoder, device, penultimate
        self.length = int(tokenizer.model_max_length)
        self._masked = bool(getattr(encoder.config, "use_attention_mask", False))

    def encode(self, text: str) -> EncodedPrompt:
        """The text's states. Raises ValueError with a sentence for weights that cannot be."""
        parts = [part for part in parse(text) if part.share]
        chunks = [self._chunks(part) for part in parts]
        longest = max(map(len, chunks))
        if len(parts) == 1 and all(weight == 1 for chunk in chunks[0] for weight in chunk.emphasis):
            states, pooled = self._encode(chunks[0])
            return EncodedPrompt(states.flatten(0, 1), pooled[0])
        empty, _ = self._encode([self._chunk([])])
        states = pooled = torch.zeros(())
        for part, some in zip(parts, chunks, strict=True):  # added up at once: each may take megabytes
            read = self._emphasised(some, longest, empty[0])
            states, pooled = states + part.share * read.states, pooled + part.share * read.pooled
        return EncodedPrompt(states, pooled)

    def _emphasised(self, chunks: list[Chunk], longest: int, empty: Tensor) -> EncodedPrompt:
        """One part's states, filled up with empty chunks."""
        states, pooled = self._encode(chunks)
        weights = torch.tensor([chunk.emphasis for chunk in chunks], device=states.device, dtype=states.dtype)
        states = torch.lerp(empty.expand_as(states), states, weights[:, :, None])
        filled = [*states, *[empty] * (longest - len(chunks))]
        return EncodedPrompt(torch.cat(filled), pooled[0])

    def _chunks(self, part: Part) -> list[Chunk]:
        tokens: list[tuple[int, float]] = []
        for span in part.spans:
            ids = self._tokenizer(span.text, add_special_tokens=False, truncation=False, verbose=False).input_ids
            tokens += [(token, span.emphasis) for token in ids]
        room = self.length - 2
        starts = range(0, max(1, len(tokens)), room)[:MAX_CHUNKS]
        return [self._chunk(tokens[at : at + room]) for at in starts]

    def _chunk(self, tokens: Sequence[tuple[int, float]]) -> Chunk:
        special = self._tokenizer
        ids = [special.bos_token_id, *(token for token, _ in tokens), special.eos_token_id]
        token_count = len(ids)
        ids += [special.pad_token_id] * (self.length - token_count)
        emphasis = [1.0, *(weight for _, weight in tokens)]
        return Chunk(tuple(ids), (*emphasis, *[1.0] * (self.length - len(emphasis))), token_count)

    def _encode(self, chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
        """[chunks, length, features] and what the encoder pools of each, [chunks, features]."""
        ids = torch.tensor([chunk.ids for chunk in chunks], device=self._device)
        mask = None
        if self._masked:
            token_count = torch.tensor([chunk.token_count for chunk in chunks], device=self._device)
            mask = (torch.arange(self.length, device=self._device)[None] < token_count[:, None]).long()
        out = self._encoder(ids, attention_mask=mask, output_hidden_states=self._penultimate)
        pooled: Tensor = out.text_embeds if getattr(out, "text_embeds", None) is not None else out.pooler_output
        return out.hidden_states[-2] if self._penultimate else out.last_hidden_state, pooled
