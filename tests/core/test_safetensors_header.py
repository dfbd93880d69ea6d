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


def test_a_checkpoint_is_no_lora_and_a_lora_is_no_checkpoint():
    lora = header({"lora_unet_down_blocks_1_attn2_to_k.lora_down.weight": [8, 768]})
    assert is_lora(lora)
    assert not is_lora(header(weight_files.checkpoint_shapes()))
    assert (shape_by_width(192), shape_by_width(2048)) == ("width-192", "sdxl")


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
        {"dtype": "F7", "shape": [2], "data_offsets": [0, 1 << 63]},
        {"dtype": "F7", "shape": [1 << 63], "data_offsets": [0, 4]},
        {"dtype": "F7", "shape": [2.0], "data_offsets": [0, 4]},
        {"dtype": "F16", "shape": [2]},
        {"dtype": 16, "shape": [2], "data_offsets": [0, 4]},
        None,
    ],
)
def test_a_tensor_whose_numbers_do_not_fit_together_is_damage(entry):
    text = json.dumps({"a": entry}).encode()
    with pytest.raises(NotSafetensors, match="damaged"):
        parse(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1', '{"a" 1}', '{"a": }', "{1: 2}", '{"a": 1,}', '{"a": 1} x', "{,}", '{"a": 1 "b": 2}', "{} {}", '{"a"}'],
)
def test_a_header_that_is_no_object_of_entries_is_damage(text):
    with pytest.raises(NotSafetensors, match="damaged"):
        parse(struct.pack("<Q", len(text)) + text.encode())


@pytest.mark.parametrize("text", ["{}", '{ "__metadata__" : { "a" : "b" } } ', '{"__metadata__": null}  ', "{ } "])
def test_blanks_between_entries_and_behind_them_mean_nothing(text):
    header = parse(struct.pack("<Q", len(text)) + text.encode())
    assert header.tensors == {} and dict(header.metadata) == ({"a": "b"} if "b" in text else {})


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
