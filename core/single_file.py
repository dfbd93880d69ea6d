"""Tells what a whole checkpoint in one `.safetensors` file is: which Stable Diffusion, and how its noise lies.

The one rule for it, for whoever looks at files and for whoever computes. Pure: knows a file's header and, where that is
not enough, the bytes of one small tensor; loads nothing. Other names for the same tensors stand here too.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, ldexp, nan
from statistics import pstdev
from typing import BinaryIO

from core.safetensors_header import Header, Tensor, is_lora

UNET = "model.diffusion_model."
_VAES = ("first_stage_model.", "vae.")
#: What text encoders are called inside: CLIP and OpenCLIP of 1.x and 2.x, and the first and the second of XL.
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
_XL_CLIP, _XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
#: OpenCLIP where a program writes all text encoders as XL's: of 2.x (`sd_turbo.safetensors`), and of XL's refiner.
_FIRST_OPEN_CLIP = "conditioner.embedders.0.model."
_PARTS = (UNET, *_VAES, "cond_stage_model.", "conditioner.")

#: Width of the text that the UNet looks at, by shape.
_WIDTHS = {"sd1": 768, "sd2": 1024, "sdxl": 2048}
NAMES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "Stable Diffusion XL"}
#: How many transformers follow each other in each of the UNet's blocks, and how many blocks there are on either side.
_SD_DEPTHS = {
    **{f"input_blocks.{block}": 1 for block in (1, 2, 4, 5, 7, 8)},
    "middle_block.1": 1,
    **{f"output_blocks.{block}": 1 for block in range(3, 12)},
}
_XL_DEPTHS = {
    **{f"input_blocks.{block}": 2 if block < 6 else 10 for block in (4, 5, 7, 8)},
    "middle_block.1": 10,
    **{f"output_blocks.{block}": 10 if block < 3 else 2 for block in range(6)},
}
_DEPTHS = {"sd1": _SD_DEPTHS, "sd2": _SD_DEPTHS, "sdxl": _XL_DEPTHS}
_SIDES = {"sd1": 12, "sd2": 12, "sdxl": 9}
_TRANSFORMER = re.compile(r"((?:in|out)put_blocks\.\d+|middle_block\.1)\.(?:\d\.)?transformer_blocks\.(\d+)\.")
_SIDE = re.compile(r"((?:in|out)put_blocks)\.(\d+)\.")

_IN_CHANNELS, _LATENT_CHANNELS = f"{UNET}input_blocks.0.0.weight", 4
#: By this a distilled UNet takes its guidance as a number.
GUIDANCE = f"{UNET}time_embed.cond_proj.weight"
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_SMALL_FLOATS = frozenset({"F8_E4M3", "F8_E5M2"})
#: A layer's scale, by which its small weights are to be multiplied, as ComfyUI calls it; and what it writes beside it.
_SCALES = (".scale_weight", ".weight_scale")
_BESIDE = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
_NUMBERS = (".position_ids", *_BESIDE)

#: In 2.x at 768 pixels, which predicts v, this differs much from place to place; in 2.x at 512, which predicts noise,
#: hardly. Other programs tell them apart by it, too.
_TELLING = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
_WIDE = 0.09
_MOST_TELLING = 1 << 16  # bytes
_SAID_V = frozenset({"v", "v_pred", "vpred", "v_prediction"})

REFINER = "is a refiner: it only refines the pictures of another model. Use the base model."
_INPAINTING = "only fills masks in pictures and makes none from words. Use the model it was made from."
#: Latents, those of a picture with a hole, and the hole.
_WITH_A_MASK = 9
_QUANTISED = "has quantised weights of a kind that is not read here. Use one in fp16 or in scaled fp8."
_AS_FOLDER = "Use its folder in diffusers' format."
_LORA = "is a LoRA, not a checkpoint: it belongs in the folder `loras`, and `--lora` with its name uses it."
#: What else files with tensors of such names are.
_STRANGERS = (
    ("double_blocks.", "holds FLUX's transformer, which needs two text encoders beside it"),
    ("joint_blocks.", "is Stable Diffusion 3 in one file"),
)

#: `(begin, end)` behind the header -> the bytes there.
Take = Callable[[int, int], bytes]


class WrongFile(ValueError):
    """Nothing can be drawn with the file; the text says why and what would do, to stand behind its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleFile:
    """`shape`: sd1, sd2 or sdxl. `zero_snr`: its schedule ends in pure noise.

    `guidance_features`: how wide the number is that a distilled UNet (LCM) takes for its guidance; 0 = none.
    """

    shape: str
    prediction: str
    zero_snr: bool
    guidance_features: int = 0

    @property
    def native(self) -> int:
        """The side of its native square in pixels."""
        return {"sd1": 512, "sd2": 512 if self.prediction == "epsilon" else 768, "sdxl": 1024}[self.shape]


def identify(
    header: Header, name: str, *, take: Take | None = None, own_vae: bool = False, any_size: bool = False
) -> SingleFile:
    """What the file is. `name`: its author's, which counts where nothing else tells. Raises WrongFile.

    `own_vae`: its owner names a VAE for it, so that it may be without one. `any_size`: it brings configs of its own.
    """
    _check_denoiser(header)
    _check_weights(header)
    shape = _shape(header, own_vae=own_vae)
    if not any_size:
        _check_sizes(header, shape)
    guidance = header.tensors.get(GUIDANCE)
    prediction, zero = _prediction(header, shape, name, take)
    features = guidance.shape[1] if guidance is not None and len(guidance.shape) > 1 else 0
    return SingleFile(shape=shape, prediction=prediction, zero_snr=zero, guidance_features=features)


def unet_tensors(header: Header) -> Iterator[str]:
    """The names of the UNet's own tensors, without scales and what else stands beside weights."""
    return (name for name in header.tensors if name.startswith(UNET) and not name.endswith((*_SCALES, *_BESIDE)))


def scale_of(header: Header, name: str) -> str:
    """The name of the tensor by which this one is to be multiplied; empty where there is none."""
    layer = name.removesuffix(".weight")
    found = (layer + ending for ending in _SCALES if layer != name and layer + ending in header.tensors)
    return next(found, "")


def usual_name(name: str, shape: str) -> str:
    """A tensor's name as most files have it, and as libraries look for it."""
    if shape == "sd2" and name.startswith(_FIRST_OPEN_CLIP):
        return _OPEN_CLIP + name.removeprefix(_FIRST_OPEN_CLIP)
    for clip in (_CLIP, _XL_CLIP):
        if name.startswith((f"{clip}embeddings.", f"{clip}encoder.", f"{clip}final_layer_norm.")):
            return f"{clip}text_model.{name.removeprefix(clip)}"
    return name


def behind_header(file: BinaryIO) -> Take:
    """Takes bytes of tensors out of a file that was read to the end of its header, and no further."""
    start = file.tell()

    def take(begin: int, end: int) -> bytes:
        file.seek(start + begin)
        return file.read(end - begin)

    return take


def wants_more(channels: int) -> str:
    """Why a UNet that takes so many channels beside the words makes no pictures from words, to stand behind a name."""
    if channels == _WITH_A_MASK:
        return _INPAINTING
    return f"takes {channels} channels: pictures that it follows or changes, not words alone. Use another model."


# --- which it is ----------------------------------------------------------------------------------------------------


def _has(header: Header, *beginnings: str) -> bool:
    return any(name.startswith(beginnings) for name in header.tensors)


def _check_denoiser(header: Header) -> None:
    """Raises WrongFile where there is no UNet that makes pictures from words."""
    if not _has(header, f"{UNET}input_blocks."):
        raise WrongFile(_stranger(header))
    first = header.tensors.get(_IN_CHANNELS)
    if first is not None and first.shape[1:2] != (_LATENT_CHANNELS,):
        raise WrongFile(wants_more(first.shape[1] if len(first.shape) > 1 else 0))


def _stranger(header: Header) -> str:
    if is_lora(header):
        return _LORA
    if _has(header, "input_blocks."):
        return "holds a UNet alone: it is only part of a model. Fetch the whole checkpoint."
    said = (words for sign, words in _STRANGERS if any(sign in name for name in header.tensors))
    what = next(said, "is not Stable Diffusion 1.x, 2.x or XL in one file, in its original layout")
    return f"{what}. {_AS_FOLDER}"


def _check_weights(header: Header) -> None:
    """Raises WrongFile for numbers that nobody here can make weights of again."""
    for name, tensor in header.tensors.items():
        if name.endswith(_SCALES):
            layer = next(name.removesuffix(ending) for ending in _SCALES if name.endswith(ending))
            _check_scale(tensor, header.tensors.get(f"{layer}.weight"))
        elif not name.startswith(_PARTS) or name.endswith(_NUMBERS):
            continue
        elif "scale" in name.rpartition(".")[2] and _is_small(header.tensors.get(f"{name.rpartition('.')[0]}.weight")):
            raise WrongFile(_QUANTISED)
        elif tensor.dtype not in _FLOATS | _SMALL_FLOATS:
            raise WrongFile(
                f"has weights in {tensor.dtype}, which are not read here. Use one in fp16 or in scaled fp8."
            )


def _check_scale(scale: Tensor, weight: Tensor | None) -> None:
    """One number, or one for each row; blocks would be of another format."""
    rows = (1,) if weight is None else (1, *weight.shape[:1])
    plain = scale.dtype in _FLOATS and (not scale.shape or (scale.shape[0] in rows and {*scale.shape[1:]} <= {1}))
    if not _is_small(weight) or not plain:
        raise WrongFile(_QUANTISED)


def _is_small(weight: Tensor | None) -> bool:
    return weight is not None and weight.dtype in _SMALL_FLOATS


def _shape(header: Header, *, own_vae: bool) -> str:
    """By which text encoders it has, and by the width that the UNet looks at. Raises WrongFile."""
    width, labels = _width(header), _has(header, f"{UNET}label_emb.")
    shape = ""
    if _has(header, _XL_CLIP) and _has(header, _XL_OPEN_CLIP):
        shape = "sdxl"
    elif _has(header, _OPEN_CLIP) or (_has(header, _CLIP) and width == _WIDTHS["sd2"]):
        shape = "sd2"
    elif _has(header, _CLIP):
        shape = "sd1"
    elif _has(header, _FIRST_OPEN_CLIP):
        shape = "sd2"
        if labels:
            raise WrongFile(REFINER)
    lacks = [] if shape else ["text encoder"]
    lacks += [] if own_vae or _has(header, *_VAES) else ["VAE"]
    if lacks:
        raise WrongFile(f"has no {' and '.join(lacks)}: it is only part of a model. Fetch the whole checkpoint.")
    if labels != (shape == "sdxl"):
        raise WrongFile(f"has a UNet that takes more or less than {NAMES[shape]}'s does. {_AS_FOLDER}")
    return shape


def _width(header: Header) -> int:
    """Of the text that the UNet looks at; 0 where that does not show."""
    tensors = header.tensors.items()
    found = (one.shape[-1] for name, one in tensors if name.endswith("attn2.to_k.weight") and one.shape)
    return next(found, 0)


def _check_sizes(header: Header, shape: str) -> None:
    """Raises WrongFile for a UNet that was pruned, or that is another one's."""
    if _width(header) != _WIDTHS[shape]:
        raise WrongFile(f"has the text encoder of {NAMES[shape]}, but another one's UNet. {_AS_FOLDER}")
    depths: dict[str, int] = {}
    sides: dict[str, int] = {}
    for name in unet_tensors(header):
        inside = name.removeprefix(UNET)
        if found := _TRANSFORMER.match(inside):
            depths[found[1]] = max(depths.get(found[1], 0), int(found[2]) + 1)
        if found := _SIDE.match(inside):
            sides[found[1]] = max(sides.get(found[1], 0), int(found[2]) + 1)
    if depths != _DEPTHS[shape] or {*sides.values()} != {_SIDES[shape]}:
        raise WrongFile(f"is {NAMES[shape]} with a UNet that was pruned or changed. {_AS_FOLDER}")


# --- how its noise lies ---------------------------------------------------------------------------------------------


def _prediction(header: Header, shape: str, name: str, take: Take | None) -> tuple[str, bool]:
    """What the UNet predicts, and whether its schedule ends in pure noise. Raises WrongFile for what is not known."""
    if _has(header, "edm_mean", "edm_std", "edm_vpred."):
        raise WrongFile(f"was trained with EDM's noise, which is not drawn from a single file. {_AS_FOLDER}")
    zero = "ztsnr" in header.tensors or header.metadata.get("ss_zero_terminal_snr", "").lower() == "true"
    if "v_pred" in header.tensors:
        return "v_prediction", zero
    said = header.metadata.get("modelspec.prediction_type", "").strip().lower().replace("-", "_")
    if said in _SAID_V:
        return "v_prediction", zero
    if said and not said.startswith("eps"):
        raise WrongFile(f"says that it predicts {said[:40]!r}, which no sampler here knows. {_AS_FOLDER}")
    if said or shape != "sd2":
        return "epsilon", zero
    spread = _spread(header.tensors.get(_TELLING), take)
    if spread is None:  # people keep it in the name
        return ("epsilon" if re.search(r"base|512|turbo", name, re.IGNORECASE) else "v_prediction"), zero
    return ("v_prediction" if spread > _WIDE else "epsilon"), zero


def _spread(tensor: Tensor | None, take: Take | None) -> float | None:
    """The standard deviation of a small tensor's numbers; None where it cannot be read."""
    if tensor is None or take is None or tensor.end - tensor.begin > _MOST_TELLING:
        return None
    numbers = [*_numbers(take(tensor.begin, tensor.end), tensor.dtype)]
    return pstdev(numbers) if numbers and all(map(isfinite, numbers)) else None


def _numbers(data: bytes, dtype: str) -> Iterator[float]:
    """None of a type that is not known."""
    formats: Mapping[str, str] = {"F64": "d", "F32": "f", "F16": "e"}
    if dtype == "F8_E4M3":
        yield from map(_e4m3, data)
    elif dtype == "F8_E5M2":  # the upper half of a float of 16 bits
        data, dtype = b"".join(b"\0" + data[at : at + 1] for at in range(len(data))), "F16"
    elif dtype == "BF16":  # the upper half of a float of 32 bits
        data = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data) - 1, 2))
        dtype = "F32"
    if dtype in formats and data:
        yield from (number for (number,) in struct.iter_unpack(f"<{formats[dtype]}", data))


def _e4m3(byte: int) -> float:
    """A sign, four bits of exponent, three of fraction; all ones are no number, and nothing is endless."""
    exponent, fraction = byte >> 3 & 15, byte & 7
    if byte & 127 == 127:
        return nan
    size = ldexp(fraction, -9) if exponent == 0 else ldexp(8 + fraction, exponent - 10)
    return -size if byte & 128 else size
