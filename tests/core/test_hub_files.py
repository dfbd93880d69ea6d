"""Which files of a hub repository make a model: one precision of each network, and the one that is there already."""

from fnmatch import fnmatchcase
from types import SimpleNamespace

import pytest

from core.folder_format import INDEX, components_of, lacks
from core.hub_files import NoModel, RemoteFile, Repository, check_folder, folder, patterns, single

UNET = "unet/diffusion_pytorch_model"
LIBRARY = ["diffusers", "X"]


def repository(*names: str) -> Repository:
    return Repository(id="owner/name", revision="0", files={name: RemoteFile(size=1) for name in (INDEX, *names)})


def chosen(*names: str, kept: tuple[str, ...] = ()) -> list[str]:
    found = folder(repository(*names), {"unet": LIBRARY}, kept)
    return [name for name in found if name.endswith(".safetensors")]


def test_half_precision_goes_first_and_what_is_no_precision_is_left() -> None:
    names = [f"{UNET}{kind}.safetensors" for kind in ("", ".fp16", ".bf16", ".non_ema")]
    assert chosen(*names) == [f"{UNET}.fp16.safetensors"]
    assert chosen(names[0], names[2]) == [f"{UNET}.bf16.safetensors"]
    assert chosen(names[0]) == [f"{UNET}.safetensors"]


@pytest.mark.parametrize(
    ("kept", "again"),
    [
        ([f"{UNET}.safetensors"], [f"{UNET}.safetensors"]),
        ([f"{UNET}.fp16.safetensors"], [f"{UNET}.fp16.safetensors"]),
        ([f"{UNET}.fp32.safetensors"], [f"{UNET}.fp16.safetensors"]),
        ([f"{UNET}.bf16-00001-of-00002.safetensors"], [f"{UNET}.fp16.safetensors"]),
        ([], [f"{UNET}.fp16.safetensors"]),
    ],
    ids=["full", "half", "gone", "not whole", "nothing"],
)
def test_a_copy_that_is_there_keeps_its_precision(kept: list[str], again: list[str]) -> None:
    assert chosen(f"{UNET}.safetensors", f"{UNET}.fp16.safetensors", kept=tuple(kept)) == again


def test_configuration_comes_along_and_deeper_folders_do_not() -> None:
    names = ("unet/config.json", f"{UNET}.safetensors", "unet/deep/x.json", "unet/README.md", "unet/merges.txt")
    assert set(folder(repository(*names), {"unet": LIBRARY})) == {INDEX, *names[:2], "unet/merges.txt"}


def test_what_an_index_names_and_nobody_draws_with_is_not_needed() -> None:
    index = {
        "_class_name": "X", "unet": LIBRARY, "safety_checker": LIBRARY, "scheduler": [None, None], "steps": 4,
        "tokenizer": ["transformers", "X"],
    }  # fmt: skip
    assert components_of(index) == ["unet", "tokenizer"]


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        (["unet/config.json", f"{UNET}.fp16.safetensors", "tokenizer/vocab.json"], ""),
        (["unet/config.json", f"{UNET}.safetensors.index.json", "unet/piece.safetensors", "tokenizer/vocab.json"], ""),
        (["unet/config.json", f"{UNET}.fp16.safetensors"], "tokenizer"),
        (["unet/config.json", "tokenizer/vocab.json"], "unet"),
        (["unet/config.json", f"{UNET}.bin", "tokenizer/vocab.json"], "unet"),
        (["unet/config.json", f"{UNET}-00001-of-00002.safetensors", "tokenizer/vocab.json"], "unet"),
        (["tokenizer/vocab.json"], "unet"),
    ],
)
def test_a_copy_is_whole_when_each_component_is(names: list[str], lacking: str) -> None:
    assert lacks({"unet": LIBRARY, "tokenizer": LIBRARY}, names) == lacking


def test_a_name_as_a_pattern_stands_for_itself_alone() -> None:
    names = ["a[1].safetensors", "a1.safetensors", "a*.safetensors", "sub/a1.safetensors"]
    for name in names:
        (pattern,) = patterns([name])
        assert [other for other in names if fnmatchcase(other, pattern)] == [name]


def test_what_the_hub_says_becomes_a_value_without_names_that_lead_out() -> None:
    large = SimpleNamespace(rfilename="x.safetensors", size=9, blob_id="git", lfs=SimpleNamespace(sha256="sha"))
    small = SimpleNamespace(rfilename="x.json", size=2, blob_id="git", lfs=None)
    evil = [
        SimpleNamespace(rfilename=name, size=1, blob_id="", lfs=None)
        for name in ("../x.json", "/etc/x", "unet/../../x.json", "unet\\..\\x", "..")
    ]
    info = SimpleNamespace(
        siblings=[large, small, *evil], sha="abc", gated="auto", card_data=SimpleNamespace(license="mit")
    )
    found = Repository.of("owner/name", info)
    assert found.files == {
        "x.safetensors": RemoteFile(size=9, sha256="sha"), "x.json": RemoteFile(size=2, git_id="git")
    }  # fmt: skip
    assert (found.revision, found.licence, found.gated, found.size_of(found.files)) == ("abc", "mit", True, 11)


def test_a_repository_without_a_model_says_what_it_has() -> None:
    bare = Repository(id="owner/name", revision="0", files={"one.safetensors": RemoteFile(size=1)})
    with pytest.raises(NoModel, match=r"One file of it may be: owner/name/one\.safetensors"):
        check_folder(bare)
    with pytest.raises(NoModel, match=r"It has one\.safetensors"):
        single(bare, "two.safetensors")
    assert single(bare, "one.safetensors") == ("one.safetensors",)
    check_folder(repository())
