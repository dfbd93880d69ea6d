"""What /info says, and what counts as said."""

from dataclasses import replace
from types import SimpleNamespace

from bot.admission import Purse
from bot.hub import Status, WorkerState
from bot.outlook import Estimate
from bot.standing import Standing, shown, told
from core.cost import Plan
from core.job import Lane
from tests.bot.samples import a_job


async def test_info_counts_as_told_only_what_it_showed(tmp_path):
    jobs = tuple(a_job(id=f"{number:016d}") for number in range(12))
    purse = Purse(
        plan=Plan(name="default", fast_ms_per_period=1, running=3, waiting=10, max_work=1),
        balance_ms=0,
        granted_ms=0,
        renews_at=0.0,
        running=0,
        waiting=10,
    )
    long = a_job(request=replace(a_job().request, prompt="red boats " * 20))
    standing = Standing(
        purse=purse,
        lane=Lane.FAST,
        grids=None,
        jobs=tuple([(long, Estimate(place=number)) for number in range(1, 9)]),
        untold=jobs,
        worker=WorkerState(status=Status.ONLINE, paused=False, since=0.0),
    )
    text = shown(standing)
    assert len(text) <= 2000 and "4 more" in text
    told_of = []

    class Deliveries:
        async def told(self, job):
            told_of.append(job)

    await told(SimpleNamespace(services=SimpleNamespace(deliveries=Deliveries())), standing)
    assert told_of == [job.id for job in jobs[:8]]
    assert text.count("--seed") == len(told_of)


def test_info_names_what_a_prompt_may_choose_and_nothing_where_there_is_no_choice():
    purse = Purse(
        plan=Plan(name="default", fast_ms_per_period=1, running=3, waiting=10, max_work=1),
        balance_ms=0, granted_ms=0, renews_at=0.0, running=0, waiting=0,
    )  # fmt: skip
    worker = WorkerState(status=Status.ONLINE, paused=False, since=0.0)
    plain = Standing(purse=purse, lane=Lane.FAST, grids=None, jobs=(), untold=(), worker=worker, models=("postcard",))
    assert "Models" not in shown(plain) and "LoRAs" not in shown(plain)
    many = replace(plain, models=("postcard", *(f"m{number}" for number in range(20))), loras=("ink",))
    assert "**Models** postcard, m0, m1" in shown(many) and "and 9 more (`--model`)" in shown(many)
    assert "**LoRAs** ink (`--lora`)" in shown(many)
