"""How much memory a loaded model's networks take, and about how much their work does. Knows nothing of plans.

Weights are counted; work is estimated from the networks' configs, from above: a forward that needs more after all
halves its rows.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from worker.memory.offload_plan import ModelSizes

#: Working tensors of a UNet's widest layer at once, beside what its skips keep.
UNET_TENSORS = 10
#: Working numbers of a transformer's block for each token, in widths: projections, attention, the wide layer.
BLOCK_WIDTHS = 14
#: Working tensors of a decoder's last layers at once.
DECODER_TENSORS = 5
#: Pixels of a tile's side when pictures are decoded in tiles.
TILE_SIDE = 512
TEXT_TOKENS = 512
_PATCH = 2


def estimate_sizes(parts: Mapping[str, nn.Module], *, native: int, factor: int, classifier_free: bool) -> ModelSizes:
    """For networks by diffusers' names. `native`: a picture's side; `classifier_free`: guidance takes two forwards."""
    denoiser = parts["transformer"] if "transformer" in parts else parts.get("unet")
    vae = parts.get("vae")
    text = [part for name, part in parts.items() if part is not denoiser and part is not vae]
    width = _bytes_each(denoiser)
    row = _row_bytes(denoiser, native // factor) * width * (2 if classifier_free else 1)
    streamed = [*text, *([vae] if vae is not None else [])]
    return ModelSizes(
        text=sum(weights_mb(part) for part in text),
        denoiser=weights_mb(denoiser),
        autoencoder=weights_mb(vae),
        block=max((weights_mb(block) for block in _blocks(denoiser)), default=weights_mb(denoiser)),
        row=_mb(row),
        decode=_mb(_decode_bytes(vae, native)),
        decode_tiled=_mb(_decode_bytes(vae, min(native, TILE_SIDE))),
        layer=max((_mb(_own_bytes(layer)) for part in streamed for layer in part.modules()), default=0),
    )


def weights_mb(part: nn.Module | None) -> int:
    """Its parameters and buffers."""
    if part is None:
        return 0
    tensors = {id(tensor): tensor for tensor in (*part.parameters(), *part.buffers())}
    return _mb(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))


def _own_bytes(layer: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in layer.parameters(recurse=False))


def _mb(count: int) -> int:
    return -(-count >> 20)


def _bytes_each(part: nn.Module | None) -> int:
    weight = next(part.parameters(), None) if part is not None else None
    return weight.element_size() if weight is not None else 4


def _blocks(denoiser: nn.Module | None) -> list[nn.Module]:
    """What is moved at once when it is streamed: a transformer's blocks, a UNet's layers, for its blocks are few."""
    if denoiser is None:
        return []
    if hasattr(getattr(denoiser, "config", None), "block_out_channels"):
        return [layer for layer in denoiser.modules() if not list(layer.children())]
    lists = [part for part in denoiser.children() if isinstance(part, nn.ModuleList)]
    return [block for part in lists for block in part]


def _row_bytes(denoiser: nn.Module | None, side: int) -> int:
    """Numbers that one row's forward keeps at once; `side`: of its latents."""
    config: Any = getattr(denoiser, "config", None)
    channels = list(getattr(config, "block_out_channels", None) or ())
    if channels:
        layers = getattr(config, "layers_per_block", 2)
        layers = layers if isinstance(layers, int) else max(layers)
        skips = sum((layers + 1) * wide * (side >> level) ** 2 for level, wide in enumerate(channels))
        return int(skips + UNET_TENSORS * 3 * channels[0] * side**2)
    heads, each = getattr(config, "num_attention_heads", None), getattr(config, "attention_head_dim", None)
    wide = heads * each if heads and each else int(getattr(config, "hidden_size", None) or 3072)
    return int(((side // _PATCH) ** 2 + TEXT_TOKENS) * wide * BLOCK_WIDTHS)


def _decode_bytes(vae: nn.Module | None, side: int) -> int:
    channels = list(getattr(getattr(vae, "config", None), "block_out_channels", None) or (128, 256))
    return int(DECODER_TENSORS * channels[min(1, len(channels) - 1)] * side**2 * _bytes_each(vae))
