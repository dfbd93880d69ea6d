"""The plan leaves other programs, other models, companions and the compiler what they have or will have."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.companions import make_adapter, make_classifier, make_upscaler
from tests.worker.engine_driver import settings
from tests.worker.memory.model_sizes import FLUX, MEMORY, SD15, SDXL, SIZES
from worker import doctor
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import CONTEXT_MB, Device, choose_device, other_programs_mb
from worker.errors import CannotLoad
from worker.memory import FULLY_RESIDENT, OffloadPlan, ReservedMemory, plan_for_model, plan_with_companions
from worker.memory.offload_plan import (
    COMPILER_MB,
    FEW_ROWS,
    ModelSizes,
    NoRoom,
    OffloadPolicy,
    _compiled_mb_of,
    plan_beside_models,
    plan_offload,
    reserve_mb,
)
from worker.vision import CompanionPaths, read_companion_headers

GB = 1024
PARTS = st.integers(0, 20_000)
COMPANIES = st.builds(ReservedMemory, programs=PARTS, models=PARTS, companions=PARTS, compiler=st.booleans())


def tried(sizes: ModelSizes, memory: int, reserved: ReservedMemory, fp8: bool = False) -> OffloadPlan | None:
    """None where nothing fits."""
    try:
        return plan_offload(sizes, memory, reserved, fp8=fp8)
    except CannotLoad:
        return None


@given(sizes=SIZES, memory=MEMORY, reserved=COMPANIES, fp8=st.booleans())
def test_a_plan_leaves_everybody_what_is_theirs(
    sizes: ModelSizes, memory: int, reserved: ReservedMemory, fp8: bool
) -> None:
    found = tried(sizes, memory, reserved, fp8)
    if found is not None:
        compiler = COMPILER_MB if found.compiles else 0
        assert reserve_mb(memory) + reserved.mb + compiler < found.peak_mb <= memory and found.rows >= 1
        assert reserved.compiler or not found.compiles


@given(sizes=SIZES, memory=MEMORY, reserved=COMPANIES, less=PARTS)
def test_less_reserved_memory_never_gives_a_worse_plan(
    sizes: ModelSizes, memory: int, reserved: ReservedMemory, less: int
) -> None:
    crowded = tried(sizes, memory, reserved)
    freer = tried(sizes, memory, replace(reserved, programs=max(0, reserved.programs - less)))
    if crowded is not None:
        assert freer is not None and freer.rank >= crowded.rank


@pytest.mark.parametrize(
    ("sizes", "gb", "reserved", "policy", "tiled"),
    [
        (SDXL, 24, ReservedMemory(programs=8 * GB), OffloadPolicy.RESIDENT, False),
        (SDXL, 12, ReservedMemory(programs=1 * GB), OffloadPolicy.RESIDENT, False),
        (SDXL, 12, ReservedMemory(programs=2 * GB), OffloadPolicy.RESIDENT, True),
        (SDXL, 12, ReservedMemory(programs=3 * GB), OffloadPolicy.TEXT_ON_HOST, True),
        (SDXL, 12, ReservedMemory(companions=3 * GB), OffloadPolicy.TEXT_ON_HOST, True),
        (SDXL, 8, ReservedMemory(programs=1 * GB), OffloadPolicy.STREAMED, False),
        (FLUX, 48, ReservedMemory(programs=14 * GB), OffloadPolicy.TEXT_ON_HOST, False),
    ],
)
def test_known_models_lie_sensibly_on_cards_that_are_not_theirs_alone(
    sizes: ModelSizes, gb: int, reserved: ReservedMemory, policy: OffloadPolicy, tiled: bool
) -> None:
    found = plan_offload(sizes, gb * GB, reserved)
    assert (found.policy, found.tiled) == (policy, tiled)


def test_a_model_goes_uncompiled_before_it_streams() -> None:
    compiled, tight = plan_offload(SDXL, 8 * GB), plan_offload(SDXL, 8 * GB, ReservedMemory(programs=300))
    assert compiled.compiles and not tight.compiles
    assert tight.policy is compiled.policy and tight.rows == compiled.rows


def test_where_nobody_compiles_nothing_is_set_aside_for_it() -> None:
    compiled, plain = plan_offload(SDXL, 12 * GB), plan_offload(SDXL, 12 * GB, ReservedMemory(compiler=False))
    assert not plain.compiles and not plain.cuda_graphs and not plain.joined
    assert plain.rows > compiled.rows


def test_what_compiled_code_will_hold_is_told_for_those_who_come_later() -> None:
    large, small = plan_offload(SDXL, 141 * GB), plan_offload(SDXL, 12 * GB)
    assert large.compiles_decoder
    assert large.compiled_mb == large.rows * SDXL.row + SDXL.decode + -(-SDXL.denoiser // 4)
    assert small.compiled_mb == 0


def test_a_decoder_that_comes_and_goes_is_not_recorded() -> None:
    found = replace(plan_offload(SDXL, 141 * GB), policy=OffloadPolicy.DENOISER_ONLY)
    assert found.compiles and not found.compiles_decoder and not replace(found, tiled=True).compiles_decoder
    with_decoder, without = (_compiled_mb_of(one, SDXL) for one in (plan_offload(SDXL, 141 * GB), found))
    assert with_decoder - without == SDXL.decode


# --- beside other models ---------------------------------------------------------------------------------------------


def test_models_stay_beside_one_that_lies_as_well_with_them_as_without() -> None:
    reserved = ReservedMemory(models=14 * GB)
    found = plan_beside_models(SD15, 24 * GB, reserved)
    assert found.policy is OffloadPolicy.RESIDENT and found.peak_mb > reserved.models
    assert found.layout == plan_offload(SD15, 24 * GB).layout


@pytest.mark.parametrize("models", [8 * GB, 23 * GB], ids=["it would stream", "it would not fit at all"])
def test_one_that_would_lie_worse_beside_others_asks_for_their_room(models: int) -> None:
    with pytest.raises(NoRoom, match="SDXL"):
        plan_beside_models(SDXL, 14 * GB, ReservedMemory(models=models), name="SDXL")


def test_other_programs_are_nobodys_to_send_away() -> None:
    reserved = ReservedMemory(programs=6 * GB)
    assert plan_beside_models(SDXL, 12 * GB, reserved) == plan_offload(SDXL, 12 * GB, reserved)
    with pytest.raises(CannotLoad) as refused:
        plan_beside_models(FLUX, 8 * GB, ReservedMemory(programs=6 * GB, models=1 * GB))
    assert not isinstance(refused.value, NoRoom)


# --- said ------------------------------------------------------------------------------------------------------------


def test_the_plan_says_who_else_has_a_part() -> None:
    sentence = plan_offload(SDXL, 24 * GB, ReservedMemory(programs=3000, models=2000, companions=700)).sentence()
    assert "3000 for other programs, 2000 for other models, 700 for its companions, 512 for compiling" in sentence
    few = plan_offload(SDXL, 24 * GB, ReservedMemory(programs=100, compiler=False)).sentence()
    assert few.endswith("of 24576 MB at most"), "a desktop's few are not worth a word"


def test_one_that_does_not_fit_beside_other_programs_is_refused_with_what_they_have() -> None:
    with pytest.raises(
        CannotLoad, match="2192 MB are available beside the 6000 MB of other programs: try closing some"
    ):
        plan_offload(FLUX, 8 * GB, ReservedMemory(programs=6000), name="flux")


# --- read from the device --------------------------------------------------------------------------------------------


class FakeGpu:
    """A GPU of 24 GB as torch tells of it, in MB."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: int, ours: int = 0) -> None:
        told = {"mem_get_info": (free << 20, 24 * GB << 20), "memory_reserved": ours << 20}
        for name, value in told.items():
            monkeypatch.setattr(torch.cuda, name, lambda place, value=value: value)

    def device(self, cap: int = 0) -> Device:
        return Device(
            torch_device=torch.device("cuda"), dtype=torch.bfloat16, memory_mb=cap or 24 * GB, max_rows=16,
            name="a GPU", capped=bool(cap),
        )  # fmt: skip


def test_what_is_neither_free_nor_ours_is_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert other_programs_mb(FakeGpu(monkeypatch, free=24 * GB - CONTEXT_MB).device()) == 0
    assert other_programs_mb(FakeGpu(monkeypatch, free=14 * GB - CONTEXT_MB).device()) == 10 * GB
    assert other_programs_mb(FakeGpu(monkeypatch, free=14 * GB - CONTEXT_MB, ours=7 * GB).device()) == 3 * GB
    assert other_programs_mb(FakeGpu(monkeypatch, free=24 * GB).device()) == 0, (
        "less than a context is not less than nothing"
    )
    assert other_programs_mb(choose_device("cpu", "float32", 0, cap_mb=2048)) == 0


def test_a_cap_leaves_other_programs_the_rest_and_counts_only_what_they_take_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = FakeGpu(monkeypatch, free=14 * GB - CONTEXT_MB)
    assert [other_programs_mb(card.device(cap)) for cap in (8 * GB, 14 * GB, 16 * GB)] == [0, 0, 2 * GB]


def test_a_load_plans_with_what_is_free_then(monkeypatch: pytest.MonkeyPatch, loaded: LoadedCheckpoint) -> None:
    card = FakeGpu(monkeypatch, free=20 * GB)
    found = plan_for_model(loaded.family, card.device(), "full", "tiny", ReservedMemory(companions=10))
    assert found.reserved == ReservedMemory(programs=4 * GB - CONTEXT_MB, companions=10) and found.memory_mb == 24 * GB
    capped = plan_for_model(loaded.family, card.device(8 * GB), "full", "tiny")
    assert capped.reserved == ReservedMemory() and capped.memory_mb == 8 * GB and capped.peak_mb <= 8 * GB


# --- companions ------------------------------------------------------------------------------------------------------


def test_companions_are_counted_from_their_headers_in_the_precision_that_they_will_have(
    folder: Path, tmp_path: Path
) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.bfloat16)
    places = CompanionPaths(
        adapter=str(make_adapter(tmp_path / "ip", unet)), upscaler=str(make_upscaler(tmp_path / "up")),
        classifier=str(make_classifier(tmp_path / "words")), describer=str(make_classifier(tmp_path / "more")),
    )  # fmt: skip
    found = read_companion_headers(places, {"unet": unet}, torch.device("cpu"), torch.bfloat16)
    for companion, known in found.known.items():
        opened = found.open(companion)
        tensors = {id(one): one for network in opened.networks for one in network.state_dict().values()}
        taken = sum(one.numel() * one.element_size() for one in tensors.values())
        assert taken / 2**20 <= known.memory_mb < 2 + taken / 2**20, companion


def test_a_load_leaves_what_lies_beside_a_model_on_the_disk_and_counts_nothing_of_it(
    folder: Path, tmp_path: Path
) -> None:
    upscaler = make_upscaler(tmp_path / "upscaler")
    device = choose_device("cpu", "float32", 0, cap_mb=2048)
    found = load(str(folder), device, companions=CompanionPaths(upscaler=str(upscaler)))
    assert "upscale" in found.info.edits
    assert found.companions.kinds_in_memory == () and found.plan.reserved.companions == 0
    assert found.memory_mb == load(str(folder), device).memory_mb


def test_a_plan_with_a_companion_gives_fewer_rows_and_without_it_all_of_them_again() -> None:
    alone = plan_offload(SDXL, 24 * GB)
    beside = plan_with_companions(alone, 3 * GB)
    assert (beside.policy, beside.tiled, beside.joined, beside.cuda_graphs) == (
        alone.policy, alone.tiled, alone.joined, alone.cuda_graphs
    )  # fmt: skip
    assert FEW_ROWS <= beside.rows < alone.rows and beside.peak_mb <= 24 * GB
    assert "3072 for its companions" in beside.sentence()
    assert plan_with_companions(alone, 0) == alone


def test_where_a_companion_fits_only_beside_a_model_that_lies_otherwise_that_is_said() -> None:
    with pytest.raises(NoRoom, match="text on host"):
        plan_with_companions(plan_offload(SDXL, 12 * GB), 3 * GB, "SDXL")
    roomy = plan_offload(SDXL, 12 * GB, ReservedMemory(companions=3 * GB))
    assert plan_with_companions(roomy, 3 * GB) == roomy
    with pytest.raises(CannotLoad, match="needs at least"):
        plan_with_companions(plan_offload(FLUX, 8 * GB), 7 * GB)


@given(sizes=SIZES, memory=MEMORY, tools=PARTS, fp8=st.booleans())
def test_with_a_companion_a_model_lies_as_before_and_fits(
    sizes: ModelSizes, memory: int, tools: int, fp8: bool
) -> None:
    alone = tried(sizes, memory, ReservedMemory(), fp8)
    if alone is None:
        return
    try:
        found = plan_with_companions(alone, tools)
    except CannotLoad:
        return
    assert found.peak_mb <= memory and 1 <= found.rows <= alone.rows
    assert (found.policy, found.tiled, found.fp8) == (alone.policy, alone.tiled, alone.fp8)


def test_what_has_no_plan_is_not_planned_for_companions() -> None:
    assert plan_with_companions(FULLY_RESIDENT, 7) == replace(FULLY_RESIDENT, reserved=ReservedMemory(companions=7))


# --- the doctor ------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_other_programs_hold(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worker.device.configure_torch", lambda *_: None)  # it holds for the whole process
    monkeypatch.setattr("worker.device.other_programs_mb", lambda device: 3000)
    monkeypatch.setattr("worker.memory.placement.other_programs_mb", lambda device: 3000)
    assert doctor.report(settings("--model", str(folder), "--device", "cpu", "--gpu-mb", "9000")) == 0
    said = capsys.readouterr().out
    assert "hold 3000 MB of that" in said and "3000 for other programs" in said
