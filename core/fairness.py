"""Says who is next, so that nobody can hold the GPU. Pure: knows nothing of SQLite, Discord or clocks.

Virtual-time fair queueing (VTC, arXiv 2401.00588): each account has a counter of the GPU time that it was served, and
of those that wait, the one with the least is next. It is charged the estimate when a job is claimed and corrected when
the job ends. An account that comes back from idling is lifted to the lane's virtual time (the counter of whoever was
served last), so that idling earns no credit. Two accounts that both wait never differ by more than about two of the
largest pieces. Inside an account the batch keys (model and size) take turns by the same rule.

Lanes go in order, turbo, fast, relax; while relax waits beside them it earns credit for each piece that they take, and
whenever it has credit it is next: that is its guaranteed share. Counters are values; whoever calls keeps them.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.job import Lane

RELAX_SHARE = 0.1
#: Relax can save up no more than this: ten minutes of GPU time.
CREDIT_LIMIT_MS = 600_000.0


class Scope(StrEnum):
    """What a counter counts."""

    ACCOUNT = "account"  # GPU time served to an account in a lane
    KEY = "key"  # … to one batch key of that account
    LANE = "lane"  # the lane's virtual time
    CREDIT = "credit"  # what the lane may take before the lanes above it


Counter = tuple[Scope, Lane, str]
Service = Mapping[Counter, float]
Updates = dict[Counter, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One waiting job, as far as its turn is concerned. `order`: of admission, breaks ties."""

    job: str
    lane: Lane
    account: str
    key: str
    estimate_ms: int
    order: int
    rows: int = 1
    solo: bool = False
    weight: float = 1.0  # twice the weight, twice the share

    @property
    def counters(self) -> tuple[Counter, Counter]:
        """Its account's counter and its batch key's."""
        return (Scope.ACCOUNT, self.lane, self.account), (Scope.KEY, self.lane, f"{self.account}|{self.key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a worker can take now. None: no limit."""

    rows: int | None = None
    keys: frozenset[str] | None = None
    alone: bool = True  # the worker computes nothing, so a job that must run alone may enter
    running_per_account: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whose turn it is, and the counters to keep once the job was really claimed."""

    waiting: Waiting
    contended: bool  # relax and a metered lane both waited
    updates: Updates


def fits(waiting: Waiting, room: Room) -> bool:
    """Whether the job whose turn it is may enter now. If not, it waits and nobody overtakes it: that keeps large jobs,
    rare sizes and jobs that must run alone from starving."""
    if waiting.solo and not room.alone:
        return False
    if room.keys is not None and waiting.key not in room.keys:
        return False
    return room.rows is None or room.alone or waiting.rows <= room.rows


def choose(heads: Collection[Waiting], service: Service, *, share: float = RELAX_SHARE) -> Turn | None:
    """Who is next among the oldest job of each (lane, account, batch key)."""
    if not heads:
        return None
    lane, contended = _lane({head.lane for head in heads}, service)
    here = [head for head in heads if head.lane is lane]
    account = min(here, key=lambda head: (service.get(head.counters[0], 0.0), head.order)).account
    mine = (head for head in here if head.account == account)
    chosen = min(mine, key=lambda head: (service.get(head.counters[1], 0.0), head.order))
    return Turn(waiting=chosen, contended=contended, updates=_charge(chosen, contended, service, share))


def arrive(waiting: Waiting, live_keys: Collection[str], service: Service) -> Updates:
    """The counters as a job joins its lane. `live_keys`: batch keys of the account's waiting and running jobs there."""
    account, key = waiting.counters
    if not live_keys:  # back from idling: no credit, and its batch keys start anew
        mine = (counter for counter in service if counter[:2] == key[:2] and counter[2].startswith(f"{account[2]}|"))
        now = service.get((Scope.LANE, waiting.lane, ""), 0.0)
        return dict.fromkeys(mine, 0.0) | {account: max(service.get(account, 0.0), now)}
    if waiting.key in live_keys:
        return {}
    floor = min(service.get((key[0], key[1], f"{waiting.account}|{other}"), 0.0) for other in live_keys)
    return {key: max(service.get(key, 0.0), floor)}


def correct(
    ended: Waiting,
    booked_ms: float,
    measured_ms: float,
    contended: bool,
    service: Service,
    *,
    share: float = RELAX_SHARE,
) -> Updates:
    """The counters once an attempt's true cost is known: zero when it was lost, for that is the house's."""
    difference = measured_ms - booked_ms
    updates = {counter: max(0.0, service.get(counter, 0.0) + difference / ended.weight) for counter in ended.counters}
    return updates | _credit(ended, difference, contended, service, share)


def in_order(waiting: Iterable[Waiting], service: Service, *, share: float = RELAX_SHARE) -> list[Waiting]:
    """All waiting jobs as they would be served if nothing else came: each one's place, and the work before it."""
    lanes: dict[Lane, list[Waiting]] = defaultdict(list)
    for job in waiting:
        lanes[job.lane].append(job)
    queues = {lane: _lane_in_order(jobs, service) for lane, jobs in lanes.items()}
    heads = {lane: next(queue) for lane, queue in queues.items()}
    credit = {counter: value for counter, value in service.items() if counter[0] is Scope.CREDIT}
    ordered: list[Waiting] = []
    while heads:
        lane, contended = _lane(heads.keys(), credit)
        ordered.append(heads.pop(lane))
        credit |= _credit(ordered[-1], ordered[-1].estimate_ms, contended, credit, share)
        following = next(queues[lane], None)
        if following is not None:
            heads[lane] = following
    return ordered


def _lane(waiting: Collection[Lane], service: Service) -> tuple[Lane, bool]:
    """The lane whose turn it is, and whether relax and a metered lane compete."""
    first = next(lane for lane in Lane if lane in waiting)
    contended = first is not Lane.RELAX and Lane.RELAX in waiting
    owed = service.get((Scope.CREDIT, Lane.RELAX, ""), 0.0) > 0
    return (Lane.RELAX if contended and owed else first), contended


def _charge(chosen: Waiting, contended: bool, service: Service, share: float) -> Updates:
    account, _ = chosen.counters
    virtual: Counter = (Scope.LANE, chosen.lane, "")
    updates: Updates = {virtual: max(service.get(virtual, 0.0), service.get(account, 0.0))}
    for counter in chosen.counters:
        updates[counter] = service.get(counter, 0.0) + chosen.estimate_ms / chosen.weight
    return updates | _credit(chosen, chosen.estimate_ms, contended, service, share)


def _credit(job: Waiting, cost_ms: float, contended: bool, service: Service, share: float) -> Updates:
    """Relax earns while a metered lane is served before it, and pays when it is served itself."""
    if not contended:
        return {}
    counter: Counter = (Scope.CREDIT, Lane.RELAX, "")
    gain = -cost_ms if job.lane is Lane.RELAX else cost_ms * share / (1 - share)
    return {counter: min(CREDIT_LIMIT_MS, service.get(counter, 0.0) + gain)}


def _lane_in_order(jobs: Iterable[Waiting], service: Service) -> Iterator[Waiting]:
    """One lane's jobs by the rule of `choose`, without looking at every head for every job."""
    accounts: dict[str, dict[str, deque[Waiting]]] = defaultdict(lambda: defaultdict(deque))
    for job in sorted(jobs, key=lambda job: job.order):
        accounts[job.account][job.key].append(job)
    heap = [_standing(keys, service) for keys in accounts.values()]
    heapq.heapify(heap)
    served = dict(service)
    while heap:
        _, _, account = heap[0]
        keys = accounts[account]
        queue = min(keys.values(), key=lambda queue: (served.get(queue[0].counters[1], 0.0), queue[0].order))
        job = queue.popleft()
        yield job
        for counter in job.counters:
            served[counter] = served.get(counter, 0.0) + job.estimate_ms / job.weight
        if not queue:
            del keys[job.key]
        if keys:
            heapq.heapreplace(heap, _standing(keys, served))
        else:
            heapq.heappop(heap)


def _standing(keys: Mapping[str, deque[Waiting]], service: Service) -> tuple[float, int, str]:
    """An account's place among the others: least service first, then the oldest job."""
    oldest = min((queue[0] for queue in keys.values()), key=lambda head: head.order)
    return service.get(oldest.counters[0], 0.0), oldest.order, oldest.account
