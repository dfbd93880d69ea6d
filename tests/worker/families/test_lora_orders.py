"""In whatever order LoRAs and plain jobs come, each job gets what a fresh worker would draw for it."""

import copy
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.job import Lora
from tests.worker.checkpoint import make
from tests.worker.checkpoint_loras import make_lora
from tests.worker.compared import distance
from tests.worker.engine_driver import EngineDriver, pixels, request
from worker.checkpoints import load
from worker.device import choose_device
from worker.families.lora_slot import Change, LoraSlot

CPU = choose_device("cpu", "float32", 0)
Given = Mapping[str, Change]
LAYERS = ("0", "1", "2")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(6, 6)).requires_grad_(False)


def lora(layers: tuple[str, ...], rank: int, seed: int) -> Given:
    random = torch.Generator().manual_seed(seed)
    into = {"0": (4, 3, 3), "1": (4, 1, 1), "2": (6,)}
    return {layer: one(into[layer], rank, random, gained=seed % 3 == 0) for layer in layers}


def one(into: tuple[int, ...], rank: int, random: torch.Generator, *, gained: bool) -> Change:
    """For a layer that gives as much as it takes."""
    out = into[0]
    gain, shift = (torch.randn(out, generator=random) if gained else None for _ in range(2))
    down, up = torch.randn(rank, *into, generator=random), torch.randn(out, rank, generator=random)
    return Change(down=down, up=up.reshape(out, rank, *[1] * (len(into) - 1)), gain=gain, shift=shift)


def answer(slot: LoraSlot, of: nn.Module, loras: list[tuple[Given, float]]) -> Tensor:
    with torch.no_grad():
        slot.fill(loras)
        out: Tensor = of(torch.linspace(-1, 1, 4 * 6 * 6).reshape(1, 4, 6, 6))
    return out


ONE = st.tuples(
    st.builds(
        lora,
        st.sets(st.sampled_from(LAYERS), min_size=1).map(lambda chosen: tuple(sorted(chosen))),
        st.integers(1, 40),
        st.integers(0, 99),
    ),
    st.floats(-2, 2, width=16),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ONE, max_size=2), min_size=3, max_size=6))
def test_a_slot_that_held_others_answers_as_a_fresh_one(jobs: list[list[tuple[Given, float]]]) -> None:
    used = network()
    slot = LoraSlot(used)
    for loras in jobs:
        fresh = network()
        expected = answer(LoraSlot(fresh), fresh, loras)
        torch.testing.assert_close(answer(slot, used, loras), expected, rtol=1e-4, atol=1e-4)


def test_a_wider_lora_after_a_plain_job_counts_at_once() -> None:
    """Also where it changes a layer that no earlier one did."""
    plain = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).requires_grad_(False)
    with torch.no_grad():
        for layer in plain:
            layer.weight.copy_(torch.eye(4))

    def ones(layer: str, rank: int) -> Given:
        return {layer: Change(down=torch.ones(rank, 4), up=torch.ones(4, rank))}

    for wide in (ones("0", 32), ones("1", 8), {**ones("0", 8), **ones("1", 8)}):
        held, fresh = copy.deepcopy(plain), copy.deepcopy(plain)
        slot = LoraSlot(held)
        with torch.no_grad():
            slot.fill([(ones("0", 8), 1.0)])
            slot.fill([])
            slot.fill([(wide, 1.0)])
            LoraSlot(fresh).fill([(wide, 1.0)])
            assert torch.equal(held(torch.ones(1, 4)), fresh(torch.ones(1, 4)))


def test_through_the_engine_any_order_gives_the_pictures_of_fresh_workers(tmp_path: Path) -> None:
    loras = tmp_path / "loras"
    model = str(make(tmp_path / "tiny"))
    held = load(model, CPU, loras=loras)
    for name, rank, layers in (
        ("thin", 4, ("attn2.to_k",)), ("wide", 32, ("attn2.to_k",)), ("other", 8, ("attn1.to_q", "conv1"))
    ):  # fmt: skip
        make_lora(loras / f"{name}.safetensors", held.family.parts, rank=rank, layers=layers, strength=0.1)
    jobs: list[tuple[Lora, ...]] = [(), *((Lora(name=name, weight=0.8),) for name in ("thin", "wide", "other"))]
    jobs.append((Lora(name="thin"), Lora(name="other", weight=-0.5)))
    fresh = [draw(load(model, CPU, loras=loras), job) for job in jobs]
    assert all(distance(one, other) > 3 for one, other in itertools.combinations(fresh, 2))
    random = np.random.default_rng(7)
    for number in (1, 0, 2, 0, 3, *random.integers(0, len(jobs), 10)):
        assert distance(draw(held, jobs[number]), fresh[number]) <= 1, f"the LoRAs {jobs[number]}"


def draw(loaded: object, loras: tuple[Lora, ...]) -> np.ndarray:
    return pixels(EngineDriver(loaded).render(request(loras=loras, steps=2), indices=(0,))[0])  # type: ignore[arg-type]
