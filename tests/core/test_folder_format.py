"""Names of weights in diffusers' folder format: by precision, whole or in shards, as libraries have spelled them."""

import pytest

from core.folder_format import chosen, is_weights, plain

UNET, TEXT = "diffusion_pytorch_model", "model"
SHARDS = [f"{TEXT}.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]


@pytest.mark.parametrize(
    ("index", "shard"),
    [
        ("model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors"),
        ("model.safetensors.fp16.index.json", "model-00001-of-00001.fp16.safetensors"),
        ("model.fp16.safetensors.index.json", "model.fp16-00001-of-00001.safetensors"),
        ("model.safetensors.index.json", "model-00001-of-00001.safetensors"),
    ],
)
def test_every_spelling_of_shards_is_shown_by_the_plain_index(index, shard) -> None:
    assert is_weights(index) and is_weights(shard)
    assert plain([index, shard, "config.json"]) == {
        "model.safetensors.index.json": index, shard: shard, "config.json": "config.json"
    }  # fmt: skip


def test_the_first_precision_that_is_whole_is_chosen() -> None:
    names = [*SHARDS[:1], f"{TEXT}.safetensors.index.fp16.json", f"{TEXT}.bf16.safetensors", f"{TEXT}.safetensors"]
    for order, variant in ((("fp16", "bf16", ""), "bf16"), (("", "fp16"), ""), (("fp16",), None)):
        assert [one.variant for one in chosen(names, order)] == ([] if variant is None else [variant])
    (whole,) = chosen([*names, SHARDS[1]], ("fp16",))
    assert whole.names == (*SHARDS, f"{TEXT}.safetensors.index.fp16.json")


def test_shards_without_an_index_are_not_whole() -> None:
    assert chosen(SHARDS) == []


def test_one_file_goes_before_shards() -> None:
    names = [f"{TEXT}-00001-of-00001.safetensors", f"{TEXT}.safetensors.index.json", f"{TEXT}.safetensors"]
    assert [one.files for one in chosen(names)] == [(f"{TEXT}.safetensors",)]
    assert plain(names) == {f"{TEXT}.safetensors": f"{TEXT}.safetensors"}


def test_copies_of_the_training_are_not_a_precision() -> None:
    ema = f"{UNET}.non_ema.safetensors"
    assert chosen([ema]) == []
    assert plain([ema, f"{UNET}.fp16.safetensors"]) == {f"{UNET}.safetensors": f"{UNET}.fp16.safetensors"}


def test_a_folder_of_which_nothing_is_known_stays_as_it_is() -> None:
    names = ["scheduler_config.json", "some.safetensors", f"{UNET}.safetensors.index.json"]
    assert plain(names) == {name: name for name in names}
