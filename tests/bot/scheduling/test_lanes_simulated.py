"""The promises of the lanes, in virtual time: what a fast grid waits for, what a pause costs, who gets how much."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from core.cost import AccountPlan
from core.job import Lane
from core.preemption import PAUSED_ROWS, SLICE_MS
from storage.database import Database
from tests.bot.scheduling.simulation import GRID_MS, ROW_MS, Simulation
from tests.harness.opened_storage import Clock, OpenedStorage, job_maker, memory_folder

Ask = Callable[[], Awaitable[None]]


@pytest.fixture
async def lanes() -> AsyncIterator[Simulation]:
    """A simulation that has started, of members with time enough."""
    plan = AccountPlan(name="large", fast_ms_per_period=10**9, running=3, waiting=99, max_work=10**12)
    clock = Clock()
    with memory_folder() as folder:
        async with Database.open(folder / "data", clock=clock) as db:
            simulation = Simulation(OpenedStorage(db=db, clock=clock, make=job_maker(), plan=plan))
            await simulation.start()
            yield simulation
            assert await simulation.store.ledger.audit() == []


async def waiting(lanes: Simulation, lane: Lane) -> int:
    rows = await lanes.store.rows("job", f"lane = '{lane}' AND state = 'queued'")
    return len(rows)


async def keep_asking(lanes: Simulation, users: list[str], lane: Lane, at_least: int = 4) -> None:
    """As many wait as that the lane never runs dry."""
    while await waiting(lanes, lane) < at_least * len(users):
        for user in users:
            await lanes.ask(user, lane)


async def fast_grid(lanes: Simulation, lane: Lane = Lane.FAST) -> int:
    """How long one takes, from now on."""
    job = await lanes.ask("fast", lane)
    await lanes.until(lambda: job.id in lanes.took)
    return lanes.took[job.id]


async def spend(lanes: Simulation, ms: int, ask: Ask) -> None:
    """The next `ms` of virtual time."""
    until = lanes.now + ms
    while lanes.now < until:
        await ask()
        await lanes.turn()


async def test_a_fast_grid_hardly_notices_that_relax_saturates_the_worker(lanes: Simulation) -> None:
    idle = await fast_grid(lanes)
    assert idle == GRID_MS
    for life in range(2):
        for _ in range(4):
            await keep_asking(lanes, ["ann", "bob"], Lane.RELAX)
            await spend(lanes, 333, lambda: keep_asking(lanes, ["ann", "bob"], Lane.RELAX))
            assert await fast_grid(lanes) <= 1.5 * idle, f"in life {life + 1}"
        await lanes.start()


async def test_first_come_first_served_would_make_it_wait_for_all_before_it(lanes: Simulation) -> None:
    await keep_asking(lanes, ["fast"], Lane.RELAX, at_least=8)
    await lanes.turn()
    assert await fast_grid(lanes, Lane.RELAX) >= 3 * GRID_MS


async def test_a_fast_grid_beside_endless_relax_work_meets_one_slice_at_most(lanes: Simulation) -> None:
    for _ in range(12):
        await keep_asking(lanes, ["ann"], Lane.RELAX)
        assert await fast_grid(lanes) <= GRID_MS + SLICE_MS + 2 * 8 * ROW_MS


@pytest.mark.parametrize("preempted", [True, False])
async def test_pauses_cost_no_time(lanes: Simulation, preempted: bool) -> None:
    other = Lane.FAST if preempted else Lane.RELAX
    jobs = []
    for n in range(24):
        jobs.append(await lanes.ask(f"user{n % 4}", other if n % 3 == 0 else Lane.RELAX))
        await lanes.turn()
    await lanes.until(lambda: all(job.id in lanes.took for job in jobs))
    assert lanes.idle_ms <= 1
    assert sum(lanes.by_user.values()) == 24 * GRID_MS == lanes.now - lanes.idle_ms


def jain(values: list[int]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


async def test_ten_members_who_all_wait_are_served_alike_also_over_a_restart(lanes: Simulation) -> None:
    members, widest = [f"member{n}" for n in range(10)], 0
    lanes.by_user.update(dict.fromkeys(members, 0))

    async def ask() -> None:
        nonlocal widest
        await keep_asking(lanes, members, Lane.FAST, at_least=2)
        widest = max(widest, max(lanes.by_user.values()) - min(lanes.by_user.values()))

    for _ in range(2):
        await spend(lanes, 45 * GRID_MS, ask)
        await lanes.start()
    assert widest <= 2 * GRID_MS
    assert jain(list(lanes.by_user.values())) >= 0.99


@pytest.mark.parametrize("share", [0.1, 0.3])
async def test_relax_gets_its_share_under_endless_fast_load_also_over_a_restart(
    lanes: Simulation, share: float
) -> None:
    lanes.share = share
    await lanes.start()

    async def ask() -> None:
        await keep_asking(lanes, ["ann", "bob"], Lane.FAST, at_least=2)
        await keep_asking(lanes, ["carl"], Lane.RELAX, at_least=2)

    for _ in range(2):
        before = lanes.by_lane.copy()
        await spend(lanes, 30 * GRID_MS, ask)
        spent = lanes.by_lane - before
        assert spent[Lane.RELAX] / spent.total() == pytest.approx(share, abs=0.02)
        await lanes.start()


async def test_two_models_that_do_not_fit_together_are_not_swapped_at_each_turn(lanes: Simulation) -> None:
    for _ in range(20):
        for user, model in (("ann", "postcard"), ("bob", "other"), ("carl", "postcard"), ("dan", "other")):
            await lanes.ask(user, model=model)
    await lanes.until(lambda: lanes.now >= 60 * GRID_MS)
    assert 2 <= lanes.worker.swaps <= len(lanes.took) / 4
    assert max(lanes.by_user.values()) - min(lanes.by_user.values()) <= 4 * GRID_MS


async def test_relax_work_of_another_model_is_not_swapped_in_for_each_slice(
    lanes: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.preemption.COLD_SLICE_MS", 1000.0)
    for n in range(80):
        await lanes.ask(f"member{n % 4}")
    for _ in range(10):
        await lanes.ask("carl", Lane.RELAX, model="other")
    await lanes.until(lambda: lanes.now >= 60 * GRID_MS)
    relaxed = lanes.by_lane[Lane.RELAX]
    assert relaxed / lanes.by_lane.total() == pytest.approx(0.1, abs=0.05)
    assert lanes.worker.swaps <= 2 * (relaxed / 1000 + 1)


async def test_relax_without_a_share_waits_until_nobody_else_wants_the_worker(lanes: Simulation) -> None:
    lanes.share = 0.0
    await lanes.start()
    relaxed = await lanes.ask("ann", Lane.RELAX)
    await lanes.turn()
    for _ in range(5):
        await lanes.ask("bob")
    await lanes.until(lambda: relaxed.id in lanes.took)
    assert lanes.took[relaxed.id] == 6 * GRID_MS


async def test_the_memory_of_paused_rows_stays_bounded_whatever_comes(lanes: Simulation) -> None:
    async def ask() -> None:
        for n, lane in enumerate(Lane):
            await keep_asking(lanes, [f"{lane}{n}", f"{lane}x"], lane, at_least=1)

    await spend(lanes, 20 * GRID_MS, ask)
    assert 0 < lanes.worker.most_paused <= PAUSED_ROWS


async def test_a_short_job_is_quick_beside_long_ones_of_the_same_lane(lanes: Simulation) -> None:
    for _ in range(2):
        job = lanes.store.make("ann", estimate=50 * GRID_MS)
        job = replace(job, request=replace(job.request, steps=1000))
        await lanes.store.admit(job)
        lanes.began[job.id] = 0
    lanes.kick()
    await spend(lanes, 3 * GRID_MS, lanes.turn)
    short = await lanes.ask("bob")
    for _ in range(100):  # the scheduler looks every second
        lanes.kick()
        await lanes.turn()
    assert lanes.took[short.id] <= 3 * GRID_MS
