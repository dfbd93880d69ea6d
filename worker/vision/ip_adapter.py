"""IP-Adapter for UNets: pictures as tokens that every cross attention hears beside the text, with a scale per row.

Loads the published format (one safetensors file with `image_proj.*` and `ip_adapter.N.*`; plain projection or "plus"
resampler) and a CLIP vision encoder's folder. Its tokens are conditions like any others (`interfaces.Conditions`):

    image        [tokens, features]     all references', one after the other
    image_scale  [tokens, layers]       how much each token counts in each cross attention; 0 = unheard there

Within a layer the tokens share one softmax, weighted by their scales; the largest scale is the layer's. A text without
`image` is computed as if no adapter were there. Knows nothing of jobs and of what a reference is for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.interfaces import Conditions, Pixels
from worker.vision.headers import Shapes
from worker.vision.image_processor import GREY, ImageProcessor
from worker.vision.transformers_folder import open_network

Weights = Mapping[str, Tensor]

#: Cross attentions that make a picture's look more than its contents, by the start of their names. SDXL's single block
#: is InstantStyle's (arXiv 2404.02733); smaller UNets have it in their second up block.
_STYLE_BLOCK_SDXL, _STYLE_BLOCK = "up_blocks.0.attentions.1.", "up_blocks.1."
_LEAST = 1e-6
_HEAD = 64  # width of a resampler's head
_UNKNOWN = "only plain and plus image projections are known"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTarget:
    """Where an adapter goes in a UNet: its cross attentions in order, and how its own weights lie."""

    layers: tuple[str, ...]  # names of their processors
    shapes: tuple[tuple[int, int], ...]  # of their keys: out, in
    style_layers: tuple[float, ...]  # for each of them 1 where the look is made
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, unet: Any) -> "AdapterTarget":
        """What an adapter has to fit: the cross-attention layers of this UNet."""
        layers = tuple(name for name in unet.attn_processors if name.endswith("attn2.processor"))
        keys = [unet.get_submodule(name.removesuffix(".processor")).to_k for name in layers]
        start = _STYLE_BLOCK_SDXL if unet.config.addition_embed_type == "text_time" else _STYLE_BLOCK
        return cls(
            layers=layers,
            shapes=tuple((int(key.out_features), int(key.in_features)) for key in keys),
            style_layers=tuple(float(name.startswith(start)) for name in layers),
            device=unet.device,
            dtype=unet.dtype,
        )


class IPAdapter:
    """An adapter and the encoder that makes its tokens. The UNet hears them while the adapter is installed."""

    def __init__(
        self, *, encoder: nn.Module, image_processor: ImageProcessor, projection: "Projection",
        layers: Mapping[str, "PictureAttention"], style_layers: Tensor,
    ) -> None:  # fmt: skip
        self._encoder, self._image_processor, self._projection = encoder, image_processor, projection
        self._place = next(encoder.parameters())
        self._layers, self._before = layers, dict[str, Any]()
        self.style_layers = style_layers  # float [layers]: 1 where the look is made

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What it holds, its part of the UNet included."""
        return self._encoder, self._projection, *self._layers.values()

    def install(self, unet: Any) -> None:
        """Between two forwards, from the thread that computes them. Without pictures they answer as before."""
        there = unet.attn_processors
        self._before = {name: there[name] for name in self._layers}
        unet.set_attn_processor({**there, **self._layers})

    def uninstall(self, unet: Any) -> None:
        """The reverse of `install`."""
        unet.set_attn_processor({**unet.attn_processors, **self._before})

    def smoke_test(self) -> None:
        """Looks at one grey picture. Raises ArithmeticError for tokens that are no numbers."""
        if not all(bool(tokens.isfinite().all()) for tokens in (self.tokens(GREY), self.empty_tokens())):
            raise ArithmeticError("its tokens are not finite")

    @torch.inference_mode()
    def tokens(self, pixels: Pixels) -> Tensor:
        """A picture as [tokens, features]."""
        return self._project(self._image_processor.process(pixels))

    @torch.inference_mode()
    def empty_tokens(self) -> Tensor:
        """No picture, for guidance's other half: the tokens of an embedding of zeros, or of grey for a resampler."""
        width, height = self._image_processor.size
        return self._project(torch.zeros(1, 3, height, width), empty=True)

    def _project(self, seen: Tensor, *, empty: bool = False) -> Tensor:
        out = self._encoder(seen.to(self._place), output_hidden_states=self._projection.wants_patches)
        seen = out.hidden_states[-2] if self._projection.wants_patches else out.image_embeds
        if empty and not self._projection.wants_patches:
            seen = torch.zeros_like(seen)
        tokens: Tensor = self._projection(seen)[0]
        return tokens


class Projection(nn.Module):
    """What an encoder saw as tokens: [1, features] or [1, patches, features] to [1, n, width]."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.wants_patches = "latents" in weights
        if not self.wants_patches and "proj.weight" not in weights:
            raise ValueError(_UNKNOWN)
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value)
        self._blocks = len({name.split(".")[1] for name in weights if name.startswith("layers.")})

    def forward(self, seen: Tensor) -> Tensor:
        """[1, features] or [1, patches, features] as tokens."""
        return self._resampled(seen) if self.wants_patches else self._plain(seen)

    def _plain(self, seen: Tensor) -> Tensor:
        tokens = functional.linear(seen, self._of("proj.weight"), self._of("proj.bias"))
        return self._norm(tokens.view(len(seen), -1, len(self._of("norm.weight"))), "norm")

    def _resampled(self, seen: Tensor) -> Tensor:
        """A few learned queries ask the patches, block by block."""
        seen = functional.linear(seen, self._of("proj_in.weight"), self._of("proj_in.bias"))
        tokens = self._of("latents").expand(len(seen), -1, -1)
        for block in range(self._blocks):
            ask, think = f"layers.{block}.0", f"layers.{block}.1"
            own = self._norm(tokens, f"{ask}.norm2")
            tokens = tokens + self._asked(ask, own, torch.cat([self._norm(seen, f"{ask}.norm1"), own], dim=1))
            wide = functional.linear(self._norm(tokens, f"{think}.0"), self._of(f"{think}.1.weight"))
            tokens = tokens + functional.linear(functional.gelu(wide), self._of(f"{think}.3.weight"))
        tokens = functional.linear(tokens, self._of("proj_out.weight"), self._of("proj_out.bias"))
        return self._norm(tokens, "norm_out")

    def _asked(self, name: str, own: Tensor, told: Tensor) -> Tensor:
        query = functional.linear(own, self._of(f"{name}.to_q.weight"))
        key, value = functional.linear(told, self._of(f"{name}.to_kv.weight")).chunk(2, dim=-1)
        heads = query.shape[-1] // _HEAD
        answer = _attend(_split(query, heads), key, value, None)
        return functional.linear(_merge(answer), self._of(f"{name}.to_out.weight"))

    def _norm(self, tokens: Tensor, name: str) -> Tensor:
        return functional.layer_norm(tokens, tokens.shape[-1:], self._of(f"{name}.weight"), self._of(f"{name}.bias"))

    def _of(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name.replace(".", "_"))
        return value


class PictureAttention(nn.Module):
    """A cross attention that also hears pictures; takes the place of diffusers' processor of that layer."""

    def __init__(self, layer: int, to_key: Tensor, to_value: Tensor) -> None:
        super().__init__()
        self._layer = layer
        self.to_key = nn.Parameter(to_key, requires_grad=False)
        self.to_value = nn.Parameter(to_value, requires_grad=False)

    # Not `forward`: diffusers passes on only what the signature of `__call__` names.
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        ip_hidden_states: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The text's attention, plus the pictures' by their scale. The names are those that diffusers passes on."""
        query = _split(attn.to_q(hidden_states), attn.heads)
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        if attention_mask is not None:
            rows, tokens = key.shape[:2]
            attention_mask = attn.prepare_attention_mask(attention_mask, tokens, rows)
            attention_mask = attention_mask.view(rows, attn.heads, -1, tokens)
        heard = _attend(query, key, value, attention_mask)
        if ip_hidden_states is not None:
            tokens_of, bias, scale = ip_hidden_states
            key, value = functional.linear(tokens_of, self.to_key), functional.linear(tokens_of, self.to_value)
            seen = _attend(query, key, value, bias[:, None, None, :, self._layer])
            heard = heard + seen * scale[:, None, None, self._layer, None]
        out: Tensor = attn.to_out[1](attn.to_out[0](_merge(heard)))
        return out


def ip_adapter_kwargs(conditions: Conditions) -> dict[str, Any] | None:
    """What a UNet takes as `cross_attention_kwargs` for stacked conditions: None when they hold no pictures."""
    if "image" not in conditions:
        return None
    scales = conditions["image_scale"]
    highest = scales.amax(dim=1)
    bias = (scales / highest.clamp_min(_LEAST)[:, None]).clamp_min(_LEAST).log()
    tokens = conditions["image"]
    return {"ip_hidden_states": (tokens, bias.to(tokens.dtype), highest.to(tokens.dtype))}


def check_adapter(target: AdapterTarget, adapter: Shapes, encoder: Shapes) -> None:
    """Says in words what does not fit, from the shapes in the files' headers. Raises ValueError."""
    found, layers = sum(name.endswith("to_k_ip.weight") for name in adapter), len(target.layers)
    if found != layers:
        raise ValueError(f"the adapter has {found} layers, the model's UNet {layers}: it is for another model")
    for place, wanted in enumerate(target.shapes):
        for one in "kv":
            shape = adapter.get(f"ip_adapter.{2 * place + 1}.to_{one}_ip.weight")
            if shape != wanted:
                raise ValueError(f"the adapter's layer {2 * place + 1} has a different width from the model's: {shape}")
    if takes := _encoder_width(adapter):
        makes = encoder.get(takes[0], ())
        if makes and makes[0] != takes[1]:
            raise ValueError(f"the adapter takes {takes[1]} features, its encoder makes {makes[0]}")


def _encoder_width(adapter: Shapes) -> tuple[str, int] | None:
    """The encoder's tensor that is as wide as what the adapter takes, and that width. Raises ValueError."""
    resamples, plain = (adapter.get(f"image_proj.{name}.weight") for name in ("proj_in", "proj"))
    if "image_proj.latents" in adapter:
        return ("vision_model.embeddings.class_embedding", resamples[1]) if resamples else None
    if plain is None:
        raise ValueError(_UNKNOWN)
    return "visual_projection.weight", plain[1]


def open_adapter(target: AdapterTarget, file: Path, encoder: Path) -> IPAdapter:
    """Loads the adapter's file and its encoder's folder. Raises CannotOpen, ValueError or OSError."""
    from safetensors.torch import load_file
    from transformers import CLIPVisionModelWithProjection

    weights = {name: value.to(target.device, target.dtype, copy=True) for name, value in load_file(file).items()}
    layers = {
        name: PictureAttention(place, *(weights[f"ip_adapter.{2 * place + 1}.to_{one}_ip.weight"] for one in "kv"))
        for place, name in enumerate(target.layers)
    }
    own = {name.removeprefix("image_proj."): value for name, value in weights.items() if name.startswith("image_proj.")}
    return IPAdapter(
        encoder=open_network(CLIPVisionModelWithProjection, encoder, target.device, target.dtype),
        image_processor=ImageProcessor.open(encoder),
        projection=Projection(own),
        layers=layers,
        style_layers=torch.tensor(target.style_layers, device=target.device),
    )


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    heads = query.shape[1]
    return functional.scaled_dot_product_attention(query, _split(key, heads), _split(value, heads), attn_mask=mask)


def _split(flat: Tensor, heads: int) -> Tensor:
    """[rows, n, heads · width] to [rows, heads, n, width]."""
    return flat.view(*flat.shape[:2], heads, -1).transpose(1, 2)


def _merge(split: Tensor) -> Tensor:
    return split.transpose(1, 2).flatten(2)
