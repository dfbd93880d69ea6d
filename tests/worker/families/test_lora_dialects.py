"""Every kind of LoRA that is read gives what its formula adds to the model, in every layout that people pass around."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sdxl
from tests.worker.lora_dialects import KINDS, Written, kohya, lora, write
from worker.checkpoints import load
from worker.device import choose_device
from worker.interfaces import Adaptation, Family

CPU = choose_device("cpu", "float32", 0)
UNET = {"unet": ("attn1.to_q", "attn2.to_k", "ff.net.2", "conv1", "proj_in", "time_emb_proj")}
EVERYWHERE = {**UNET, "text_encoder": ("q_proj", "v_proj", "fc1")}
FLUX = {"transformer": (
    "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out", "norm1.linear", "ff_context.net.2",
    "norm_out.linear",
)}  # fmt: skip


class Pair:
    """A model that takes LoRAs, and its like whose own weights are changed."""

    def __init__(self, maker: Callable[[Path], Path], folder: Path) -> None:
        self.loras, model = folder / "loras", str(maker(folder / "model"))
        self.taking: Family = load(model, CPU, loras=self.loras).family
        self.summed: Family = load(model, CPU).family

    def check(self, written: Written, path: Path, weight: float = 1.0) -> None:
        """That the file counts as what it says, and that taking it away leaves no trace."""
        plain = answer(self.taking)
        written.add_to(self.summed.parts, weight)
        self.taking.adapt(Adaptation(loras=((path.stem, weight),)))
        found, expected = answer(self.taking), answer(self.summed)
        assert (expected - plain).abs().max() > 0.05, "the change is one to be seen"
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
        self.taking.adapt(Adaptation())
        assert torch.equal(answer(self.taking), plain)


def answer(family: Family) -> Tensor:
    """One forward, of a text that is encoded under the same LoRAs."""
    with torch.no_grad():
        text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
        noise = torch.randn(1, family.channels, 8, 8, generator=torch.Generator().manual_seed(3))
        return family.denoise(noise, torch.full((1,), 500.0), text, torch.ones(1))


@pytest.fixture
def sd(tmp_path: Path) -> Pair:
    return Pair(make, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_a_kind_gives_what_its_formula_adds(sd: Pair, kind: str, weight: float) -> None:
    written = write(sd.taking.parts, EVERYWHERE if weight == 1 else UNET, kind, kohya)
    sd.check(written, written.save(sd.loras / "one.safetensors"), weight)


def ldm(name: str) -> str:
    """A layer of the tiny UNet, which has one attention in a block, in the original layout."""
    words = name.split(".")
    inner = {"conv1": "in_layers_2", "time_emb_proj": "emb_layers_1"}
    what = 1 if "attentions" in words else 0
    rest = "_".join(words[4:] if words[0] != "mid_block" else words[3:])
    rest = inner.get(rest, rest) if "resnets" in words else rest
    if words[0] == "mid_block":
        return f"middle_block_{1 if what else 2 * int(words[2])}_{rest}"
    side, start = ("input_blocks", 1) if words[0] == "down_blocks" else ("output_blocks", 0)
    return f"{side}_{2 * int(words[1]) + int(words[3]) + start}_{what}_{rest}"


LAYOUTS: dict[str, Callable[[str, str], str]] = {
    "kohya": kohya,
    "kohya, original blocks": lambda network, layer: (
        f"lora_unet_{ldm(layer)}" if network == "unet" else kohya(network, layer)
    ),
    "one text encoder": lambda network, layer: kohya(network, layer).replace("lora_te1", "lora_te"),
    "ComfyUI": lambda network, layer: (
        f"diffusion_model.{layer}" if network == "unet" else f"text_encoders.clip_l.transformer.text_model.{layer}"
    ),
    "diffusers": lambda network, layer: f"{network}.{layer}",
    "diffusers, older transformers": lambda network, layer: (
        f"{network}.text_model.{layer}" if network.startswith("text") else f"{network}.{layer}"
    ),
    "LyCORIS around one network": lambda network, layer: f"lycoris_{layer.replace('.', '_')}",
    "peft around one network": lambda network, layer: f"base_model.model.{layer}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "endings"),
    [
        *((layout, "lora_down") for layout in LAYOUTS),
        *(("diffusers", endings) for endings in ("lora_A", "lora_A.default", "lora.down", "lora_linear_layer.down")),
    ],
)
def test_a_layout_is_read_whole(sd: Pair, layout: str, endings: str) -> None:
    chosen = UNET if "one network" in layout else EVERYWHERE
    written = write(sd.taking.parts, chosen, "LoRA", LAYOUTS[layout])
    up = endings.replace("down", "up").replace("lora_A", "lora_B")
    written.tensors = {
        name.replace("lora_down", endings).replace("lora_up", up): tensor for name, tensor in written.tensors.items()
    }
    sd.check(written, written.save(sd.loras / "one.safetensors"))


def test_old_attention_processors_are_read_too(sd: Pair) -> None:
    chosen = {"unet": ("attn1.to_q", "attn2.to_out.0"), "text_encoder": ("q_proj", "v_proj")}

    def named(network: str, layer: str) -> str:
        above, _, last = layer.removesuffix(".0").rpartition(".")
        if network == "unet":
            return f"unet.{above}.processor.{last}_lora"
        return f"text_encoder.text_model.{above}.to_{last.removesuffix('_proj')}_lora"

    written = write(sd.taking.parts, chosen, "LoRA", named)
    written.tensors = {
        name.replace(".lora_down", ".down").replace(".lora_up", ".up"): tensor * (0.5 if "lora_up" in name else 1)
        for name, tensor in written.tensors.items()
        if not name.endswith("alpha")
    }
    sd.check(written, written.save(sd.loras / "one.safetensors"))


@pytest.mark.parametrize("alpha", ["processor.{}.alpha", "processor.{}_lora.alpha", "{}.alpha"])
def test_the_alpha_of_an_old_attention_processor_counts_wherever_it_stands(sd: Pair, alpha: str) -> None:
    written = write(sd.taking.parts, {"unet": ("attn1.to_q", "attn2.to_v")}, "LoRA", lambda _, layer: f"unet.{layer}")
    tensors = {}
    for name, tensor in written.tensors.items():
        layer, _, ending = name.partition(".lora_") if "lora_" in name else name.rpartition(".")
        above, _, last = layer.rpartition(".")
        tail = alpha.format(last) if ending == "alpha" else f"processor.{last}_lora.{ending}"
        tensors[f"{above}.{tail}"] = tensor
    written.tensors = tensors
    sd.check(written, written.save(sd.loras / "one.safetensors"))


def test_text_encoders_alone_and_a_few_of_their_layers_are_enough(sd: Pair) -> None:
    written = write(sd.taking.parts, {"text_encoder": ("q_proj", "v_proj")}, "LoRA", kohya)
    sd.check(written, written.save(sd.loras / "one.safetensors"))


def test_the_sizes_that_sdxl_is_told_have_layers_too(tmp_path: Path) -> None:
    pair = Pair(make_sdxl, tmp_path)
    chosen = {
        "unet": ("add_embedding.linear_1", "attn2.to_k"), "text_encoder": ("fc1",),
        "text_encoder_2": ("q_proj", "text_projection"),
    }  # fmt: skip
    written = write(pair.taking.parts, chosen, "LoRA", kohya)
    renamed = {name.replace("add_embedding_linear_1", "label_emb_0_0"): one for name, one in written.tensors.items()}
    for number, tensors in enumerate((written.tensors, renamed)):
        path = pair.loras / f"n{number}.safetensors"
        Written(tensors, {}).save(path)
        if number == 0:
            pair.check(written, path)
    for name in ("n0", "n1"):
        pair.taking.adapt(Adaptation(loras=((name, 1.0),)))
        torch.testing.assert_close(answer(pair.taking), answer(pair.summed), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("prefix", ["transformer.", "lora_transformer_", "base_model.model."])
def test_flux_is_read_whole_by_diffusers_names(tmp_path: Path, prefix: str) -> None:
    """`lora_transformer_` is OneTrainer's."""
    pair = Pair(lambda folder: make_flux(folder, guided=True), tmp_path)

    def named(network: str, layer: str) -> str:
        return prefix + (layer.replace(".", "_") if prefix.endswith("_") else layer)

    written = write(pair.taking.parts, FLUX, "LoRA", named)
    pair.check(written, written.save(pair.loras / "one.safetensors"))


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [("diffusion_model.", "LoRA"), ("", "LoRA"), *(("lora_unet_", kind) for kind in KINDS if "full" not in kind)],
)
def test_flux_is_read_whole_by_its_original_names(tmp_path: Path, prefix: str, kind: str) -> None:
    """Three or four of our layers are one there, and the last modulation has its halves the other way round."""
    pair = Pair(lambda folder: make_flux(folder, guided=True), tmp_path)
    parts: Any = pair.taking.parts["transformer"]
    written = Written(deltas={"transformer": {}})
    double, single = "transformer_blocks.0", "single_transformer_blocks.0"
    qkv = ("attn.to_q", "attn.to_k", "attn.to_v")
    groups = {
        "double_blocks.0.img_attn.qkv": [f"{double}.{one}" for one in qkv],
        "double_blocks.0.txt_attn.qkv": [f"{double}.attn.add_{one}_proj" for one in "qkv"],
        "double_blocks.0.img_attn.proj": [f"{double}.attn.to_out.0"],
        "double_blocks.0.txt_mod.lin": [f"{double}.norm1_context.linear"],
        "double_blocks.0.img_mlp.2": [f"{double}.ff.net.2"],
        "single_blocks.0.linear1": [*(f"{single}.{one}" for one in qkv), f"{single}.proj_mlp"],
        "single_blocks.0.linear2": [f"{single}.proj_out"],
        "final_layer.linear": ["proj_out"],
        "final_layer.adaLN_modulation.1": ["norm_out.linear"],
        "img_in": ["x_embedder"],
        "vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"],
    }
    for number, (original, members) in enumerate(groups.items()):
        weights = [parts.get_submodule(member).weight.detach() for member in members]
        turned = "adaLN" in original
        whole = torch.cat(weights)
        delta = KINDS[kind](torch.cat([*whole.chunk(2)][::-1]) if turned else whole, 10 * number)
        sums = torch.cat([*delta.weight.chunk(2)][::-1]) if turned else delta.weight
        rows = sums.split([len(weight) for weight in weights])
        for member, of in zip(members, rows, strict=True):
            written.deltas["transformer"][member] = type(delta)(of, {})
        name = prefix + (original.replace(".", "_") if prefix.endswith("_") else original)
        written.tensors |= {f"{name}.{ending}": tensor for ending, tensor in delta.tensors.items()}
    pair.check(written, written.save(pair.loras / "one.safetensors"))


def test_flux_is_read_whole_by_xlabs_names(tmp_path: Path) -> None:
    """Its processors hold two streams' matrices in a double block, and one stream's in a single one."""
    pair = Pair(lambda folder: make_flux(folder, guided=True), tmp_path)
    parts: Any = pair.taking.parts["transformer"]
    double, single = "transformer_blocks.0.attn", "single_transformer_blocks.0"
    groups = {
        "double_blocks.0.processor.qkv_lora1": [f"{double}.to_{one}" for one in "qkv"],
        "double_blocks.0.processor.qkv_lora2": [f"{double}.add_{one}_proj" for one in "qkv"],
        "double_blocks.0.processor.proj_lora1": [f"{double}.to_out.0"],
        "double_blocks.0.processor.proj_lora2": [f"{double}.to_add_out"],
        "single_blocks.0.processor.qkv_lora": [f"{single}.attn.to_{one}" for one in "qkv"],
        "single_blocks.0.processor.proj_lora": [f"{single}.proj_out"],
    }
    written = Written(deltas={"transformer": {}})
    for number, (name, members) in enumerate(groups.items()):
        weights = [parts.get_submodule(member).weight.detach() for member in members]
        delta = lora(torch.cat(weights), 10 * number)
        for member, of in zip(members, delta.weight.split([len(weight) for weight in weights]), strict=True):
            written.deltas["transformer"][member] = type(delta)(of, {})
        # It says no alpha: half of the upper matrix is what half of the rank would make of it.
        written.tensors[f"{name}.down.weight"] = delta.tensors["lora_down.weight"]
        written.tensors[f"{name}.up.weight"] = delta.tensors["lora_up.weight"] / 2
    pair.check(written, written.save(pair.loras / "one.safetensors"))


# --- what a file says beside its tensors ----------------------------------------------------------------------------


def as_peft(written: Written) -> Written:
    """Without alphas, which peft keeps elsewhere."""
    names = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    kept = {name: tensor for name, tensor in written.tensors.items() if not name.endswith("alpha")}
    return Written(
        {name.replace("lora_down.", "lora_A.").replace("lora_up.", "lora_B."): one for name, one in kept.items()}
        if names else {}, written.deltas,
    )  # fmt: skip


def test_pefts_folder_is_read_with_its_config(sd: Pair) -> None:
    written = as_peft(write(sd.taking.parts, UNET, "LoRA", LAYOUTS["peft around one network"]))
    path = written.save(sd.loras / "one.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {}}
    config["alpha_pattern"] = {rf"{layer}": 2 for layer in ("to_q", "to_k")} | {r"ff\.net\.2": 2, "^conv1$": 3}
    rest = {"conv1": 2, "proj_in": 2, "time_emb_proj": 2}
    config["alpha_pattern"] |= rest
    path.with_name("adapter_config.json").write_text(json.dumps(config))
    sd.check(written, path)


@pytest.mark.parametrize("kind", ["LoKr, whole", "LoHa"])
def test_pefts_other_kinds_have_one_scale_for_all(sd: Pair, kind: str) -> None:
    written = write(sd.taking.parts, UNET, kind, LAYOUTS["peft around one network"])
    tensors = {name: tensor for name, tensor in written.tensors.items() if not name.endswith("alpha")}
    for delta in written.deltas["unet"].values():
        delta.weight = delta.weight * (0.5 if kind == "LoKr, whole" else 1)
    path = Written(tensors, written.deltas).save(sd.loras / "one.safetensors")
    config = {"peft_type": "LOKR" if "LoKr" in kind else "LOHA", "r": 4, "alpha": 2}
    path.with_name("adapter_config.json").write_text(json.dumps(config))
    sd.check(Written(tensors, written.deltas), path)


def test_diffusers_own_remarks_name_layers_and_are_not_run_as_patterns(sd: Pair, tmp_path: Path) -> None:
    written = as_peft(write(sd.taking.parts, UNET, "LoRA", LAYOUTS["diffusers"]))
    notes = {"unet.lora_alpha": 2, "unet.r": 4, "unet.alpha_pattern": {}}
    sd.check(written, written.save(sd.loras / "one.safetensors", lora_adapter_metadata=json.dumps(notes)))
    notes["unet.alpha_pattern"] = {"(a+)+b": 3}
    written.save(sd.loras / "two.safetensors", lora_adapter_metadata=json.dumps(notes))
    with pytest.raises(LookupError, match="names layers by patterns, which are not read here"):
        sd.taking.adapt(Adaptation(loras=(("two", 1.0),)))


def test_a_bias_of_pefts_counts_by_the_same_scale(sd: Pair) -> None:
    written = as_peft(write(sd.taking.parts, {"unet": ("ff.net.2", "conv1")}, "LoRA", LAYOUTS["diffusers"]))
    for name, delta in written.deltas["unet"].items():
        bias = torch.linspace(-1, 1, len(delta.weight))
        written.tensors[f"unet.{name}.lora_B.bias"] = bias
        delta.bias = bias / 2
    notes = json.dumps({"unet.lora_alpha": 2})
    sd.check(written, written.save(sd.loras / "one.safetensors", lora_adapter_metadata=notes))


def test_what_stands_beside_the_tensors_refuses_no_file(sd: Pair) -> None:
    """Bytes behind the last tensor, metadata that is no text, and embeddings for words of a prompt."""
    written = write(sd.taking.parts, UNET, "LoRA", kohya)
    written.tensors["bundle_emb.mood.string_to_param.*"] = torch.zeros(2, 32)
    path = written.save(sd.loras / "one.safetensors")
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = {"steps": 12, "tags": {"a": 1}, "none": None}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :] + b"behind")
    sd.check(written, path)


# --- what is not drawn is named -------------------------------------------------------------------------------------

ONE = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
WHOLE = {f"{ONE}.lora_down.weight": torch.ones(2, 32), f"{ONE}.lora_up.weight": torch.ones(32, 2)}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{ONE}.oft_blocks": torch.ones(2, 4, 4)}, "holds OFT"),
        ({f"{ONE}.w_norm": torch.ones(4)}, "changes the model's norms"),
        ({f"{ONE}.weight": torch.ones(4), f"{ONE}.on_input": torch.tensor(False)}, "holds IA3"),
        ({f"{ONE[:-6]}_norm1.diff": torch.ones(32), f"{ONE[:-6]}_norm1.diff_b": torch.ones(32)}, "the model's norms"),
        ({"lora_te_text_model_embeddings_token_embedding.diff": torch.ones(9, 9)}, "table of tokens"),
        ({"text_encoder.embed.lora_embedding_A": torch.ones(2, 4)}, "table of tokens"),
        ({f"{ONE}.strange": torch.ones(4)}, "1 tensor that no LoRA known here has"),
        ({f"{ONE}.hada_w1_a": torch.ones(4, 2)}, "mixes kinds in one layer"),
        ({"lora_unet_nowhere.lora_down.weight": torch.ones(2, 4)}, "lora_unet_nowhere has no up"),
        ({"lora_unet_nowhere.diff": torch.ones(2, 4)}, "of its 2 layers 1 belongs to none.*lora_unet_nowhere"),
        ({f"{ONE}.dora_scale": torch.ones(1, 32)}, "scales what goes into a layer"),
        ({f"{ONE}.lora_B.bias": torch.ones(5)}, "the bias of"),
        ({f"{ONE[:-1]}k.diff": torch.ones(32, 48)}, "made for another kind, in which .*32×48 and not 32×32"),
    ],
)  # fmt: skip
def test_what_would_not_count_is_named_and_nothing_of_the_file_is_drawn(
    sd: Pair, tensors: dict[str, Tensor], said: str
) -> None:
    plain = answer(sd.taking)
    sd.loras.mkdir(exist_ok=True)
    save_file({**WHOLE, **tensors}, sd.loras / "one.safetensors")
    with pytest.raises(LookupError, match=f"The LoRA `one` .*{said}"):
        sd.taking.adapt(Adaptation(loras=(("one", 1.0),)))
    assert torch.equal(answer(sd.taking), plain)
