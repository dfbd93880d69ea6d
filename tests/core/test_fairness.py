"""Nobody can hold the GPU: shares, bounds and turns, in simulations of a single device."""

import random
from collections import Counter as Tally
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.fairness import AHEAD, CREDIT, CREDIT_LIMIT_MS, Scope, WaitingJob, arrive, choose, correct, credited, in_order
from core.job import Lane

costs = st.integers(min_value=1, max_value=5000)


def waiting(account="alice", lane=Lane.FAST, estimate=1000, key="square", order=0, **more):
    return WaitingJob(job=f"job{order}", account=account, lane=lane, estimate_ms=estimate, key=key, order=order, **more)


class Device:
    """Serves one job at a time by core.fairness, keeping the counters as storage and the scheduler do."""

    def __init__(self, share=0.1):
        self.share, self.service, self.queue, self.orders = share, {}, [], 0
        self.served = defaultdict(int)  # GPU ms by account
        self.lanes = defaultdict(int)  # … by lane

    def add(self, *args, **kwargs):
        self.orders += 1
        job = waiting(*args, order=self.orders, **kwargs)
        live = {other.key for other in self.queue if (other.account, other.lane) == (job.account, job.lane)}
        self.service |= arrive(job, live, self.service)
        self.queue.append(job)
        return job

    def heads(self):
        heads = {}
        for job in sorted(self.queue, key=lambda job: job.order):
            heads.setdefault((job.lane, job.account, job.key), job)
        return list(heads.values())

    def serve(self, cost=None, warm=None):
        """Serves the next job; `cost`: what it really takes, if not the estimate."""
        turn = choose(self.heads(), self.service, warm=warm)
        job = turn.waiting
        self.queue.remove(job)
        self.service |= turn.updates
        spent = job.estimate_ms if cost is None else cost
        self.service |= correct(job, job.estimate_ms, spent, self.service)
        credit = self.service.get(CREDIT, 0.0)
        self.service[CREDIT] = credited(credit, job.lane, spent, held_back=turn.contended, share=self.share)
        self.served[job.account] += spent
        self.lanes[job.lane] += spent
        return job


def test_nothing_waits_so_nobody_is_next():
    assert choose([], {}) is None
    assert in_order([], {}) == []


def test_the_least_served_account_is_next_and_the_oldest_job_breaks_a_tie():
    heads = [waiting("alice", order=1), waiting("bob", order=2), waiting("carol", order=3)]
    assert choose(heads, {}).waiting.account == "alice"
    served = {heads[0].counters[0]: 10.0, heads[1].counters[0]: 5.0, heads[2].counters[0]: 5.0}
    assert choose(heads, served).waiting.account == "bob"


@given(st.lists(st.tuples(costs, costs), min_size=20, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_two_accounts_that_always_wait_never_differ_by_more_than_two_of_the_largest_pieces(pieces, random):
    device = Device()
    largest = max(max(pair) for pair in pieces)
    for _ in range(3):
        device.add("alice", estimate=random.choice(pieces)[0])
        device.add("bob", estimate=random.choice(pieces)[1])
    for mine, theirs in pieces:
        device.add("alice", estimate=mine)
        device.add("bob", estimate=theirs)
        device.serve()
        assert abs(device.served["alice"] - device.served["bob"]) <= 2 * largest


@given(st.integers(min_value=0, max_value=2**32), st.floats(min_value=0.05, max_value=0.5))
@settings(max_examples=8, deadline=None)
def test_relax_gets_its_share_within_two_points_while_both_wait(seed, share):
    device, chance = Device(share), random.Random(seed)
    for _ in range(1500):
        while sum(job.lane is Lane.FAST for job in device.queue) < 4:
            device.add(chance.choice("abcd"), Lane.FAST, estimate=chance.randint(100, 3000))
        while sum(job.lane is Lane.RELAX for job in device.queue) < 3:
            device.add(chance.choice("xyz"), Lane.RELAX, estimate=chance.randint(100, 3000))
        device.serve(cost=chance.randint(50, 3500))
    assert device.lanes[Lane.RELAX] / sum(device.lanes.values()) == pytest.approx(share, abs=0.02)


@given(st.lists(costs, min_size=30, max_size=80), costs)
@settings(max_examples=20, deadline=None)
def test_relax_never_starves_however_dear_the_others_are(pieces, relaxed):
    device = Device()
    device.add("bob", Lane.RELAX, estimate=relaxed)
    for piece in pieces:
        device.add("alice", Lane.FAST, estimate=piece)
    first = [device.serve().lane for _ in range(2)]
    assert Lane.RELAX in first  # whatever the first fast job cost, relax has credit after it


def test_relax_is_last_but_takes_all_when_nobody_else_waits():
    device = Device()
    device.add("alice", Lane.RELAX)
    device.add("alice", Lane.RELAX)
    device.add("bob", Lane.TURBO)
    device.add("bob", Lane.FAST)
    assert [device.serve().lane for _ in range(4)] == [Lane.TURBO, Lane.RELAX, Lane.FAST, Lane.RELAX]
    alone = Device()
    for _ in range(3):
        alone.add("alice", Lane.RELAX)
        alone.serve()
    assert alone.service.get(CREDIT, 0.0) == 0.0  # with nobody to take from, there is nothing to pay back


def test_the_share_is_of_time_really_measured():
    device = Device(share=0.2)
    for _ in range(400):
        while sum(job.lane is Lane.FAST for job in device.queue) < 2:
            device.add("alice", Lane.FAST, estimate=1000)
        while sum(job.lane is Lane.RELAX for job in device.queue) < 2:
            device.add("bob", Lane.RELAX, estimate=1000)
        lane = choose(device.heads(), device.service).waiting.lane
        device.serve(cost=1700 if lane is Lane.RELAX else 400)  # relax is dearer than it looks
    assert device.lanes[Lane.RELAX] / sum(device.lanes.values()) == pytest.approx(0.2, abs=0.02)


def test_relax_cannot_save_up_more_than_the_limit():
    assert credited(0.0, Lane.FAST, 1e10, held_back=True) == CREDIT_LIMIT_MS
    assert credited(0.0, Lane.RELAX, 1e10, held_back=True) == -CREDIT_LIMIT_MS


def test_time_that_nobody_else_wanted_makes_neither_credit_nor_debt_and_wears_off_both():
    assert credited(0.0, Lane.RELAX, 500, held_back=False) == 0.0
    assert credited(0.0, Lane.FAST, 500, held_back=False) == 0.0
    assert credited(300.0, Lane.RELAX, 200, held_back=False) == 100.0
    assert credited(300.0, Lane.RELAX, 500, held_back=False) == 0.0
    assert credited(300.0, Lane.FAST, 500, held_back=False) == 300.0
    assert credited(-90.0, Lane.FAST, 450, held_back=False) == -40.0
    assert credited(-90.0, Lane.RELAX, 450, held_back=False) == -90.0


def test_idling_earns_no_credit():
    device = Device()
    device.add("alice")
    device.serve()
    for _ in range(50):
        device.add("bob")
        device.serve()
    for _ in range(10):
        device.add("alice")
        device.add("bob")
    assert Tally(device.serve().account for _ in range(10))["alice"] in (5, 6)


def test_an_account_that_is_served_less_than_estimated_is_charged_what_was_measured():
    device = Device()
    for _ in range(200):
        for account in ("alice", "bob"):
            while sum(job.account == account for job in device.queue) < 2:
                device.add(account)
        head = choose(device.heads(), device.service).waiting
        device.serve(cost=250 if head.account == "alice" else 1000)
    assert abs(device.served["alice"] - device.served["bob"]) <= 2000


def test_a_lost_attempt_costs_its_account_nothing():
    job = waiting()
    turn = choose([job], {})
    after = {**turn.updates}
    after |= correct(job, job.estimate_ms, 0, after)
    assert all(after[counter] == 0.0 for counter in job.counters)


def test_the_order_holds_when_the_counters_were_written_down_and_read_again():
    device, kept = Device(), None
    for n in range(100):
        device.add("alice", estimate=900)
        device.add("bob", estimate=300)
        device.serve()
        if n % 10 == 0:  # a restart: nothing lives on but the table's rows
            kept = [(str(scope), str(lane), name, ms) for (scope, lane, name), ms in device.service.items()]
            device.service = {(Scope(scope), Lane(lane), name): ms for scope, lane, name, ms in kept}
    assert abs(device.served["alice"] - device.served["bob"]) <= 1800


def test_a_rare_batch_key_takes_its_turn_beside_a_common_one():
    device = Device()
    for _ in range(20):
        device.add("alice", key="square")
    device.serve()
    rare = device.add("alice", key="wide")
    assert rare in [device.serve() for _ in range(2)]


def test_a_batch_key_that_was_away_earns_no_credit_either():
    device = Device()
    for _ in range(40):
        device.add("alice", key="square")
    for _ in range(20):
        device.serve()
    for _ in range(10):
        device.add("alice", key="wide")
    assert Tally(device.serve().key for _ in range(10))["square"] in (4, 5, 6)


def test_many_batch_keys_buy_no_larger_share():
    device = Device()
    for n in range(60):
        device.add("alice", key=f"size{n % 6}")
        device.add("bob", key="square")
    assert Tally(device.serve().account for _ in range(40))["alice"] == 20


def test_the_batch_keys_of_an_account_start_anew_when_it_comes_back():
    device = Device()
    for _ in range(5):
        device.add("alice", key="square")
    for _ in range(5):
        device.serve()
    job = device.add("alice", key="wide")
    assert device.service[(Scope.KEY, Lane.FAST, "alice|square")] == 0.0
    assert device.serve() is job


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Lane)), costs, st.sampled_from("kl")), max_size=40)
)
@settings(max_examples=40, deadline=None)
def test_the_foretold_order_is_the_order_of_service(jobs):
    device = Device()
    for account, lane, estimate, key in jobs:
        device.add(account, lane, estimate, key=key)
    foretold = [job.job for job in in_order(device.queue, device.service, share=device.share)]
    assert [device.serve().job for _ in jobs] == foretold


def test_a_turn_changes_no_counter_of_others():
    mine, theirs = waiting("alice", order=1), replace(waiting("bob", order=2))
    turn = choose([mine, theirs], {})
    assert not set(turn.updates) & set(theirs.counters)


class Swapping(Device):
    """A device that holds one model at a time and is served with the look-ahead."""

    def __init__(self):
        super().__init__()
        self.loaded, self.swaps, self.widest = "x", 0, 0.0

    def next(self, cost=None):
        """Serves, swaps where needed, and notes how far those who wait have come apart."""
        job = self.serve(cost, warm={self.loaded})
        self.swaps += job.model != self.loaded
        self.loaded = job.model
        waits = {other.account for other in self.queue}
        counters = [self.service[Scope.ACCOUNT, job.lane, account] for account in waits]
        self.widest = max(self.widest, max(counters, default=0.0) - min(counters, default=0.0))
        return job


def backlog(device, models, jobs, estimates):
    """Every account of `models` gets as many jobs of its own model."""
    for n in range(jobs):
        for account, model in models.items():
            device.add(account, key=f"{model}:256x256", estimate=estimates[n % len(estimates)])


@given(st.lists(costs, min_size=5, max_size=20), st.integers(min_value=2, max_value=6))
@settings(max_examples=25, deadline=None)
def test_a_loaded_model_is_preferred_only_while_nobody_is_more_than_two_jobs_ahead(estimates, members):
    device = Swapping()
    backlog(device, {f"member{n}": "xyz"[n % 3] for n in range(members)}, 12, estimates)
    for _ in range(6 * members):
        device.next()
    assert device.widest <= (AHEAD + 1) * max(estimates)


def test_two_models_that_take_turns_are_swapped_every_few_jobs_and_not_at_each():
    device = Swapping()
    backlog(device, {"alice": "x", "bob": "y"}, 60, [1000])
    for _ in range(80):
        device.next()
    assert device.swaps <= 80 / 3
    assert abs(device.served["alice"] - device.served["bob"]) <= (AHEAD + 1) * 1000


@given(st.integers(min_value=1, max_value=8), costs)
@settings(max_examples=25, deadline=None)
def test_nobody_starves_for_wanting_a_model_that_is_not_loaded(others, estimate):
    device = Swapping()
    rare = device.add("rare", key="y:256x256", estimate=estimate)
    for n in range(others):
        for _ in range(20):
            device.add(f"member{n}", key="x:256x256", estimate=estimate)
    assert rare in [device.next() for _ in range(AHEAD * others + 1)]


def test_the_models_of_one_member_take_turns_within_the_same_bound():
    device = Swapping()
    for _ in range(40):
        device.add("alice", key="x:256x256")
        device.add("alice", key="y:256x256")
    served = Tally(device.next().model for _ in range(40))
    assert abs(served["x"] - served["y"]) <= AHEAD + 1 and device.swaps <= 40 / 2


def test_the_look_ahead_earns_nobody_a_head_start():
    ahead = waiting("bob", key="x:s", order=1)
    turn = choose([waiting("alice", key="y:s", order=0), ahead], {ahead.counters[0]: 500.0}, warm={"x"})
    assert turn.waiting is ahead
    assert turn.updates[Scope.LANE, Lane.FAST, ""] == 0.0  # whoever comes now is lifted to alice, not to bob
