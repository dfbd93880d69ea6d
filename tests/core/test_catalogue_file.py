"""models.toml: what its entries mean, and what is said when one is wrong."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import FAMILIES, POSTCARD, XL_SIZES, Style
from core.catalogue_file import Document, Entries, hub_id, is_path, read
from core.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "models.toml"


def document(text: str, name: str = "models.toml", folder: str = "/data") -> Document:
    return Document(name=name, folder=folder, data=tomllib.loads(text))


def entries(*texts: str) -> Entries:
    return read(document(text) for text in texts)


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        entries(text)
    return caught.value.sentence


def test_the_shipped_catalogue_has_postcard_and_one_recommendation_for_each_size_of_card():
    models = read([document(SHIPPED.read_text("utf-8"))]).models
    assert sorted(model.recommended_gb for model in models.values()) == [0, 8, 12, 24]
    assert all(model.licence and model.about and model.memory_mb for model in models.values())
    assert all(model.licence_url for model in models.values() if model.name != "postcard")
    assert all(model.memory_mb <= model.recommended_gb * 1024 for model in models.values() if model.recommended_gb)


def test_postcards_entry_says_what_the_code_knows_of_it():
    model = read([document(SHIPPED.read_text("utf-8"))]).models["postcard"]
    plain = {"path": POSTCARD.path, "about": "", "licence": "", "memory_mb": 0, "fixed": ()}
    plain |= dict.fromkeys(("adapter", "upscaler", "classifier"), "")
    assert replace(model, **plain) == POSTCARD


def test_a_short_entry_gets_the_rest_from_its_family():
    model = entries('[[model]]\nname = "Mine XL"\nwhere = "./mine"\nfamily = "sdxl"').models["mine-xl"]
    base = FAMILIES["sdxl"]
    assert (model.path, model.native, model.steps, model.sizes) == ("/data/mine", 1024, base.steps, XL_SIZES)
    assert model.fixed == ("family",)


def test_what_an_entry_says_itself_is_fixed_and_another_native_size_drops_the_trained_ones():
    model = entries('[[model]]\nname = "turbo"\nwhere = "a/b"\nfamily = "sdxl"\nsize = 512\nguidance = 0').models[
        "turbo"
    ]
    assert (model.native, model.sizes, model.min_side, model.max_side) == (512, (), 256, 1024)
    assert (model.guidance, model.fixed) == (0.0, ("native", "family", "guidance"))


def test_a_place_on_the_hub_may_be_one_file_of_it():
    model = entries('[[model]]\nname = "x"\nwhere = "owner/name/unet/x.safetensors"').models["x"]
    assert (model.path, model.file) == ("owner/name", "unet/x.safetensors")
    assert hub_id("owner/name") == ("owner/name", "")
    assert is_path("./a") and is_path("~/a") and not is_path("owner/name")


def test_a_later_document_changes_the_keys_that_it_has_and_leaves_the_others():
    first = '[[model]]\nname = "x"\nwhere = "a/b"\nsteps = 30\n[model.style]\npositive = "calm"\nnegative = "fog"'
    second = '[[model]]\nname = "x"\nsteps = 8\n[model.style]\nnegative = "rain"'
    model = entries(first, second).models["x"]
    assert (model.path, model.steps, model.style) == ("a/b", 8, Style(positive="calm", negative="rain"))


def test_a_style_may_have_guidance_and_a_lora():
    text = '[[model]]\nname = "x"\nwhere = "a/b"\n[model.style]\nguidance = 5\nlora = "ink"\nweight = 0.7'
    assert entries(text).models["x"].style == Style(guidance=5.0, lora="ink", weight=0.7)


def test_a_lora_may_lie_anywhere():
    loras = entries('[[lora]]\nname = "Ink Wash"\nwhere = "./lora/ink.safetensors"').loras
    assert loras["ink-wash"].path == "/data/lora/ink.safetensors"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[[model]]\nname = "x"\nwhere = "a/b"\nsteps = "many"',
            "“x”: steps is “many”; it must be a whole number from 1",
        ),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nsteps = 0', "steps is 0; it must be a whole number from 1 to 100"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nsteps = true', "steps is True; it must be a whole number"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nguidance = -1', "a number from 0 to 30"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nsampler = "eular"', "one of euler"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nfamily = "flux"\nsampler = "euler"', "its family flux cannot use"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nfamily = "sd9"', "one of sd"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nsizes = [[512]]', "a list of pairs"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nstyle = "calm"', "[model.style]"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\nlicense = "MIT"', "no key license. Did you mean licence?"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\n[model.style]\nposetive = "a"', "Did you mean positive?"),
        ('[[model]]\nname = "x"\nwhere = "just-a-name"', "a path that begins with / or ./"),
        ('[[model]]\nname = "x"', "“x” does not say where it is"),
        ('[[model]]\nwhere = "a/b"', "model 1 has no name"),
        ('[[model]]\nname = "x"\nwhere = "a/b"\n[[model]]\nname = "X"\nwhere = "a/b"', "twice"),
        ('[model]\nname = "x"', "[[model]]"),
        ('[[lora]]\nname = "ink"', "./loras/ink.safetensors"),
        ('[[modle]]\nname = "x"', "Did you mean model?"),
    ],
)
def test_a_mistake_names_the_file_the_entry_the_key_and_the_cure(text, told):
    sentence = wrong(text)
    assert told in sentence
    assert "models.toml" in sentence or "catalogue" in sentence


_PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-2, 200), st.floats(-2, 40), st.text(max_size=6))
_VALUE = st.one_of(
    _PLAIN, st.lists(st.lists(_PLAIN, max_size=3), max_size=2), st.dictionaries(st.text(max_size=4), _PLAIN)
)
_KEY = st.sampled_from(
    ["name", "where", "file", "family", "size", "sizes", "steps", "guidance", "style", "memory", "x"]
)


@given(st.lists(st.dictionaries(_KEY, _VALUE), max_size=2), st.one_of(_VALUE, st.none()))
def test_whatever_stands_in_the_file_is_read_or_refused_in_words(tables, loras):
    data = {"model": tables} if loras is None else {"model": tables, "lora": loras}
    try:
        found = read([Document(name="models.toml", folder="/data", data=data)])
    except ConfigError as error:
        assert error.sentence
    else:
        assert all(model.size_for(1, 1) for model in found.models.values())
