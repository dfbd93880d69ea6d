"""What peft and diffusers write of their own adapters is drawn as they draw it, with all that they note beside it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from core.lora_metadata import scales_of
from tests.worker.checkpoint import make
from worker.checkpoints import load
from worker.device import choose_device
from worker.interfaces import Adaptation, Family

CPU = choose_device("cpu", "float32", 0)
LAYERS = ["to_q", "to_k", "ff.net.2", "conv1", "proj_in"]
PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": LAYERS}
#: Several of these fit one layer: peft takes the first. They are saved by their names, so they stand so here.
OVERLAPPING = {
    "^down_blocks.0.resnets.0.conv1": 16, "attn1.to_q": 20, "conv1": 3,
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": 1, "to_k": 1,
}  # fmt: skip
FACTORS: dict[str, Any] = {"r": 4, "alpha": 10, "target_modules": LAYERS}


def answer(family: Family) -> Tensor:
    with torch.no_grad():
        text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
        noise = torch.randn(1, family.channels, 8, 8, generator=torch.Generator().manual_seed(3))
        return family.denoise(noise, torch.full((1,), 500.0), text, torch.ones(1))


def randomise(network: nn.Module) -> None:
    """Numbers for what was laid beside the network's own weights; lengths are only stretched a little."""
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if re.search(r"lora_|hada_|lokr_", name):
                noise = torch.randn(weight.shape, generator=random)
                weight.copy_(weight * (1 + 0.15 * noise) if "magnitude" in name else 0.15 * noise)


def saved_by_peft(network: Any, config: Any, folder: Path) -> Path:
    model = peft.get_peft_model(network, config).eval()
    randomise(model)
    model.save_pretrained(folder)
    return folder / "adapter_model.safetensors"


def saved_by_the_network(network: Any, config: Any, folder: Path) -> Path:
    network.add_adapter(config)
    network.eval()
    randomise(network)
    network.save_lora_adapter(folder)
    return folder / "pytorch_lora_weights.safetensors"


@pytest.mark.parametrize("save", [saved_by_peft, saved_by_the_network])
@pytest.mark.parametrize(
    "config",
    [
        lambda: peft.LoraConfig(**PLAIN),
        lambda: peft.LoraConfig(**PLAIN, use_rslora=True),
        lambda: peft.LoraConfig(**PLAIN, alpha_pattern=OVERLAPPING),
        lambda: peft.LoraConfig(**PLAIN, rank_pattern={"to_q": 2, "conv1": 8}),
        lambda: peft.LoraConfig(**PLAIN, use_dora=True),
        lambda: peft.LoKrConfig(**FACTORS),
        lambda: peft.LoKrConfig(**FACTORS, decompose_both=True, decompose_factor=2, use_effective_conv2d=True),
        lambda: peft.LoHaConfig(**FACTORS, use_effective_conv2d=True),
    ],
    ids=["LoRA", "rsLoRA", "alphas", "ranks", "DoRA", "LoKr", "LoKr with cores", "LoHa with cores"],
)
def test_an_adapter_is_drawn_as_its_library_draws_it(
    tmp_path: Path, config: Callable[[], Any], save: Callable[..., Path]
) -> None:
    model = str(make(tmp_path / "model"))
    theirs = load(model, CPU).family
    plain = answer(theirs)
    path = save(theirs.parts["unet"], config(), tmp_path / "mine")
    expected = answer(theirs)
    assert (expected - plain).abs().max() > 0.05, "the change is one to be seen"
    ours = load(model, CPU, loras=lambda: {"mine": path}).family
    ours.adapt(Adaptation(loras=(("mine", 1.0),)))
    torch.testing.assert_close(answer(ours), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    "layer", ["proj_out", "single_transformer_blocks.0.proj_out", "a.attn.to_q", "attn.to_q", "to_q"]
)
@pytest.mark.parametrize(
    "patterns",
    [
        {"^proj_out": 8, "attn.to_q": 2},
        {"proj_out": 2, "^proj_out": 8, "to_q": 3, "attn.to_q": 2},
        {"^single_transformer_blocks.0.proj_out": 2, "attn.to_q": 2, "to_q": 3},
        {"0.proj_out$": 5, "^to_q": 7, "q": 9},
    ],
)
def test_an_alpha_is_said_of_the_layers_that_peft_takes_it_to_be_said_of(layer: str, patterns: dict[str, int]) -> None:
    scales = scales_of({}, {"peft_type": "LORA", "r": 4, "lora_alpha": 40, "alpha_pattern": patterns})
    assert scales.factor("transformer", layer, 4) == patterns.get(get_pattern_key([*patterns], layer), 40) / 4


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("alora_invocation_tokens", [1, 2], "an activated LoRA"),
        ("use_qalora", True, "a QALoRA"),
        ("layer_replication", [[0, 1]], "a LoRA for repeated layers"),
        ("init_lora_weights", "pissa_niter_4", "trained on changed weights"),
    ],
)
@pytest.mark.parametrize("save", [saved_by_peft, saved_by_the_network])
def test_an_adapter_whose_tensors_mean_something_else_is_refused_by_name(
    tmp_path: Path, setting: str, value: Any, said: str, save: Callable[..., Path]
) -> None:
    model = str(make(tmp_path / "model"))
    theirs = load(model, CPU).family
    config = peft.LoraConfig(**PLAIN)
    path = save(theirs.parts["unet"], config, tmp_path / "mine")
    if save is saved_by_peft:
        told = path.with_name("adapter_config.json")
        told.write_text(json.dumps({**json.loads(told.read_text()), setting: value}))
    else:
        setattr(config, setting, value)
        theirs.parts["unet"].save_lora_adapter(path.parent)
    ours = load(model, CPU, loras=lambda: {"mine": path}).family
    with pytest.raises(LookupError, match=said):
        ours.adapt(Adaptation(loras=(("mine", 1.0),)))
