"""From what a LoRA changes one tells which model it is for, however its trainer called the layers."""

import pytest

from core.lora_metadata import LoraRefused
from core.lora_plan import LoraPlan, plan_of
from core.lora_shape import KNOWN, lora_shape, misfit, networks_of
from core.safetensors_header import Header, is_lora, parse
from tests.harness import weight_files


def header(shapes: dict[str, list[int]], **metadata: str) -> Header:
    return parse(weight_files.beginning(shapes, **metadata)[0])


def pair(layer: str, columns: int, rows: int, down: str = "lora_down", up: str = "lora_up") -> dict[str, list[int]]:
    return {f"{layer}.{down}.weight": [8, columns], f"{layer}.{up}.weight": [rows, 8]}


def shape(shapes: dict[str, list[int]], **metadata: str) -> str:
    found = header(shapes, **metadata)
    return lora_shape(found, plan_of(found))


DOWN = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


BLOCK = "transformer_blocks.0.attn2"
PEFT, OLD = ("lora_A", "lora_B"), ("lora.down", "lora.up")


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (pair(f"lora_unet_{DOWN}", 768, 640), "sd1"),
        (pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640), "sdxl"),
        (pair(f"unet.down_blocks.1.attentions.0.{BLOCK}.to_k", 1024, 640, *PEFT), "sd2"),
        (pair(f"unet.up_blocks.1.attentions.0.{BLOCK}.to_v", 2048, 640, *OLD), "sdxl"),
        (pair(f"unet.mid_block.attentions.0.{BLOCK}.processor.to_k_lora", 768, 1280, "down", "up"), "sd1"),
        (pair(f"model.down_blocks.0.attentions.0.{BLOCK}.to_k", 768, 320, "lora_A.default", "lora_B.default"), "sd1"),
        (pair("transformer.single_transformer_blocks.0.attn.to_k", 3072, 3072, *PEFT), "flux"),
        (pair("lora_unet_double_blocks_0_img_attn_proj", 3072, 3072), "flux"),
        (pair("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120), "sdxl"),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, 3072), ""),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 1024, 4096), "sd2"),
        (pair("lora_unet_down_blocks_2_attentions_0_transformer_blocks_9_attn1_to_q", 1280, 1280), "sdxl"),
        ({f"lora_unet_{DOWN}.lokr_w1": [4, 4], f"lora_unet_{DOWN}.lokr_w2": [160, 512]}, "sdxl"),
        ({f"lora_unet_{DOWN}.diff": [640, 768]}, "sd1"),
        (pair(f"lora_unet_{DOWN}", 192, 64), "width-192"),
    ],
)
def test_a_lora_tells_which_model_it_is_for(shapes: dict[str, list[int]], expected: str) -> None:
    assert is_lora(header(shapes)) and shape(shapes) == expected


def test_where_the_layers_do_not_tell_the_trainers_own_words_do() -> None:
    strange = pair("lora_unet_mid_block_attentions_0_proj_in", 640, 640)
    assert shape(strange, ss_base_model_version="sdxl_base_v1-0") == "sdxl"
    assert shape(strange, **{"modelspec.architecture": "stable-diffusion-v1/lora"}) == "sd1"
    assert shape(strange) == ""


def test_a_file_for_one_kind_says_why_it_is_none_for_the_others() -> None:
    found = header(pair(f"lora_unet_{DOWN}", 2048, 640))
    why = {known: misfit(found, networks_of(known)) for known in KNOWN}
    assert why["sdxl"] == ""
    assert "made for another kind" in why["sd1"] and "640×2048 and not 640×768" in why["sd1"]
    assert "of its 1 layer 1 belongs to none of the model's" in why["flux"]


def test_the_second_generations_text_encoder_is_known_by_comfyuis_name_too() -> None:
    found = header(pair("text_encoders.clip_h.transformer.text_model.encoder.layers.0.mlp.fc1", 1024, 4096))
    assert misfit(found, networks_of("sd2")) == ""
    assert misfit(found, networks_of("sd1")) != ""


def planned(shapes: dict[str, list[int]]) -> LoraPlan:
    return plan_of(header(shapes))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({f"lora_unet_{DOWN}.lora_down.weight": [8, 768]}, "is not whole: .* has no up"),
        ({**pair(f"lora_unet_{DOWN}", 768, 640), "extra.bias": [4]}, "1 tensor that no LoRA known here has"),
        ({f"lora_unet_{DOWN}.lora_down.weight": [8, 768], f"lora_unet_{DOWN}.lora_up.weight": [640, 4]}, "is damaged"),
        ({f"lora_unet_{DOWN}.lora_down.weight": [], f"lora_unet_{DOWN}.lora_up.weight": []}, "is damaged"),
        ({f"lora_unet_{DOWN}.lokr_w1": [4], f"lora_unet_{DOWN}.lokr_w2": [4]}, "is damaged"),
        ({f"lora_unet_{DOWN}.hada_w1_a": [4, 2]}, "is not whole"),
        ({f"l{number}.diff": [4096, 20000] for number in range(30)}, "is a full difference that would take"),
        ({"a.alpha": []}, "changes no layer"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_by_name(shapes: dict[str, list[int]], said: str) -> None:
    with pytest.raises(LoraRefused, match=said):
        planned(shapes)


def test_names_and_metadata_of_any_length_are_read_in_their_own_time() -> None:
    """Half a million characters of what would make a pattern try again and again."""
    for name in ("attn2.to_k." * 50_000, "lora_" * 100_000, "text_model." * 50_000, "base_model.model." * 30_000):
        found = header(pair(name, 8, 8))
        assert misfit(found, networks_of("sd1"))
    notes = '{"unet.lora_alpha": 1, "unet.alpha_pattern": {"' + "(a+)+" * 100_000 + '": 1}}'
    with pytest.raises(LoraRefused, match="patterns"):
        plan_of(header(pair(f"lora_unet_{DOWN}", 8, 8), lora_adapter_metadata=notes))
    assert shape(pair(f"lora_unet_{DOWN}", 768, 640), **{"modelspec.architecture": "sd_" * 300_000}) == "sd1"
