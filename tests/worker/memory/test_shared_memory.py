"""The plan leaves other programs, other models, companions and the compiler what they have or will have."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import weight_files
from tests.worker.companions import make_upscaler
from tests.worker.memory.test_offload_plan import FLUX, MEMORY, SD15, SDXL, SIZES, settings
from worker import doctor
from worker.checkpoint_formats.kinds import CannotLoad
from worker.checkpoints.loader import Loaded, load
from worker.device import CONTEXT_MB, Device, choose, programs_mb
from worker.memory.offload_plan import (
    COMPILER_MB,
    Company,
    NoRoom,
    Plan,
    Policy,
    Sizes,
    _later,
    plan,
    plan_beside,
    reserve_mb,
)
from worker.memory.placement import planned
from worker.memory.size_estimate import companions_mb
from worker.vision.companion_paths import Places

GB = 1024
PARTS = st.integers(0, 20_000)
COMPANIES = st.builds(Company, programs=PARTS, models=PARTS, tools=PARTS, compiler=st.booleans())


def tried(sizes: Sizes, memory: int, company: Company, fp8: bool = False) -> Plan | None:
    """None where nothing fits."""
    try:
        return plan(sizes, memory, company, fp8=fp8)
    except CannotLoad:
        return None


@given(sizes=SIZES, memory=MEMORY, company=COMPANIES, fp8=st.booleans())
def test_a_plan_leaves_everybody_what_is_theirs(sizes: Sizes, memory: int, company: Company, fp8: bool) -> None:
    found = tried(sizes, memory, company, fp8)
    if found is not None:
        compiler = COMPILER_MB if found.compiles else 0
        assert reserve_mb(memory) + company.mb + compiler < found.peak_mb <= memory and found.rows >= 1
        assert company.compiler or not found.compiles


@given(sizes=SIZES, memory=MEMORY, company=COMPANIES, less=PARTS)
def test_less_company_never_gives_a_worse_plan(sizes: Sizes, memory: int, company: Company, less: int) -> None:
    crowded = tried(sizes, memory, company)
    freer = tried(sizes, memory, replace(company, programs=max(0, company.programs - less)))
    if crowded is not None:
        assert freer is not None and freer.rank >= crowded.rank


@pytest.mark.parametrize(
    ("sizes", "gb", "company", "policy", "tiled"),
    [
        (SDXL, 24, Company(programs=8 * GB), Policy.RESIDENT, False),
        (SDXL, 12, Company(programs=1 * GB), Policy.RESIDENT, False),
        (SDXL, 12, Company(programs=2 * GB), Policy.RESIDENT, True),
        (SDXL, 12, Company(programs=3 * GB), Policy.TEXT_ON_HOST, True),
        (SDXL, 12, Company(tools=3 * GB), Policy.TEXT_ON_HOST, True),
        (SDXL, 8, Company(programs=1 * GB), Policy.STREAMED, False),
        (FLUX, 48, Company(programs=14 * GB), Policy.TEXT_ON_HOST, False),
    ],
)
def test_known_models_lie_sensibly_on_cards_that_are_not_theirs_alone(
    sizes: Sizes, gb: int, company: Company, policy: Policy, tiled: bool
) -> None:
    found = plan(sizes, gb * GB, company)
    assert (found.policy, found.tiled) == (policy, tiled)


def test_a_model_goes_uncompiled_before_it_streams() -> None:
    compiled, tight = plan(SDXL, 8 * GB), plan(SDXL, 8 * GB, Company(programs=300))
    assert compiled.compiles and not tight.compiles
    assert tight.policy is compiled.policy and tight.rows == compiled.rows


def test_where_nobody_compiles_nothing_is_set_aside_for_it() -> None:
    compiled, plain = plan(SDXL, 12 * GB), plan(SDXL, 12 * GB, Company(compiler=False))
    assert not plain.compiles and not plain.recorded and not plain.joined
    assert plain.rows > compiled.rows


def test_what_compiled_code_will_hold_is_told_for_those_who_come_later() -> None:
    large, small = plan(SDXL, 141 * GB), plan(SDXL, 12 * GB)
    assert large.compiles_decoder
    assert large.later_mb == large.rows * SDXL.row + SDXL.decode + -(-SDXL.denoiser // 4)
    assert small.later_mb == 0


def test_a_decoder_that_comes_and_goes_is_not_recorded() -> None:
    found = replace(plan(SDXL, 141 * GB), policy=Policy.DENOISER_ONLY)
    assert found.compiles and not found.compiles_decoder and not replace(found, tiled=True).compiles_decoder
    with_decoder, without = (_later(one, SDXL) for one in (plan(SDXL, 141 * GB), found))
    assert with_decoder - without == SDXL.decode


# --- beside other models ---------------------------------------------------------------------------------------------


def test_models_stay_beside_one_that_lies_as_well_with_them_as_without() -> None:
    company = Company(models=14 * GB)
    found = plan_beside(SD15, 24 * GB, company)
    assert found.policy is Policy.RESIDENT and found.peak_mb > company.models
    assert found.lies == plan(SD15, 24 * GB).lies


@pytest.mark.parametrize("models", [8 * GB, 23 * GB], ids=["it would stream", "it would not fit at all"])
def test_one_that_would_lie_worse_beside_others_asks_for_their_room(models: int) -> None:
    with pytest.raises(NoRoom, match="SDXL"):
        plan_beside(SDXL, 14 * GB, Company(models=models), name="SDXL")


def test_other_programs_are_nobodys_to_send_away() -> None:
    company = Company(programs=6 * GB)
    assert plan_beside(SDXL, 12 * GB, company) == plan(SDXL, 12 * GB, company)
    with pytest.raises(CannotLoad) as refused:
        plan_beside(FLUX, 8 * GB, Company(programs=6 * GB, models=1 * GB))
    assert not isinstance(refused.value, NoRoom)


# --- said ------------------------------------------------------------------------------------------------------------


def test_the_plan_says_who_else_has_a_part() -> None:
    sentence = plan(SDXL, 24 * GB, Company(programs=3000, models=2000, tools=700)).sentence()
    assert "3000 for other programs, 2000 for other models, 700 for its companions, 512 for compiling" in sentence
    few = plan(SDXL, 24 * GB, Company(programs=100, compiler=False)).sentence()
    assert few.endswith("of 24576 MB at most"), "a desktop's few are not worth a word"


def test_one_that_does_not_fit_beside_other_programs_is_refused_with_what_they_have() -> None:
    with pytest.raises(
        CannotLoad, match="2192 MB are available beside the 6000 MB of other programs: try closing some"
    ):
        plan(FLUX, 8 * GB, Company(programs=6000), name="flux")


# --- read from the device --------------------------------------------------------------------------------------------


class Card:
    """A GPU of 24 GB as torch tells of it, in MB."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: int, ours: int = 0) -> None:
        told = {"mem_get_info": (free << 20, 24 * GB << 20), "memory_reserved": ours << 20}
        for name, value in told.items():
            monkeypatch.setattr(torch.cuda, name, lambda place, value=value: value)

    def device(self, cap: int = 0) -> Device:
        return Device(
            place=torch.device("cuda"), dtype=torch.bfloat16, memory_mb=cap or 24 * GB, max_rows=16, name="a GPU",
            capped=bool(cap),
        )  # fmt: skip


def test_what_is_neither_free_nor_ours_is_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs_mb(Card(monkeypatch, free=24 * GB - CONTEXT_MB).device()) == 0
    assert programs_mb(Card(monkeypatch, free=14 * GB - CONTEXT_MB).device()) == 10 * GB
    assert programs_mb(Card(monkeypatch, free=14 * GB - CONTEXT_MB, ours=7 * GB).device()) == 3 * GB
    assert programs_mb(Card(monkeypatch, free=24 * GB).device()) == 0, "less than a context is not less than nothing"
    assert programs_mb(choose("cpu", "float32", 0, cap_mb=2048)) == 0


def test_a_cap_leaves_other_programs_the_rest_and_counts_only_what_they_take_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Card(monkeypatch, free=14 * GB - CONTEXT_MB)
    assert [programs_mb(card.device(cap)) for cap in (8 * GB, 14 * GB, 16 * GB)] == [0, 0, 2 * GB]


def test_a_load_plans_with_what_is_free_then(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    card = Card(monkeypatch, free=20 * GB)
    found = planned(loaded.family, card.device(), "full", "tiny", Company(tools=10))
    assert found.company == Company(programs=4 * GB - CONTEXT_MB, tools=10) and found.memory_mb == 24 * GB
    capped = planned(loaded.family, card.device(8 * GB), "full", "tiny")
    assert capped.company == Company() and capped.memory_mb == 8 * GB and capped.peak_mb <= 8 * GB


# --- companions ------------------------------------------------------------------------------------------------------


def test_companions_are_counted_from_their_headers_in_the_precision_that_they_will_have(tmp_path: Path) -> None:
    million = {"weight": [1024, 1024]}
    weight_files.tensors(tmp_path / "up" / "model.safetensors", million)
    weight_files.tensors(tmp_path / "words" / "model.safetensors", million)
    weight_files.tensors(tmp_path / "ip" / "adapter.safetensors", million)
    weight_files.tensors(tmp_path / "ip" / "image_encoder" / "model.safetensors", million)
    (tmp_path / "ip" / "image_encoder" / "config.json").write_text("{}")
    up, words, adapter = (str(tmp_path / name) for name in ("up", "words", "ip"))
    assert companions_mb(Places(upscaler=up), 2) == companions_mb(Places(classifier=up), 2) == 4
    assert (companions_mb(Places(describer=words), 2), companions_mb(Places(describer=words), 4)) == (2, 4)
    assert companions_mb(Places(adapter=adapter), 2) == 4, "with its encoder"
    assert companions_mb(Places(adapter=f"{adapter}/adapter.safetensors", upscaler=up, describer=words), 2) == 10


def test_companions_that_cannot_be_opened_take_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"not this")
    (tmp_path / "empty").mkdir()
    for place in ("", "./nowhere", str(tmp_path / "broken.safetensors"), str(tmp_path / "empty")):
        assert companions_mb(Places(adapter=place, upscaler=place), 4) == 0
    weight_files.tensors(tmp_path / "alone.safetensors", {"weight": [1024, 1024]})
    assert companions_mb(Places(adapter=str(tmp_path / "alone.safetensors")), 4) == 0, "its encoder is missing"


def test_a_load_counts_what_lies_in_the_folder_and_what_is_named(folder: Path, tmp_path: Path) -> None:
    upscaler = make_upscaler(tmp_path / "upscaler")
    device = choose("cpu", "float32", 0, cap_mb=2048)
    found = load(str(folder), device, tools=Places(upscaler=str(upscaler)))
    assert found.plan.company.tools >= 1 and found.tools.upscaler is not None
    assert "upscale" in found.info.edits and found.memory_mb > load(str(folder), device).memory_mb - 1


# --- the doctor ------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_other_programs_hold(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worker.device.programs_mb", lambda device: 3000)
    monkeypatch.setattr("worker.memory.placement.programs_mb", lambda device: 3000)
    assert doctor.report(settings("--model", str(folder), "--device", "cpu", "--gpu-mb", "9000")) == 0
    said = capsys.readouterr().out
    assert "hold 3000 MB of that" in said and "3000 for other programs" in said
