"""The layers of the models that LoRAs are made for, with their shapes: from a config, or for a well-known kind.

Pure: what diffusers and transformers build from the same numbers, so that the bot, which loads neither, can tell
whether a LoRA belongs to a model. Knows nothing of LoRAs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Shape = tuple[int, ...]
Layers = Mapping[str, Shape]
_Layer = tuple[str, Shape]


def unet(config: Mapping[str, Any]) -> Layers:
    """A UNet2DConditionModel of Stable Diffusion's kinds, by its config. Raises KeyError, TypeError or the like."""
    return dict(_unet(config))


def _unet(config: Mapping[str, Any]) -> Iterator[_Layer]:
    channels: list[int] = list(config["block_out_channels"])
    levels, first = len(channels), channels[0]
    time = first * 4
    depths = _each(config.get("transformer_layers_per_block", 1), levels)
    per_block = int(config.get("layers_per_block", 2))
    context, linear = int(config["cross_attention_dim"]), bool(config.get("use_linear_projection"))
    yield "conv_in", (first, int(config.get("in_channels", 4)), 3, 3)
    yield "time_embedding.linear_1", (time, first)
    yield "time_embedding.linear_2", (time, time)
    if config.get("time_cond_proj_dim"):
        yield "time_embedding.cond_proj", (first, int(config["time_cond_proj_dim"]))
    if config.get("addition_embed_type") == "text_time":
        yield "add_embedding.linear_1", (time, int(config["projection_class_embeddings_input_dim"]))
        yield "add_embedding.linear_2", (time, time)
    skips, before = [first], first
    for level, (width, kind) in enumerate(zip(channels, config["down_block_types"], strict=True)):
        for number in range(per_block):
            block = f"down_blocks.{level}"
            yield from _resnet(f"{block}.resnets.{number}", before, width, time)
            if kind.startswith("CrossAttn"):
                yield from _attention(f"{block}.attentions.{number}", width, context, depths[level], linear)
            before = width
            skips.append(width)
        if level < levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", (width, width, 3, 3)
            skips.append(width)
    yield from _resnet("mid_block.resnets.0", before, before, time)
    yield from _attention("mid_block.attentions.0", before, context, depths[-1], linear)
    yield from _resnet("mid_block.resnets.1", before, before, time)
    for level, (width, kind) in enumerate(zip(channels[::-1], config["up_block_types"], strict=True)):
        for number in range(per_block + 1):
            block = f"up_blocks.{level}"
            yield from _resnet(f"{block}.resnets.{number}", before + skips.pop(), width, time)
            if kind.startswith("CrossAttn"):
                yield from _attention(f"{block}.attentions.{number}", width, context, depths[-1 - level], linear)
            before = width
        if level < levels - 1:
            yield f"up_blocks.{level}.upsamplers.0.conv", (width, width, 3, 3)
    yield "conv_out", (int(config.get("out_channels", 4)), before, 3, 3)


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _resnet(name: str, into: int, out: int, time: int) -> Iterator[_Layer]:
    yield f"{name}.conv1", (out, into, 3, 3)
    yield f"{name}.time_emb_proj", (out, time)
    yield f"{name}.conv2", (out, out, 3, 3)
    if into != out:
        yield f"{name}.conv_shortcut", (out, into, 1, 1)


def _attention(name: str, width: int, context: int, depth: int, linear: bool) -> Iterator[_Layer]:
    yield f"{name}.proj_in", (width, width) if linear else (width, width, 1, 1)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, seen in (("attn1", width), ("attn2", context)):
            yield f"{block}.{attention}.to_q", (width, width)
            yield f"{block}.{attention}.to_k", (width, seen)
            yield f"{block}.{attention}.to_v", (width, seen)
            yield f"{block}.{attention}.to_out.0", (width, width)
        yield f"{block}.ff.net.0.proj", (width * 8, width)
        yield f"{block}.ff.net.2", (width, width * 4)
    yield f"{name}.proj_out", (width, width) if linear else (width, width, 1, 1)


def clip(config: Mapping[str, Any], *, projects: bool = False) -> Layers:
    """A CLIPTextModel, or one that projects what it sums up. Raises KeyError, TypeError or the like."""
    width, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    found: dict[str, Shape] = {}
    for number in range(int(config["num_hidden_layers"])):
        block = f"text_model.encoder.layers.{number}"
        found |= {f"{block}.self_attn.{one}_proj": (width, width) for one in ("k", "v", "q", "out")}
        found |= {f"{block}.mlp.fc1": (wide, width), f"{block}.mlp.fc2": (width, wide)}
    if projects:
        found["text_projection"] = int(config["projection_dim"]), width
    return found


def t5(config: Mapping[str, Any]) -> Layers:
    """A T5EncoderModel with gated layers. Raises KeyError, TypeError or the like."""
    width, wide = int(config["d_model"]), int(config["d_ff"])
    inner = int(config["d_kv"]) * int(config["num_heads"])
    found: dict[str, Shape] = {}
    for number in range(int(config["num_layers"])):
        block = f"encoder.block.{number}.layer"
        found |= {f"{block}.0.SelfAttention.{one}": (inner, width) for one in "qkv"}
        found[f"{block}.0.SelfAttention.o"] = width, inner
        found |= {f"{block}.1.DenseReluDense.{one}": (wide, width) for one in ("wi_0", "wi_1")}
        found[f"{block}.1.DenseReluDense.wo"] = width, wide
    return found


def flux(config: Mapping[str, Any]) -> Layers:
    """A FluxTransformer2DModel. Raises KeyError, TypeError or the like."""
    width = int(config["attention_head_dim"]) * int(config["num_attention_heads"])
    patch = int(config["in_channels"])
    found: dict[str, Shape] = {
        "x_embedder": (width, patch),
        "context_embedder": (width, int(config["joint_attention_dim"])),
        "norm_out.linear": (2 * width, width),
        "proj_out": (int(config.get("out_channels") or patch), width),
    }
    embedders = {"timestep_embedder": 256, "text_embedder": int(config["pooled_projection_dim"])}
    if config.get("guidance_embeds"):
        embedders["guidance_embedder"] = 256
    for name, into in embedders.items():
        found |= {f"time_text_embed.{name}.linear_1": (width, into), f"time_text_embed.{name}.linear_2": (width, width)}
    attention = ("to_q", "to_k", "to_v")
    for number in range(int(config["num_layers"])):
        block = f"transformer_blocks.{number}"
        beside = ("to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
        found |= {f"{block}.attn.{one}": (width, width) for one in (*attention, *beside)}
        for suffix in ("", "_context"):
            found[f"{block}.norm1{suffix}.linear"] = 6 * width, width
            found[f"{block}.ff{suffix}.net.0.proj"] = 4 * width, width
            found[f"{block}.ff{suffix}.net.2"] = width, 4 * width
    for number in range(int(config["num_single_layers"])):
        block = f"single_transformer_blocks.{number}"
        found |= {f"{block}.attn.{one}": (width, width) for one in attention}
        found |= {f"{block}.norm.linear": (3 * width, width), f"{block}.proj_mlp": (4 * width, width)}
        found[f"{block}.proj_out"] = width, 5 * width
    return found


# --- the well-known ones ----------------------------------------------------------------------------------------------

_ATTENTIVE, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
_UP = {_ATTENTIVE: "CrossAttnUpBlock2D", _PLAIN: "UpBlock2D"}


def _stable_diffusion(kinds: list[str], channels: list[int], context: int, **more: Any) -> Layers:
    return unet({
        "block_out_channels": channels, "cross_attention_dim": context, "down_block_types": kinds,
        "up_block_types": [_UP[kind] for kind in kinds[::-1]], **more,
    })  # fmt: skip


def _clip(width: int, layers: int, *, projects: bool = False) -> Layers:
    config = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    return clip({**config, "projection_dim": width}, projects=projects)


def well_known(shape: str) -> Mapping[str, Layers] | None:
    """The networks of a kind of checkpoint, as `safetensors_header.shape_of` names it; None for another."""
    four, three = [*[_ATTENTIVE] * 3, _PLAIN], [_PLAIN, _ATTENTIVE, _ATTENTIVE]
    match shape:
        case "sd1":
            return {"unet": _stable_diffusion(four, [320, 640, 1280, 1280], 768), "text_encoder": _clip(768, 12)}
        case "sd2":
            wide = _stable_diffusion(four, [320, 640, 1280, 1280], 1024, use_linear_projection=True)
            return {"unet": wide, "text_encoder": _clip(1024, 23)}
        case "sdxl":
            large = _stable_diffusion(
                three, [320, 640, 1280], 2048, use_linear_projection=True, transformer_layers_per_block=[1, 2, 10],
                addition_embed_type="text_time", projection_class_embeddings_input_dim=2816,
            )  # fmt: skip
            second = _clip(1280, 32, projects=True)
            return {"unet": large, "text_encoder": _clip(768, 12), "text_encoder_2": second}
        case "flux":
            transformer = flux({
                "attention_head_dim": 128, "num_attention_heads": 24, "in_channels": 64, "joint_attention_dim": 4096,
                "pooled_projection_dim": 768, "guidance_embeds": True, "num_layers": 19, "num_single_layers": 38,
            })  # fmt: skip
            words = t5({"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24})
            return {"transformer": transformer, "text_encoder": _clip(768, 12), "text_encoder_2": words}
    return None
