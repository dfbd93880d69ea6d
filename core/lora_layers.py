"""What the layers of a network are called in LoRA files: diffusers' names, the original ones, and both written flat.

Pure: made from a network's own layers, so that a file's name is looked up and never taken apart. Knows no file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
#: A network's layers that LoRAs may change: the shapes of their weights, by their names in diffusers or transformers.
Layers = Mapping[str, Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a change belongs: a layer, and which outputs of the file's it takes where several layers share them.

    `swapped`: the two halves of the outputs stand the other way round in the file.
    """

    layer: str
    first: int = 0
    count: int
    swapped: bool = False


def flat(name: str) -> str:
    """A layer's name as kohya's scripts write it."""
    return name.replace(".", "_")


def index_of(layers: Layers) -> Mapping[str, Sequence[Place]]:
    """By each flat name that files may use the layers that it means, in the order of its outputs."""
    found: dict[str, list[Place]] = {}
    per_block = len([name for name in layers if name.startswith("down_blocks.0.resnets.") and name.endswith(".conv1")])
    for name, shape in layers.items():
        for alias in {flat(name), *map(flat, _others(name, layers, per_block))}:
            found[alias] = [Place(layer=name, count=shape[0])]
    for alias, members in _joined(layers):
        if not all(member in layers for member in members):
            continue
        places: list[Place] = []
        for member in members:
            first = places[-1].first + places[-1].count if places else 0
            places.append(Place(layer=member, first=first, count=layers[member][0]))
        found[flat(alias)] = places
    if "norm_out.linear" in layers:
        count = layers["norm_out.linear"][0]
        found["final_layer_adaLN_modulation_1"] = [Place(layer="norm_out.linear", count=count, swapped=True)]
    return found


def _others(name: str, layers: Layers, per_block: int) -> Iterator[str]:
    """The other names of one layer."""
    if name.endswith("to_out.0"):
        yield name.removesuffix(".0")
    words = name.split(".")
    if "self_attn" in words:
        yield from _of_text_encoder(name)
    elif words[0] == "text_model":
        yield name.removeprefix("text_model.")
    elif words[0] in ("transformer_blocks", "single_transformer_blocks") and len(words) > 2:
        if found := _FLUX_BLOCKS.get(f"{words[0]}.{'.'.join(words[2:])}"):
            yield from (one.format(words[1]) for one in found)
    elif name in _ENDS:
        yield from _ENDS[name]
    elif words[0] in ("down_blocks", "mid_block", "up_blocks"):
        yield from _of_unet(words, layers, per_block)
    if words[0] == "encoder" and "layers" in words:
        yield f"text_model.{name}"


def _of_text_encoder(name: str) -> Iterator[str]:
    """With and without `text_model.`, and as diffusers' attention processors called them."""
    bare = name.removeprefix("text_model.")
    layer, _, last = bare.rpartition(".")
    old = f"{layer}.to_{last.removesuffix('_proj')}"
    for one in (bare, old):
        yield one
        yield f"text_model.{one}"


def _of_unet(words: Sequence[str], layers: Layers, per_block: int) -> Iterator[str]:
    """A UNet's layer in the original layout, where blocks are counted through. Nothing for what that has not."""
    block, words = (words[0], words[1:]) if words[0] == "mid_block" else (f"{words[0]}.{words[1]}", words[2:])
    if len(words) < 3 or not words[1].isdecimal():
        return
    what, at, rest = words[0], int(words[1]), ".".join(words[2:])
    rest = _RESNET.get(rest, rest) if what == "resnets" else rest
    inside = 1 if what == "attentions" else 0
    if block == "mid_block":
        yield f"middle_block.{1 if inside else 2 * at}.{rest}"
        return
    side, number = block.split(".")
    start = int(number) * (per_block + 1)
    if side == "down_blocks":
        yield (
            f"input_blocks.{start + per_block + 1}.0.op"
            if what == "downsamplers"
            else (f"input_blocks.{start + 1 + at}.{inside}.{rest}")
        )
    elif what == "upsamplers":
        beside = any(name.startswith(f"{block}.attentions.") for name in layers)
        yield f"output_blocks.{start + per_block}.{1 + beside}.conv"
    else:
        yield f"output_blocks.{start + at}.{inside}.{rest}"


def _joined(layers: Layers) -> Iterator[tuple[str, Sequence[str]]]:
    """Layers that the original FLUX.1 computes as one: its name, and ours in order."""
    for name in layers:
        words = name.split(".")
        block = ".".join(words[:2])
        if name == f"{block}.attn.add_q_proj":
            members = [f"{block}.attn.add_{one}_proj" for one in "qkv"]
            yield f"double_blocks.{words[1]}.txt_attn.qkv", members
            yield f"double_blocks.{words[1]}.qkv2", members
        elif name == f"{block}.attn.to_q" and words[0] in ("transformer_blocks", "single_transformer_blocks"):
            members = [f"{block}.attn.to_{one}" for one in "qkv"]
            if words[0] == "transformer_blocks":
                yield f"double_blocks.{words[1]}.img_attn.qkv", members
                yield f"double_blocks.{words[1]}.qkv1", members
            else:
                yield f"single_blocks.{words[1]}.linear1", [*members, f"{block}.proj_mlp"]
                yield f"single_blocks.{words[1]}.qkv", members


_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
#: Before and behind the blocks, of UNets and of FLUX.1.
_ENDS: Mapping[str, Sequence[str]] = {
    "conv_in": ("input_blocks.0.0",),
    "conv_out": ("out.2",),
    "time_embedding.linear_1": ("time_embed.0",),
    "time_embedding.linear_2": ("time_embed.2",),
    "add_embedding.linear_1": ("label_emb.0.0",),
    "add_embedding.linear_2": ("label_emb.0.2",),
    "x_embedder": ("img_in",),
    "context_embedder": ("txt_in",),
    "time_text_embed.timestep_embedder.linear_1": ("time_in.in_layer",),
    "time_text_embed.timestep_embedder.linear_2": ("time_in.out_layer",),
    "time_text_embed.text_embedder.linear_1": ("vector_in.in_layer",),
    "time_text_embed.text_embedder.linear_2": ("vector_in.out_layer",),
    "time_text_embed.guidance_embedder.linear_1": ("guidance_in.in_layer",),
    "time_text_embed.guidance_embedder.linear_2": ("guidance_in.out_layer",),
    "proj_out": ("final_layer.linear",),
}
_DOUBLE, _SINGLE = "transformer_blocks", "single_transformer_blocks"
_FLUX_BLOCKS: Mapping[str, Sequence[str]] = {
    f"{_DOUBLE}.norm1.linear": ("double_blocks.{}.img_mod.lin",),
    f"{_DOUBLE}.norm1_context.linear": ("double_blocks.{}.txt_mod.lin",),
    f"{_DOUBLE}.attn.to_out.0": ("double_blocks.{}.img_attn.proj", "double_blocks.{}.proj1"),
    f"{_DOUBLE}.attn.to_add_out": ("double_blocks.{}.txt_attn.proj", "double_blocks.{}.proj2"),
    f"{_DOUBLE}.ff.net.0.proj": ("double_blocks.{}.img_mlp.0",),
    f"{_DOUBLE}.ff.net.2": ("double_blocks.{}.img_mlp.2",),
    f"{_DOUBLE}.ff_context.net.0.proj": ("double_blocks.{}.txt_mlp.0",),
    f"{_DOUBLE}.ff_context.net.2": ("double_blocks.{}.txt_mlp.2",),
    f"{_SINGLE}.norm.linear": ("single_blocks.{}.modulation.lin",),
    f"{_SINGLE}.proj_out": ("single_blocks.{}.linear2", "single_blocks.{}.proj"),
}
