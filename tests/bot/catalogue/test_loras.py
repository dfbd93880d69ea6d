"""LoRAs that somebody drops in: which are offered, under which names, and what is said of those that are not."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bot.catalogue import lora_files
from bot.catalogue.cli import run
from bot.catalogue.folder_watcher import FolderWatcher
from core.catalogue import FAMILIES, Choices, Model
from core.model_selection import UnknownName, find_lora
from tests.bot.catalogue.models_command import config
from tests.harness import weight_files

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
PLAIN = {f"{LAYER}.lora_down.weight": [4, 768], f"{LAYER}.lora_up.weight": [640, 4]}


def look(data: Path) -> FolderWatcher:
    watcher = FolderWatcher(data / "models", data / "loras")
    watcher.look(float("inf"))
    return watcher


def test_sub_folders_and_loud_endings_are_looked_into_once(data: Path) -> None:
    loras = data / "loras"
    weight_files.tensors(loras / "styles" / "ink" / "Ink Wash.safetensors", PLAIN)
    weight_files.tensors(loras / "LOUD.SAFETENSORS", PLAIN)
    weight_files.tensors(loras / ".hidden" / "no.safetensors", PLAIN)
    (loras / "styles" / "again").symlink_to(loras)
    elsewhere = weight_files.tensors(data / "elsewhere" / "linked.safetensors", PLAIN)
    (loras / "shared").symlink_to(elsewhere.parent)
    assert set(look(data).loras) == {"ink-wash", "loud", "linked"}


def test_what_peft_and_diffusers_save_is_called_by_its_folder(data: Path) -> None:
    layer = LAYER.removeprefix("lora_unet_").replace("_blocks_", "_blocks.").replace("attn2_", "attn2.")
    peft = {f"base_model.model.{layer}.lora_A.weight": [4, 768], f"base_model.model.{layer}.lora_B.weight": [640, 4]}
    path = weight_files.tensors(data / "loras" / "Mine" / "adapter_model.safetensors", peft)
    weight_files.tensors(data / "loras" / "theirs" / "pytorch_lora_weights.safetensors", PLAIN)
    assert set(look(data).loras) == {"mine", "theirs"}
    assert "drawn as if its alpha were its rank" in look(data).loras["mine"].notes[0]
    path.with_name("adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 8, "r": 4}))
    assert look(data).loras["mine"].notes == ()


def test_a_config_of_pefts_that_may_be_another_files_is_named_and_one_that_must_be_is_refused(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = LAYER.removeprefix("lora_unet_").replace("_blocks_", "_blocks.").replace("attn2_", "attn2.")
    for name, rank in (("one", 4), ("two", 8)):
        ends = {"A": [rank, 768], "B": [640, rank]}
        tensors = {f"base_model.model.{layer}.lora_{end}.weight": shape for end, shape in ends.items()}
        path = weight_files.tensors(data / "loras" / f"{name}.safetensors", tensors)
    config = {"peft_type": "LORA", "lora_alpha": 8, "r": 4, "rank_pattern": {"to_v": 16}}
    path.with_name("adapter_config.json").write_text(json.dumps(config))
    loras = look(data).loras
    assert loras["one"].notes == ("takes its strength from the adapter_config.json beside it",)
    assert "two" not in loras
    assert "does not belong to the adapter_config.json beside it, which has no rank of 8" in caplog.text


def test_an_alpha_that_belongs_to_no_matrices_is_said(data: Path) -> None:
    weight_files.tensors(data / "loras" / "ink.safetensors", {**PLAIN, f"{LAYER[:-1]}v.alpha": []})
    assert look(data).loras["ink"].notes == (f"says an alpha of 1 layer that it does not change ({LAYER[:-1]}v)",)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{LAYER}.oft_blocks": [4, 8, 8]}, "holds OFT"),
        ({f"{LAYER}.w_norm": [640], f"{LAYER}.b_norm": [640]}, "changes the model's norms"),
        ({**PLAIN, f"{LAYER}.dora_scale": [1, 768]}, "scales what goes into a layer"),
        ({**PLAIN, "text_encoder.token.lora_embedding_A": [4, 8]}, "table of tokens"),
        ({**PLAIN, f"{LAYER}_2.lora_down.weight": [4, 768]}, "has no up"),
    ],
)
def test_what_would_not_count_is_named_at_drop_in_and_by_check(
    data: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tensors: dict, said: str
) -> None:
    weight_files.tensors(data / "loras" / "odd.safetensors", tensors)
    assert not look(data).loras
    assert "cannot be used. odd.safetensors" in caplog.text and said in caplog.text
    assert run(config(data), ["check", "odd"]) == 1
    assert said in capsys.readouterr().out
    assert run(config(data), ["list"]) == 0
    assert "odd (cannot be used; python bot.py models check odd says why)" in capsys.readouterr().out


def test_what_is_left_out_on_purpose_is_said_too(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight_files.tensors(data / "loras" / "ink.safetensors", {**PLAIN, "bundle_emb.mood.clip_l": [2, 768]})
    loras = look(data).loras
    assert loras["ink"].shape == "sd1"
    said = "ink.safetensors brings embeddings along, which are left out."
    assert [*lora_files.remarks(loras.values(), {})] == [said]
    assert run(config(data), ["check", "ink"]) == 0
    assert f"NOTE  {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "tensors",
    [
        {**PLAIN, f"{LAYER}.dora_scale": [640, 1]},
        {**PLAIN, f"{LAYER}.alpha": []},
        {f"{LAYER}.hada_{name}": shape for name, shape in (
            ("w1_a", [640, 4]), ("w1_b", [4, 768]), ("w2_a", [640, 4]), ("w2_b", [4, 768])
        )},
        {f"{LAYER}.lokr_w1": [8, 8], f"{LAYER}.lokr_w2_a": [80, 4], f"{LAYER}.lokr_w2_b": [4, 96]},
        {f"{LAYER}.diff": [640, 768], f"{LAYER}.diff_b": [640]},
    ],
    ids=["DoRA", "kohya", "LoHa", "LoKr", "difference"],
)  # fmt: skip
def test_kinds_that_are_drawn_are_offered(data: Path, tensors: dict[str, list[int]]) -> None:
    weight_files.tensors(data / "loras" / "ink.safetensors", tensors)
    assert look(data).loras["ink"].shape == "sd1"


def single_file(data: Path) -> Model:
    path = data / "models" / "mine.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return replace(FAMILIES["sd1"], name="mine", path=str(path))


def test_a_layer_that_the_model_has_not_is_said_before_a_job_is_queued(data: Path) -> None:
    more = {f"{LAYER[:-1]}v_strange.lora_down.weight": [4, 768], f"{LAYER[:-1]}v_strange.lora_up.weight": [640, 4]}
    path = weight_files.tensors(data / "loras" / "ink.safetensors", {**PLAIN, **more})
    model, misfits = single_file(data), lora_files.LoraMisfits()
    loras = misfits.look(look(data).loras, {"mine": model})
    [said] = lora_files.remarks(loras.values(), {"mine": model})
    assert said.startswith("The LoRA ink cannot be used with the model mine: it does not fit")
    with pytest.raises(
        UnknownName, match=r"`ink` does not fit this model: of its 2 layers 1 belongs to none.*to_v_strange"
    ):
        find_lora("ink", model, Choices(default="mine", models={"mine": model}, loras=loras))
    weight_files.tensors(path, PLAIN)
    os.utime(path, (5, 5))
    loras = misfits.look(look(data).loras, {"mine": model})
    assert find_lora("ink", model, Choices(default="mine", models={"mine": model}, loras=loras)).name == "ink"
