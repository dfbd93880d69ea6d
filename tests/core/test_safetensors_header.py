"""A weights file is known by its first bytes alone."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.safetensors_header import (
    MAX_HEADER,
    Header,
    NotSafetensors,
    is_lora,
    length,
    lora_shape_of,
    lora_width_of,
    parse,
    read,
    shape_by_width,
)
from tests.harness import weight_files

UNET = "model.diffusion_model."


def beginning(shapes: dict[str, list[int]], **metadata: str) -> bytes:
    return weight_files.beginning(shapes, **metadata)[0]


def header(shapes: dict[str, list[int]], **metadata: str) -> Header:
    return parse(beginning(shapes, **metadata))


@pytest.mark.parametrize(
    ("name", "columns", "shape"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", 768, "sd1"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", 2048, "sdxl"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", 1024, "sd2"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora.down.weight", 2048, "sdxl"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight", 768, "sd1"),
        ("model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.default.weight", 768, "sd1"),
        ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", 3072, "flux"),
        ("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", 3072, "flux"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", 1280, "sdxl"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", 768, None),
    ],
)  # fmt: skip
def test_a_lora_tells_which_model_it_fits_however_its_trainer_named_its_layers(name, columns, shape):
    assert lora_shape_of(header({name: [8, columns]})) == shape


def test_a_lora_for_a_small_model_of_ones_own_tells_its_width():
    found = header({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": [4, 192]})
    assert (lora_shape_of(found), lora_width_of(found)) == (None, 192)
    assert (shape_by_width(192), shape_by_width(2048)) == ("width-192", "sdxl")


def test_where_the_layers_do_not_tell_the_trainers_own_words_do():
    name = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
    assert lora_shape_of(header({name: [8, 640]}, ss_base_model_version="sdxl_base_v1-0")) == "sdxl"
    assert lora_shape_of(header({name: [8, 640]}, **{"modelspec.architecture": "stable-diffusion-v1/lora"})) == "sd1"
    assert lora_shape_of(header({name: [8, 640]})) is None


def test_a_checkpoint_is_no_lora_and_a_lora_is_no_checkpoint():
    lora = header({"lora_unet_down_blocks_1_attn2_to_k.lora_down.weight": [8, 768]})
    assert is_lora(lora)
    assert (
        not is_lora(header(weight_files.checkpoint_shapes()))
        and lora_shape_of(header(weight_files.checkpoint_shapes())) is None
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04\x00\x00\x08\x08archive", "pickle"),
        (b"\x80\x02}q\x00X\x01\x00", "pickle"),
        (b"\x80\x05\x95\x00\x00\x00\x00\x00", "pickle"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"version https://git-lfs", "LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"", "cut off before its header"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{}", "no safetensors header"),
        (struct.pack("<Q", 90) + b'{"a"', "inside its header"),
        (struct.pack("<Q", 4) + b"nope", "damaged"),
        (struct.pack("<Q", 2) + b"[]", "damaged"),
    ],
)
def test_what_is_no_safetensors_file_is_said_by_what_it_is(data, what):
    with pytest.raises(NotSafetensors, match=what):
        parse(data)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F16", "shape": [2], "data_offsets": [0, 3]},
        {"dtype": "F16", "shape": [2], "data_offsets": [4, 0]},
        {"dtype": "F16", "shape": [-2], "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": [2]},
        {"dtype": 16, "shape": [2], "data_offsets": [0, 4]},
        None,
    ],
)
def test_a_tensor_whose_numbers_do_not_fit_together_is_damage(entry):
    text = json.dumps({"a": entry}).encode()
    with pytest.raises(NotSafetensors, match="damaged"):
        parse(struct.pack("<Q", len(text)) + text)


def test_the_header_says_how_long_the_whole_file_is():
    data = beginning({"a": [2, 3], "b": [4]})
    assert parse(data + b"\0" * 20).file_bytes == len(data) + 20
    assert length(data[:8]) == len(data) - 8


@pytest.mark.parametrize("size", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_that_is_as_long_as_a_pickles_first_bytes_say_is_a_header(size):
    text = json.dumps({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}).encode().ljust(size)
    assert parse(struct.pack("<Q", size) + text).tensors


@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_are_refused_in_words(data):
    try:
        parse(data)
    except NotSafetensors as error:
        assert str(error)


def test_of_a_file_only_the_header_is_read(tmp_path):
    path = weight_files.checkpoint(tmp_path / "model.safetensors")
    taken: list[int] = []

    with path.open("rb") as file:

        def take(size: int) -> bytes:
            taken.append(size)
            return file.read(size)

        found = read(take)
    assert found.file_bytes == path.stat().st_size
    assert len(taken) == 2 and sum(taken) < found.file_bytes
