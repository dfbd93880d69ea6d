"""The text encoder: two small CLIP layers, first taught in a minute to tell who has which colour where.

The lesson uses captions alone: six questions (left thing, its colour, right thing, its colour, ground, sky) look at
the encoder's output the way the UNet will, by cross attention. The questions are thrown away afterwards.
"""

import random
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.postcard.captions import caption
from models.postcard.tokenizer import MAX_LENGTH
from models.postcard.world import COLOURS, GROUNDS, SKIES, THINGS, Scene, training_scene

WIDTH = 128
NOTHING = len(THINGS)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers of width 128 with random weights."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH * 4,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_factor=1.0,
        )
    )


def token_ids(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """(count, MAX_LENGTH) token ids, padded and cut as every Stable Diffusion pipeline does."""
    found = tokenizer(list(captions), padding="max_length", max_length=MAX_LENGTH, truncation=True)
    return torch.tensor(found["input_ids"])


class Questions(nn.Module):
    """Six learned questions that attend to the tokens and answer with a class each."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(6, WIDTH) * 0.5)
        self.attend = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        kinds, colours = len(THINGS) + 1, len(COLOURS) + 1
        self.answers = nn.ModuleList(
            nn.Linear(WIDTH, n) for n in (kinds, colours, kinds, colours, len(GROUNDS), len(SKIES))
        )

    def forward(self, states: Tensor) -> list[Tensor]:
        seen, _ = self.attend(self.queries.expand(len(states), -1, -1), states, states, need_weights=False)
        return [answer(seen[:, i]) for i, answer in enumerate(self.answers)]


def labels(scene: Scene) -> list[int]:
    """The six right answers; a missing thing is the last class."""
    colours = list(COLOURS)
    out = []
    for i in range(2):
        there = i < len(scene.things)
        out += [
            THINGS.index(scene.things[i].kind) if there else NOTHING,
            colours.index(scene.things[i].colour) if there else len(colours),
        ]
    return [*out, GROUNDS.index(scene.ground), SKIES.index(scene.sky)]


def teach_words(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, seconds: float, seed: int = 5) -> None:
    """The lesson; prints how often each question is answered rightly on fresh captions."""
    rng = random.Random(seed)
    questions = Questions()
    weights = [*encoder.parameters(), *questions.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1e-2)
    begin, step, right = time.monotonic(), 0, torch.zeros(6)
    while (spent := (time.monotonic() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50, (1 - spent) * 3 + 0.02)
        scenes = [training_scene(rng, (256, 256), rng.choice((1, 2, 2))) for _ in range(128)]
        wanted = torch.tensor([labels(s) for s in scenes])
        ids = token_ids(tokenizer, [caption(s, rng, drop=0.05) for s in scenes])
        answers = questions(encoder(ids).last_hidden_state)
        loss = torch.stack([F.cross_entropy(a, wanted[:, i]) for i, a in enumerate(answers)]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        hits = torch.stack([(a.argmax(1) == wanted[:, i]).float().mean() for i, a in enumerate(answers)])
        right = torch.lerp(right, hits, 0.05)
        step += 1
        if step % 100 == 0:
            print(f"words {step} loss {loss.item():.3f} right {[f'{x:.2f}' for x in right.tolist()]}", flush=True)
