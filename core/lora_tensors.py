"""What a tensor of a LoRA file is, by its name: a part of a kind of change, and the layer as the file calls it.

Pure, and linear in a name's length. Knows the endings that kohya's scripts, LyCORIS, peft, diffusers, ComfyUI and XLabs
write; knows no model's layers.
"""

from collections.abc import Mapping
from enum import StrEnum


class Part(StrEnum):
    """One tensor of a change, as it is called here however its writer calls it."""

    DOWN = "down"
    UP = "up"
    MID = "mid"
    ALPHA = "alpha"
    MAGNITUDE = "magnitude"
    BIAS = "bias"
    DIFF = "diff"
    DIFF_B = "diff_b"
    HADA_W1_A, HADA_W1_B, HADA_W2_A, HADA_W2_B = "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"
    HADA_T1, HADA_T2 = "hada_t1", "hada_t2"
    LOKR_W1, LOKR_W1_A, LOKR_W1_B = "lokr_w1", "lokr_w1_a", "lokr_w1_b"
    LOKR_W2, LOKR_W2_A, LOKR_W2_B, LOKR_T2 = "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"
    GLORA_A1, GLORA_A2, GLORA_B1, GLORA_B2 = "a1.weight", "a2.weight", "b1.weight", "b2.weight"
    # What is not drawn, each a kind of its own.
    OFT = "OFT"
    NORM = "a norm's"
    IA3 = "IA3"
    EMBEDDING = "a token embedding's"
    SET_WEIGHT = "a whole replaced layer's"


#: Under these first words a file brings embeddings along, for words of a prompt.
BUNDLED = "bundle_emb."

_DOWN_UP = ("lora_down", "lora_up"), ("lora_A", "lora_B"), ("lora.down", "lora.up"),\
    ("lora_linear_layer.down", "lora_linear_layer.up")  # fmt: skip
_ENDINGS: Mapping[str, Part] = {
    **{f"{down}.weight": Part.DOWN for down, _ in _DOWN_UP},
    **{f"{up}.weight": Part.UP for _, up in _DOWN_UP},
    **{f"{up}.bias": Part.BIAS for _, up in _DOWN_UP},
    "lora_mid.weight": Part.MID,
    "dora_scale": Part.MAGNITUDE,
    "lora_magnitude_vector": Part.MAGNITUDE,
    "lora_magnitude_vector.weight": Part.MAGNITUDE,
    "oft_blocks": Part.OFT,
    "oft_diag": Part.OFT,
    "oft_R.weight": Part.OFT,
    "rescale": Part.OFT,
    "w_norm": Part.NORM,
    "b_norm": Part.NORM,
    "on_input": Part.IA3,
    "lora_embedding_A": Part.EMBEDDING,
    "lora_embedding_B": Part.EMBEDDING,
    "set_weight": Part.SET_WEIGHT,
    **{
        part.value: part
        for part in Part
        if part.value.startswith(("alpha", "diff", "hada_", "lokr_")) or part.value.endswith(".weight")
    },
}
#: peft puts the adapter's name behind these.
_ADAPTERS = frozenset({"lora_A", "lora_B", "lora_magnitude_vector", "lora_embedding_A", "lora_embedding_B", "oft_R"})
_LONGEST = 3  # words of an ending


def is_telling(name: str) -> bool:
    """Whether no file but a LoRA has a tensor of this name."""
    if "lora" in name or name.endswith(f".{Part.ALPHA}"):
        return True
    found = split(name)
    return found is not None and not found[1].value.endswith(".weight")


def split(name: str) -> tuple[str, Part] | None:
    """The layer as the file calls it, and the part; None for a tensor that is none of a LoRA's."""
    words = name.split(".")
    for count in range(min(_LONGEST, len(words) - 1), 0, -1):
        part = _ENDINGS.get(".".join(words[-count:]))
        if part is not None:
            return ".".join(_without_processor(words[:-count], part)), part
    return _of_adapter(words) or _of_processor(words)


def _without_processor(words: list[str], part: Part) -> list[str]:
    """`….attn1.processor.to_q.alpha` is said of the layer whose matrices `_of_processor` reads."""
    if part is Part.ALPHA and len(words) > 1 and words[-2] == "processor":
        return [*words[:-2], words[-1].removesuffix("_lora")]
    return words


def _of_adapter(words: list[str]) -> tuple[str, Part] | None:
    """`….lora_A.default.weight` and `….lora_magnitude_vector.default`: without the adapter's name."""
    for place, rest in ((-3, words[-1:]), (-2, [])):
        if len(words) > -place and words[place] in _ADAPTERS:
            part = _ENDINGS.get(".".join((words[place], *rest)))
            if part is not None:
                return ".".join(words[:place]), part
    return None


def _of_processor(words: list[str]) -> tuple[str, Part] | None:
    """`….attn1.processor.to_q_lora.down.weight`, of diffusers' attention processors and XLabs' (`qkv_lora1`)."""
    if len(words) < 4 or words[-1] != "weight" or words[-2] not in ("down", "up"):
        return None
    layer, lora, number = words[-3].rpartition("_lora")
    if not lora or number not in ("", "1", "2"):
        return None
    above = words[:-4] if words[-4] == "processor" else words[:-3]
    return ".".join((*above, layer + number)), Part(words[-2])
