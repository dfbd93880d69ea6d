"""LoRAs count by their weight, are switched without a trace, and say so when they do not fit."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.hooks import apply_group_offloading
from safetensors.torch import load_file, save_file

from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_flux, make_sdxl
from tests.worker.checkpoint_loras import make_lora
from tests.worker.compared import distance, plain, with_sampler
from tests.worker.engine_driver import request
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.engine import LoadedModel
from worker.engine.batch import Batch, new_row
from worker.families import LoraSwitcher
from worker.families.lora_slot import Change, LoraSlot
from worker.interfaces import Adaptation, Family
from worker.samplers import Schedules

CPU = choose_device("cpu", "float32", 0)
LoraModel = tuple[LoadedCheckpoint, Path, Path]


@pytest.fixture(scope="module")
def lora_model(tmp_path_factory: pytest.TempPathFactory) -> LoraModel:
    """The tiny checkpoint with a folder of LoRAs: the model, its folder, theirs."""
    root = tmp_path_factory.mktemp("loras")
    folder, loras = make(root / "tiny"), root / "loras"
    loaded = load(str(folder), CPU, loras=loras)
    both = ("unet", "text_encoder")
    make_lora(loras / "Ink.safetensors", loaded.family.parts)
    make_lora(loras / "words.safetensors", loaded.family.parts, both, seed=2)
    make_lora(loras / "kohya.safetensors", loaded.family.parts, both, layout="kohya", seed=3)
    # diffusers 0.42 leaves out a text encoder's attention in kohya's layout where its other layers are there too.
    make_lora(loras / "same.safetensors", loaded.family.parts, both, seed=3)
    return loaded, folder, loras


def picture(family: Family, *loras: tuple[str, float], tile: bool = False) -> np.ndarray:
    """The request's first picture under these LoRAs, in integers."""
    wanted = request()
    with torch.inference_mode():
        family.adapt(Adaptation(loras=loras, tile=tile))
        text, negative = family.pad_to_longest(
            [family.encode_prompt(wanted.prompt), family.encode_prompt("", negative=True)]
        )
        schedule = Schedules(family.scheduler).schedule("euler", wanted.steps, 1.0, 100)
        row = new_row(
            family, job="a", index=0, key="", schedule=schedule, guidance=wanted.guidance, seed=wanted.seed,
            size=(wanted.width, wanted.height), text=text, negative=negative, source=None,
        )  # fmt: skip
        while not row.is_done:
            Batch.of([row]).advance(family)
        image = family.decode(row.x0)
    return np.round(image.permute(1, 2, 0).numpy() * 255).astype(int)


def by_diffusers(lora_model: LoraModel, *loras: tuple[str, float]) -> np.ndarray:
    loaded, folder, where = lora_model
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    for number, (name, _) in enumerate(loras):
        pipeline.load_lora_weights(where, weight_name=f"{name}.safetensors", adapter_name=f"a{number}")
    pipeline.set_adapters([f"a{number}" for number in range(len(loras))], [weight for _, weight in loras])
    return plain(with_sampler(pipeline, loaded, "euler"), request())


@pytest.mark.parametrize(
    "loras",
    [[("Ink", 1.0)], [("words", 0.8)], [("kohya", 1.0)], [("Ink", 0.5), ("words", 0.7)], [("Ink", -0.5)]],
    ids=["unet", "unet and words", "kohya's layout", "two at once", "less than nothing"],
)
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_a_lora_gives_what_diffusers_makes_of_it(lora_model: LoraModel, loras: list[tuple[str, float]]) -> None:
    same = [("same", weight / 2) if name == "kohya" else (name, weight) for name, weight in loras]
    assert distance(picture(lora_model[0].family, *loras), by_diffusers(lora_model, *same)) <= 2


def test_weight_nothing_changes_nothing_and_weight_one_does(lora_model: LoraModel) -> None:
    family = lora_model[0].family
    before = picture(family)
    for name in ("Ink", "words", "kohya"):
        assert distance(picture(family, (name, 0.0)), before) == 0
        assert distance(picture(family, (name, 1.0)), before) > 8
    assert distance(picture(family), before) == 0


def test_a_name_may_be_written_in_any_case_and_a_wrong_one_is_said_with_the_right_one(lora_model: LoraModel) -> None:
    family = lora_model[0].family
    assert distance(picture(family, ("ink", 1.0)), picture(family, ("Ink", 1.0))) == 0
    with pytest.raises(LookupError, match="Did you mean `words`"):
        family.adapt(Adaptation(loras=(("word", 1.0),)))
    with pytest.raises(LookupError, match="There is no LoRA `zzz`"):
        family.adapt(Adaptation(loras=(("zzz", 1.0),)))


@pytest.mark.parametrize("layout", ["peft", "kohya"])
def test_a_lora_of_another_family_is_said_and_changes_nothing(
    lora_model: LoraModel, tmp_path: Path, layout: str
) -> None:
    loaded, _, loras = lora_model
    other = load(str(make_sdxl(tmp_path / "xl")), CPU)
    strange = make_lora(loras / f"strange-{layout}.safetensors", other.family.parts, layout=layout)
    now = picture(loaded.family, ("words", 0.8))
    with pytest.raises(LookupError, match="made for another kind"):
        loaded.family.adapt(Adaptation(loras=(("Ink", 1.0), (strange.stem, 1.0))))
    loaded.family.adapt(Adaptation(loras=(("words", 0.8),)))
    assert distance(picture(loaded.family, ("words", 0.8)), now) == 0
    assert not any(weight.is_meta for part in loaded.family.parts.values() for weight in part.parameters())


def test_a_file_that_is_no_lora_is_said(lora_model: LoraModel) -> None:
    loaded, _, loras = lora_model
    (loras / "broken.safetensors").write_bytes(b"not this")
    with pytest.raises(LookupError, match="`broken` does not fit"):
        loaded.family.adapt(Adaptation(loras=(("broken", 1.0),)))


def test_a_changed_file_is_read_anew(lora_model: LoraModel) -> None:
    loaded, _, loras = lora_model
    path = make_lora(loras / "draft.safetensors", loaded.family.parts, seed=5)
    before = picture(loaded.family, ("draft", 1.0))
    make_lora(path, loaded.family.parts, seed=6)
    picture(loaded.family)
    assert distance(picture(loaded.family, ("draft", 1.0)), before) > 8


def test_few_stay_in_memory(lora_model: LoraModel) -> None:
    _, folder, where = lora_model
    parts = load(str(folder), CPU).family.parts
    networks = {name: parts[name] for name in ("unet", "text_encoder")}
    loras = LoraSwitcher(networks, where, keep=1)
    for wanted in (["ink"], ["words"], ["ink", "words"]):
        loras.switch_to([(name, 1.0) for name in wanted])
        assert {Path(state.split(":")[0]).stem.lower() for state in loras._read} == set(wanted)


def test_a_new_lora_goes_round_the_edges_too(lora_model: LoraModel) -> None:
    family = lora_model[0].family
    tiled = picture(family, ("Ink", 1.0), tile=True)
    assert distance(tiled, picture(family, ("Ink", 1.0))) > 8
    assert distance(tiled, picture(family, ("Ink", 1.0), tile=True)) == 0


def test_one_whose_numbers_are_none_spoils_no_other_one_after_it() -> None:
    network, seen = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)), torch.ones(1, 4)
    plain = copy.deepcopy(network)

    def lora(layer: str, rank: int, number: float) -> dict[str, Change]:
        return {layer: Change(down=torch.full((rank, 4), number), up=torch.full((4, rank), number))}

    slot = LoraSlot(network)
    with torch.no_grad():
        slot.fill([({**lora("0", 8, torch.nan), **lora("1", 8, torch.inf)}, 1.0)])
        assert not network(seen).isfinite().any()
        slot.fill([(lora("0", 4, 0.1), 1.0)])
        expected = plain[1](plain[0](seen) + 4 * 4 * 0.01)
        assert torch.allclose(network(seen), expected)


def test_what_a_model_can_do_names_loras_where_there_is_a_folder(
    lora_model: LoraModel, loaded: LoadedCheckpoint
) -> None:
    assert "lora" in lora_model[0].info.edits
    assert "lora" not in loaded.info.edits


@pytest.mark.parametrize(
    ("maker", "networks", "layers"),
    [
        (make_sdxl, ("unet", "text_encoder", "text_encoder_2"), ("attn2.to_k",)),
        (lambda folder: make_flux(folder, guided=True), ("transformer",), ("attn.to_q", "proj_mlp")),
    ],
    ids=["sdxl", "flux"],
)
def test_other_families_take_them_too(
    tmp_path: Path, maker: Callable[[Path], Path], networks: tuple[str, ...], layers: Any
) -> None:
    family = load(str(maker(tmp_path / "model")), CPU, loras=tmp_path / "loras").family
    make_lora(tmp_path / "loras" / "one.safetensors", family.parts, networks, layers=layers)
    text = {name: value[None] for name, value in family.encode_prompt("a boat").items()}
    given = torch.zeros(1, family.channels, 8, 8), torch.full((1,), 500.0), text, torch.ones(1)
    before = family.denoise(*given)
    family.adapt(Adaptation(loras=(("one", 1.0),)))
    assert not torch.allclose(family.denoise(*given), before, atol=1e-3)
    family.adapt(Adaptation())
    assert torch.equal(family.denoise(*given), before)


def test_switching_does_not_compile_again(tmp_path: Path) -> None:
    loaded = load(str(make(tmp_path / "tiny")), CPU, loras=tmp_path / "loras")
    family = loaded.family
    block: Any = family.parts["unet"].get_submodule("mid_block.attentions.0")  # stands for all, for all take long
    for name, seed in (("a", 1), ("b", 2)):
        make_lora(tmp_path / "loras" / f"{name}.safetensors", family.parts, seed=seed, layers=("attn2.to_k",))
    compiled: list[Any] = []

    def backend(graph: Any, _given: Any) -> Any:
        compiled.append(graph)
        return graph

    block.compile(backend=backend, fullgraph=True)

    def graphs_after(*loras: tuple[str, float]) -> int:
        picture(family, *loras)
        return len(compiled)

    first = graphs_after(("a", 1.0))
    switched = [graphs_after(*loras) for loras in ([("b", 1.0)], [("a", 0.3)], [("a", 0.5), ("b", -0.2)])]
    assert switched == [first] * 3
    plain = graphs_after()
    assert plain > first, "without any LoRA nothing of them is computed"
    assert [graphs_after(("b", 0.5)), graphs_after()] == [plain] * 2
    make_lora(tmp_path / "loras" / "c.safetensors", family.parts, seed=3, layers=("attn1.to_q",))
    other = graphs_after(("c", 1.0))
    assert [graphs_after(("a", 1.0)), graphs_after(("c", 0.5), ("b", 0.2))] == [other] * 2, "also between layers"


@pytest.mark.parametrize(
    ("notes", "factor"), [({"lora_alpha": 1}, 0.5), ({"lora_alpha": 2, "use_rslora": True}, 2**0.5)]
)
def test_pefts_own_remarks_count(lora_model: LoraModel, notes: dict[str, Any], factor: float) -> None:
    loaded, _, loras = lora_model
    plain = make_lora(loras / "plain.safetensors", loaded.family.parts, seed=8)
    tensors = load_file(plain)
    remarks = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in notes.items()})}
    save_file(tensors, loras / "noted.safetensors", metadata=remarks)
    noted, scaled = picture(loaded.family, ("noted", 1.0)), picture(loaded.family, ("plain", factor))
    assert distance(noted, scaled) <= 1


def test_weights_that_are_kept_in_fp8_take_loras_in_the_precision_they_are_computed_in(lora_model: LoraModel) -> None:
    _, folder, loras = lora_model
    plain, small = (load(str(folder), CPU, loras=loras, weights=weights) for weights in ("full", "fp8"))
    one, other = (picture(loaded.family, ("ink", 1.0)) for loaded in (plain, small))
    without = picture(small.family)
    assert np.abs(one - other).mean() < np.abs(one - without).mean(), "the style counts, near enough to what it is"
    assert not np.array_equal(other, without)


def test_a_decode_leaves_the_loras_alone_for_a_forward_beside_it_may_be_using_them(lora_model: LoraModel) -> None:
    model, unet = LoadedModel.of(lora_model[0], CPU), lora_model[0].family.parts["unet"]
    model.adapt(Adaptation(loras=(("ink", 1.0),)))
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items() if "lora" in name}
    model.adapt_decoder(Adaptation(tile=True))
    assert before and all(torch.equal(tensor, unet.state_dict()[name]) for name, tensor in before.items())
    assert any(layer.padding_mode == "circular" for layer in unet.modules() if isinstance(layer, torch.nn.Conv2d))
    model.adapt(Adaptation())


def test_what_comes_to_the_device_piece_by_piece_takes_no_lora_and_says_so(
    lora_model: LoraModel, tmp_path: Path
) -> None:
    _, folder, loras = lora_model
    loaded = load(str(folder), CPU, loras=loras)
    apply_group_offloading(
        loaded.family.parts["text_encoder"], onload_device=CPU.torch_device, offload_device=CPU.torch_device,
        offload_type="leaf_level",
    )  # fmt: skip
    with pytest.raises(LookupError, match="does not fit into the GPU's memory"):
        loaded.family.adapt(Adaptation(loras=(("words", 1.0),)))
    assert not np.array_equal(picture(loaded.family, ("ink", 1.0)), picture(loaded.family)), "the UNet's own still do"
