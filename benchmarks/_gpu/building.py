"""Builds a subject's networks with random weights, straight where they are wanted: no download, no file.

Tokenizers know letters alone; a prompt then has more tokens than in life, up to what an encoder reads at once, which is
what encoders are given in any case.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._gpu.configs import Config, Subject
from worker.checkpoints import Components, class_of, prepare_network

SPREAD = 0.02  # of weights: what networks are usually begun with
_NOISE = 1 << 22
_BOS, _EOS = 512, 513


def parts_of(subject: Subject, device: torch.device, dtype: torch.dtype) -> Components:
    """All that a checkpoint would bring. Networks lie in torch's usual format until `settled`."""
    networks = {}
    for folder, class_name in subject.kind.networks.items():
        with torch.device(device), _default(dtype):
            networks[folder] = network(class_name, subject.networks[folder])
        _fill(networks[folder])
        networks[folder].eval().requires_grad_(False)
    tokenizers = {folder: _tokenizer(name) for folder, name in subject.kind.tokenizers.items()}
    return Components(
        kind=subject.kind, networks=networks, tokenizers=tokenizers, scheduler=dict(subject.scheduler), index={},
        root=Path(), files=(),
    )  # fmt: skip


def settled(components: Components) -> None:
    """As our loader leaves them: convolutions in channels-last format."""
    for part in components.networks.values():
        prepare_network(part)


def network(class_name: str, config: Config) -> Any:
    """One network, its weights not yet written."""
    from transformers.initialization import no_init_weights

    kind = class_of(class_name)
    with no_init_weights(), torch.no_grad():
        if kind.__module__.startswith("diffusers"):
            return kind(**config)
        if class_name == "T5EncoderModel":
            from transformers import T5Config

            return kind(T5Config(vocab_size=32128, **config))
        from transformers import CLIPTextConfig

        ids = {"bos_token_id": _BOS, "eos_token_id": _EOS, "pad_token_id": _EOS}
        return kind(CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, **ids, **config))


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _fill(module: nn.Module) -> None:
    """Small random numbers, the same ones over and over: drawing twelve billion would take longer than computing."""
    noise: Tensor | None = None
    for name, weight in module.named_parameters():
        flat = weight.data.view(-1)
        if weight.ndim < 2:
            flat.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        if noise is None:
            noise = torch.randn(_NOISE, device=weight.device).mul_(SPREAD).to(weight.dtype)
        for at in range(0, len(flat), _NOISE):
            piece = flat[at : at + _NOISE]
            piece.copy_(noise[: len(piece)])


def _tokenizer(class_name: str) -> Any:
    from transformers import CLIPTokenizer, T5TokenizerFast

    if class_name.startswith("T5"):
        pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
        pieces += [("▁", -2.0), *((chr(sign), -3.0) for sign in range(ord("!"), ord("~") + 1))]
        return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    letters = [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=[], model_max_length=77)


def tflop_of(subject: Subject) -> float:
    """Floating-point operations that a grid of four takes, text left out, in units of 10¹²: counted, not measured."""
    side = subject.side // 2 ** (len(subject.networks["vae"]["block_out_channels"]) - 1)
    classifier_free = subject.kind.denoiser == "unet" and subject.guidance > 1
    forwards = subject.steps * (2 if classifier_free else 1)
    with torch.device("meta"), torch.no_grad():
        denoiser = network(subject.kind.networks[subject.kind.denoiser], subject.networks[subject.kind.denoiser])
        vae = network("AutoencoderKL", subject.networks["vae"])
        row = _counted(lambda: _one_row(denoiser, subject, side))
        decode = _counted(lambda: vae.decode(torch.empty(1, vae.config.latent_channels, side, side)))
    return 4 * (forwards * row + decode)


def _one_row(denoiser: Any, subject: Subject, side: int) -> Any:
    config = denoiser.config
    if subject.kind.denoiser == "unet":
        added = None
        if config.addition_embed_type == "text_time":
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
        text = torch.empty(1, 77, config.cross_attention_dim)
        return denoiser(torch.empty(1, config.in_channels, side, side), torch.empty(1), text, added_cond_kwargs=added)
    patches = (side // 2) ** 2
    return denoiser(
        hidden_states=torch.empty(1, patches, config.in_channels), timestep=torch.empty(1),
        pooled_projections=torch.empty(1, config.pooled_projection_dim),
        encoder_hidden_states=torch.empty(1, 256, config.joint_attention_dim), txt_ids=torch.empty(256, 3),
        img_ids=torch.empty(patches, 3),
    )  # fmt: skip


def _counted(work: Any) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops()) / 1e12
