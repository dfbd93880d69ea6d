"""One rule says what a checkpoint in one file is, or what is wrong with it: by names, shapes, types and one tensor."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from core.safetensors_header import Header, Tensor, parse
from core.single_file import SingleFile, WrongFile, identify, usual_name
from tests.harness import weight_files

UNET = "model.diffusion_model."
TELLING = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
OPEN_CLIP = "conditioner.embedders.0.model.x"
LAYER = f"{UNET}input_blocks.1.0.layer"


def header(shapes: dict[str, list[int]], **metadata: str) -> Header:
    return parse(weight_files.beginning(shapes, **metadata)[0])


def whole(width: int, *, more: dict[str, list[int]] | None = None, without: str = "-", **metadata: str) -> Header:
    """A checkpoint's header, with tensors more or less."""
    shapes = weight_files.checkpoint_shapes(width).items()
    return header(
        {**{name: shape for name, shape in shapes if not name.startswith(without)}, **(more or {})}, **metadata
    )


def typed(found: Header, **dtypes: str) -> Header:
    """The same with other types: `weight="I8"` for what ends so."""
    tensors = {
        name: Tensor(
            dtype=next((kind for end, kind in dtypes.items() if name.endswith(end)), one.dtype), shape=one.shape,
            begin=one.begin, end=one.end,
        )
        for name, one in found.tensors.items()
    }  # fmt: skip
    return Header(tensors=tensors, metadata=found.metadata, file_bytes=found.file_bytes)


@pytest.mark.parametrize(
    ("width", "shape", "prediction", "native"),
    [(768, "sd1", "epsilon", 512), (1024, "sd2", "v_prediction", 768), (2048, "sdxl", "epsilon", 1024)],
)
def test_each_stable_diffusion_is_known(width: int, shape: str, prediction: str, native: int) -> None:
    found = identify(whole(width), "model")
    assert (found.shape, found.prediction, found.native) == (shape, prediction, native)


def test_all_three_take_text_encoders_where_other_programs_put_them() -> None:
    turbo = whole(1024, without="cond_stage_model.", more={OPEN_CLIP: [4]})
    assert identify(turbo, "sd_turbo") == SingleFile(shape="sd2", prediction="epsilon", zero_snr=False)
    hugging = whole(1024, without="cond_stage_model.", more={"cond_stage_model.transformer.text_model.x": [4]})
    assert identify(hugging, "model-512").shape == "sd2"
    refiner = {OPEN_CLIP: [4], f"{UNET}label_emb.0.0.weight": [4]}
    with pytest.raises(WrongFile, match="refiner"):
        identify(whole(1024, without="cond_stage_model.", more=refiner), "model")


def test_tensors_get_the_names_that_libraries_look_for() -> None:
    clip, xl = "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."
    assert usual_name(f"{clip}embeddings.position_ids", "sd1") == f"{clip}text_model.embeddings.position_ids"
    assert usual_name(f"{xl}encoder.layers.0.x", "sdxl") == f"{xl}text_model.encoder.layers.0.x"
    assert usual_name(f"{clip}text_model.encoder.x", "sd1") == f"{clip}text_model.encoder.x"
    assert usual_name(OPEN_CLIP, "sd2") == "cond_stage_model.model.x"
    assert usual_name(OPEN_CLIP, "sdxl") == OPEN_CLIP


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (whole(768, more={f"{UNET}input_blocks.0.0.weight": [320, 9, 3, 3]}), "only fills masks"),
        (whole(768, more={f"{UNET}input_blocks.0.0.weight": [320, 8, 3, 3]}), "takes 8 channels: pictures"),
        (whole(1024, more={f"{UNET}input_blocks.0.0.weight": [320, 5, 3, 3]}), "takes 5 channels: pictures"),
        (whole(768, without="cond_stage_model."), "no text encoder"),
        (whole(768, without="first_stage_model."), "no VAE"),
        (header(weight_files.unet_shapes()), "no text encoder and VAE"),
        (header({"input_blocks.0.0.weight": [8, 4, 3, 3]}), "a UNet alone"),
        (header({"lora_unet_a.lora_down.weight": [1]}), "is a LoRA"),
        (header({"double_blocks.0.img_attn.qkv.weight": [1]}), "FLUX"),
        (header({f"{UNET}joint_blocks.0.a": [1]}), "Stable Diffusion 3"),
        (header({"encoder.a": [1]}), "not Stable Diffusion 1.x"),
        (header({}), "not Stable Diffusion 1.x"),
        # Pruned UNets: fewer transformers (SSD-1B), fewer blocks (BK-SDM), none in the middle.
        (whole(2048, without=f"{UNET}input_blocks.7.1.transformer_blocks.9"), "pruned"),
        (whole(768, without=f"{UNET}output_blocks.11."), "pruned"),
        (whole(768, without=f"{UNET}middle_block.1."), "pruned"),
        (whole(768, more={f"{UNET}input_blocks.12.0.x": [1]}), "pruned"),
        # UNets of another kind than their text encoders.
        (whole(999), "another one's UNet"),
        (whole(768, more={f"{UNET}label_emb.0.0.weight": [8, 4]}), "takes more or less"),
        (whole(2048, without=f"{UNET}label_emb."), "takes more or less"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_a_cure(found: Header, sentence: str) -> None:
    with pytest.raises(WrongFile, match=sentence) as error:
        identify(found, "model")
    assert "Use " in str(error.value) or "Fetch " in str(error.value) or "belongs in" in str(error.value)


def test_a_vae_of_its_own_is_not_asked_for_where_the_owner_names_one() -> None:
    assert identify(whole(768, without="first_stage_model."), "model", own_vae=True).shape == "sd1"


@pytest.mark.parametrize(
    ("width", "more", "metadata", "expected"),
    [
        (768, {"v_pred": [0]}, {}, ("v_prediction", False)),
        (2048, {"v_pred": [0], "ztsnr": [0]}, {}, ("v_prediction", True)),
        (2048, {}, {"modelspec.prediction_type": "v"}, ("v_prediction", False)),
        (2048, {}, {"modelspec.prediction_type": "v-prediction"}, ("v_prediction", False)),
        (1024, {}, {"modelspec.prediction_type": "epsilon"}, ("epsilon", False)),
        (2048, {}, {"modelspec.prediction_type": ""}, ("epsilon", False)),
        (2048, {}, {"ss_zero_terminal_snr": "True"}, ("epsilon", True)),
        (2048, {"edm_mean": [4], "edm_std": [4]}, {}, "EDM"),
        (2048, {"edm_vpred.sigma_max": [1]}, {}, "EDM"),
        (2048, {}, {"modelspec.prediction_type": "rectified_flow"}, "'rectified_flow', which no sampler"),
        (768, {}, {"modelspec.prediction_type": "sample"}, "'sample', which no sampler"),
        (768, {}, {"modelspec.prediction_type": "velocity"}, "'velocity', which no sampler"),
    ],
)
def test_how_its_noise_lies_is_found_out_or_refused(
    width: int, more: dict[str, list[int]], metadata: dict[str, str], expected: Any
) -> None:
    found = whole(width, more=more, **metadata)
    if isinstance(expected, str):
        with pytest.raises(WrongFile, match=expected):
            identify(found, "model")
    else:
        one = identify(found, "model")
        assert (one.prediction, one.zero_snr) == expected


#: The nearest numbers that there are.
E4M3 = {0.2: 0x25, -0.2: 0xA5, 0.01: 0x05, -0.01: 0x85}


def with_bias(spread: float, dtype: str) -> tuple[Header, Callable[[int, int], bytes]]:
    """2.x, with numbers of this spread where the two kinds of it differ."""
    numbers = [spread, -spread] * 160
    if dtype == "F8_E4M3":
        data = bytes(E4M3[number] for number in numbers)
    elif dtype == "F8_E5M2":
        data = b"".join(struct.pack("<e", number)[1:] for number in numbers)
    elif dtype == "BF16":
        data = b"".join(struct.pack("<f", number)[2:] for number in numbers)
    else:
        data = struct.pack(f"<320{ {'F16': 'e', 'F32': 'f', 'F64': 'd'}[dtype] }", *numbers)
    found = whole(1024)
    telling = Tensor(dtype=dtype, shape=(320,), begin=1000, end=1000 + len(data))
    tensors = {**found.tensors, TELLING: telling}
    return Header(tensors=tensors, file_bytes=9), lambda begin, end: data[begin - 1000 : end - 1000]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"])
def test_one_norm_tells_both_kinds_of_2_apart_whatever_the_file_is_called(dtype: str) -> None:
    for spread, expected in ((0.2, ("v_prediction", 768)), (0.01, ("epsilon", 512))):
        found, take = with_bias(spread, dtype)
        for name in ("v2-1_768", "v2-base-512", "mix"):
            one = identify(found, name, take=take)
            assert (one.prediction, one.native) == expected


def test_where_that_norm_cannot_be_read_the_name_decides() -> None:
    found, _ = with_bias(float("nan"), "F32")
    for name, prediction in (("v2-1_768", "v_prediction"), ("v2-1_512-ema", "epsilon"), ("2-base", "epsilon")):
        assert identify(found, name, take=lambda begin, end: b"\xff" * (end - begin)).prediction == prediction
        assert identify(whole(1024), name).prediction == prediction


@pytest.mark.parametrize("ending", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("scale", [[], [1], [8], [8, 1]])
def test_scaled_fp8_is_read(ending: str, scale: list[int]) -> None:
    more = {
        f"{LAYER}.weight": [8, 4],
        f"{LAYER}.{ending}": scale,
        f"{LAYER}.comfy_quant": [9],
        f"{UNET}scaled_fp8": [2],
    }
    kinds = {"layer.weight": "F8_E4M3", "comfy_quant": "U8", "scaled_fp8": "F8_E4M3"}
    assert identify(typed(whole(768, more=more), **kinds), "model").shape == "sd1"


@pytest.mark.parametrize(
    ("kind", "scale", "of_scale"),
    [
        ("F8_E4M3", [8, 2], "F32"),
        ("F8_E4M3", [8, 1], "F8_E8M0"),
        ("U8", [], "F32"),
        ("I8", [], "F32"),
        ("F4", [], "F32"),
    ],
)
def test_other_quantised_weights_are_refused_by_name(kind: str, scale: list[int], of_scale: str) -> None:
    more = {f"{LAYER}.weight": [8, 4], f"{LAYER}.weight_scale": scale}
    found = typed(whole(768, more=more), **{"layer.weight": kind, "weight_scale": of_scale})
    with pytest.raises(WrongFile, match="not read here"):
        identify(found, "model")


@pytest.mark.parametrize("ending", ["weight_scale_inv", "weight_scale_2", "scale"])
@pytest.mark.parametrize("prefix", [UNET, "cond_stage_model.transformer.text_model.", "first_stage_model."])
def test_small_weights_with_another_scale_beside_them_are_refused_in_every_part(prefix: str, ending: str) -> None:
    found = whole(768, more={f"{prefix}layer.weight": [8, 4], f"{prefix}layer.{ending}": []})
    with pytest.raises(WrongFile, match="quantised"):
        identify(typed(found, **{"layer.weight": "F8_E4M3", ending: "F32"}), "model")


def test_a_number_that_is_called_a_scale_belongs_to_no_weight() -> None:
    more = {"cond_stage_model.model.logit_scale": [], "cond_stage_model.model.weight": [8]}
    assert identify(whole(1024, more=more), "base").shape == "sd2"


@pytest.mark.parametrize("prefix", [UNET, "first_stage_model.", "conditioner.embedders.1.model."])
def test_weights_that_are_whole_numbers_are_refused_in_every_part(prefix: str) -> None:
    found = typed(whole(2048, more={f"{prefix}layer.weight": [8]}), **{"layer.weight": "I8"})
    with pytest.raises(WrongFile, match="I8"):
        identify(found, "model")


def test_places_may_be_whole_numbers() -> None:
    more = {"cond_stage_model.transformer.text_model.embeddings.position_ids": [1, 77]}
    assert identify(typed(whole(768, more=more), position_ids="I64"), "model").shape == "sd1"


def test_a_distilled_unet_is_known_by_what_takes_its_guidance() -> None:
    assert identify(whole(768, more={f"{UNET}time_embed.cond_proj.weight": [320, 256]}), "m").guidance_features == 256
