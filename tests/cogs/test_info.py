"""What /info says, and what counts as said."""

from dataclasses import replace

from bot.admission import AccountStatus
from bot.event_bus import Status, WorkerState
from bot.scheduling import Estimate
from cogs.info import AccountInfo, info_card
from core.cost import AccountPlan
from core.job import Kind, Lane, Source, State
from tests.harness.bot_samples import a_job


def test_info_lists_some_of_what_could_not_be_posted_and_a_button_takes_those_off():
    done = {"state": State.DONE, "finished_at": 1.0, "charged_ms": 0}
    jobs = tuple(a_job(id=f"{number:016d}", **done) for number in range(12))
    status = AccountStatus(
        plan=AccountPlan(name="default", fast_ms_per_period=1, running=3, waiting=10, max_work=1),
        balance_ms=0,
        granted_ms=0,
        renews_at=0.0,
        running=0,
        waiting=10,
    )
    long = a_job(request=replace(a_job().request, prompt="red boats " * 20))
    account = AccountInfo(
        status=status,
        lane=Lane.FAST,
        grids=None,
        jobs=tuple([(long, Estimate(place=number)) for number in range(1, 9)]),
        untold=jobs,
        untold_until=17.5,
        worker=WorkerState(status=Status.ONLINE, paused=False, since=0.0),
    )
    card = info_card(account)
    text = card.content
    assert len(text) <= 2000 and "8 more" in text
    shown = [row[0].id for row in card.rows]
    assert [one.job for one in shown[:-1]] == [job.id for job in jobs[:4]]
    assert str(shown[-1]) == "ask:seen:17.500000" and len(card.rows) == 5


def untold(*jobs, count=0):
    plan = AccountPlan(name="default", fast_ms_per_period=1, running=3, waiting=10, max_work=1)
    status = AccountStatus(plan=plan, balance_ms=0, granted_ms=0, renews_at=0.0, running=0, waiting=0)
    worker = WorkerState(status=Status.ONLINE, paused=False, since=0.0)
    account = AccountInfo(status=status, lane=Lane.FAST, grids=None, jobs=(), untold=jobs, worker=worker)
    return info_card(replace(account, untold_count=count))


def test_of_many_that_could_not_be_posted_all_are_counted():
    jobs = [a_job(id=f"{number:016d}", state=State.DONE, finished_at=1.0, charged_ms=0) for number in range(12)]
    assert "and 8 more, once" in untold(*jobs).content
    assert "and 96 more, once" in untold(*jobs, count=100).content


def test_what_could_not_be_posted_comes_by_a_button_for_each_of_its_pictures():
    grid = a_job(state=State.DONE, finished_at=1.0, charged_ms=0)
    card = untold(grid)
    assert "Not posted" in card.content
    ids = [str(button.id) for row in card.rows for button in row]
    assert ids[:-1] == [f"job:{grid.id}:u:{index}" for index in range(grid.request.count)]


def test_what_was_not_made_has_no_buttons_of_its_own_and_says_why():
    card = untold(a_job(state=State.FAILED, failure="It was too large.", finished_at=1.0, charged_ms=0))
    assert len(card.rows) == 1 and "It was too large." in card.content


def test_info_names_what_a_prompt_may_choose_and_nothing_where_there_is_no_choice():
    status = AccountStatus(
        plan=AccountPlan(name="default", fast_ms_per_period=1, running=3, waiting=10, max_work=1),
        balance_ms=0, granted_ms=0, renews_at=0.0, running=0, waiting=0,
    )  # fmt: skip
    worker = WorkerState(status=Status.ONLINE, paused=False, since=0.0)
    plain = AccountInfo(
        status=status, lane=Lane.FAST, grids=None, jobs=(), untold=(), worker=worker, models=("postcard",)
    )
    assert "Models" not in info_card(plain).content and "LoRAs" not in info_card(plain).content
    many = replace(plain, models=("postcard", *(f"m{number}" for number in range(20))), loras=("ink",))
    assert (
        "**Models** postcard, m0, m1" in info_card(many).content and "and 9 more (`--model`)" in info_card(many).content
    )
    assert "**LoRAs** ink (`--lora`)" in info_card(many).content


def of_jobs(*pairs, **changes):
    plan = AccountPlan(name="default", fast_ms_per_period=1, running=3, waiting=1000, max_work=1)
    status = AccountStatus(plan=plan, balance_ms=0, granted_ms=0, renews_at=0.0, running=0, waiting=0)
    worker = WorkerState(status=Status.ONLINE, paused=False, since=0.0)
    return info_card(
        AccountInfo(
            status=status, lane=Lane.FAST, jobs=pairs, worker=worker, **{"grids": None, "untold": (), **changes}
        )
    )


def test_one_picture_that_twice_could_not_be_posted_has_one_button():
    source = Source(job="abc", index=2)
    ends = {"state": State.DONE, "finished_at": 1.0, "charged_ms": 0}
    twins = [a_job(id=f"{number:016d}", kind=Kind.CROP, source=source, **ends) for number in range(2)]
    grid = a_job(id="abc", **ends)
    ids = [str(button.id) for row in untold(*twins, grid).rows for button in row]
    assert len(ids) == len(set(ids)) == grid.request.count + 1


def test_jobs_that_find_no_room_are_counted():
    long = a_job(request=replace(a_job().request, prompt="red boats " * 20))
    running = replace(long, state=State.RUNNING)
    pairs = [(running, Estimate(place=0))] * 100 + [(long, Estimate(place=number)) for number in range(1, 101)]
    content = of_jobs(*pairs).content
    assert len(content) <= 1900
    for title in ("Running", "Waiting"):
        part = content[content.index(f"**{title}**") :].splitlines()
        listed = [line for line in part[1:] if line.startswith("- ")]
        more = next(line for line in part if line.startswith("-# and"))
        assert part[0] == f"**{title}** 100" and listed
        assert int(more.split()[2]) + len(part[1 : part.index(more)]) == 100


def test_what_is_counted_has_its_plural():
    assert "about 1 grid at" in of_jobs(grids=1).content
    assert "about 2,813 grids at" in of_jobs(grids=2813).content
