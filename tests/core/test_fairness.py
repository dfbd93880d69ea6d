"""Nobody can hold the GPU: shares, bounds and turns, in simulations of a single device."""

import random
from collections import Counter as Tally
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.fairness import CREDIT_LIMIT_MS, Room, Scope, Waiting, arrive, choose, correct, fits, in_order
from core.job import Lane

CREDIT = (Scope.CREDIT, Lane.RELAX, "")
costs = st.integers(min_value=1, max_value=5000)


def waiting(account="alice", lane=Lane.FAST, estimate=1000, key="square", order=0, **more):
    return Waiting(job=f"job{order}", account=account, lane=lane, estimate_ms=estimate, key=key, order=order, **more)


class Device:
    """Serves one job at a time by core.fairness, keeping the counters as storage does."""

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

    def serve(self, cost=None):
        """Serves the next job; `cost`: what it really takes, if not the estimate."""
        turn = choose(self.heads(), self.service, share=self.share)
        job = turn.waiting
        self.queue.remove(job)
        self.service |= turn.updates
        spent = job.estimate_ms if cost is None else cost
        self.service |= correct(job, job.estimate_ms, spent, turn.contended, self.service, share=self.share)
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
        lane = choose(device.heads(), device.service, share=0.2).waiting.lane
        device.serve(cost=1700 if lane is Lane.RELAX else 400)  # relax is dearer than it looks
    assert device.lanes[Lane.RELAX] / sum(device.lanes.values()) == pytest.approx(0.2, abs=0.02)


def test_relax_cannot_save_up_more_than_the_limit():
    job = waiting(estimate=10**10)
    for _ in range(3):
        turn = choose([job, waiting(lane=Lane.RELAX, order=1)], {CREDIT: -1e12})
        assert turn.waiting.lane is Lane.FAST
        assert turn.updates[CREDIT] <= CREDIT_LIMIT_MS


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
    after |= correct(job, job.estimate_ms, 0, turn.contended, after)
    assert all(after[counter] == 0.0 for counter in job.counters)


def test_twice_the_weight_is_twice_the_share():
    device = Device()
    for _ in range(60):
        device.add("team", weight=2.0)
        device.add("alice")
    served = Tally(device.serve().account for _ in range(30))
    assert served["team"] == pytest.approx(20, abs=1)


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


@pytest.mark.parametrize(
    ("room", "job", "enters"),
    [
        (Room(), waiting(), True),
        (Room(rows=4, alone=False), waiting(rows=4), True),
        (Room(rows=3, alone=False), waiting(rows=4), False),
        (Room(rows=3, alone=True), waiting(rows=4), True),
        (Room(alone=False), waiting(solo=True), False),
        (Room(alone=True), waiting(solo=True), True),
        (Room(keys=frozenset({"wide"})), waiting(key="square"), False),
        (Room(keys=frozenset({"wide"})), waiting(key="wide"), True),
    ],
)
def test_who_may_enter_now(room, job, enters):
    assert fits(job, room) is enters


def test_a_turn_changes_no_counter_of_others():
    mine, theirs = waiting("alice", order=1), replace(waiting("bob", order=2))
    turn = choose([mine, theirs], {})
    assert not set(turn.updates) & set(theirs.counters)
