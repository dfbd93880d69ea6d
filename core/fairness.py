"""Says who is next, so that nobody can hold the GPU. Pure: knows nothing of SQLite, Discord or clocks.

Virtual-time fair queueing (VTC, arXiv 2401.00588): each account has a counter of the GPU time that it was served, and
of those that wait, the one with the least is next. It is charged the estimate when a job is claimed and corrected when
the job ends. An account that comes back from idling is lifted to the lane's virtual time (the counter of whoever was
served last), so that idling earns no credit. Two accounts that both wait never differ by more than about two of the
largest pieces. Inside an account the batch keys (model and size) take turns by the same rule.

A worker swaps models slowly, so a job whose model is loaded may overtake one whose model is not, as long as nobody
comes to be more than two jobs ahead by it (`AHEAD`).

Lanes go in order, turbo, fast, relax. Relax earns credit while it is held back by the lanes above it, and pays while it
holds them back; whenever it has credit it is next: that is its guaranteed share. Counters are values; whoever calls
keeps them. Who runs between the steps: see core/preemption.py.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.job import Lane

RELAX_SHARE = 0.1
#: Relax can save up, or owe, no more GPU time than this.
CREDIT_LIMIT_MS = 30_000.0
#: A job with a loaded model overtakes one without until its account, or key, is ahead by this many such jobs.
AHEAD = 2


class Scope(StrEnum):
    """What a counter counts."""

    ACCOUNT = "account"  # GPU time served to an account in a lane
    KEY = "key"  # … to one batch key of that account
    LANE = "lane"  # the lane's virtual time
    CREDIT = "credit"  # what the lane may take before the lanes above it


Counter = tuple[Scope, Lane, str]
Service = Mapping[Counter, float]
Updates = dict[Counter, float]
CREDIT: Counter = (Scope.CREDIT, Lane.RELAX, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """One waiting job, as far as its turn is concerned. `order`: of admission, breaks ties."""

    job: str
    lane: Lane
    account: str
    key: str
    estimate_ms: int
    order: int
    rows: int = 1
    solo: bool = False

    @property
    def counters(self) -> tuple[Counter, Counter]:
        """Its account's counter and its batch key's."""
        return (Scope.ACCOUNT, self.lane, self.account), (Scope.KEY, self.lane, f"{self.account}|{self.key}")

    @property
    def model(self) -> str:
        """The name that its batch key starts with."""
        return self.key.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whose turn it is, and the counters to keep once the job was really claimed."""

    waiting: WaitingJob
    contended: bool  # relax and a metered lane both waited
    updates: Updates


def choose(
    heads: Collection[WaitingJob], service: Service, *, lane: Lane | None = None, warm: Collection[str] | None = None
) -> Turn | None:
    """Who is next among the oldest job of each (lane, account, batch key); of `lane`, or of the lane whose turn it is.

    `warm`: the models that are loaded; None when that does not matter.
    """
    here = [head for head in heads if lane is None or head.lane is lane]
    if not here:
        return None
    turn, contended = lane_of({head.lane for head in heads}, service)
    here = [head for head in here if head.lane is (lane or turn)]
    account = min(here, key=lambda head: (service.get(head.counters[0], 0.0), head.order)).account
    fair = min((head for head in here if head.account == account), key=lambda head: _rank(head, service))
    chosen = fair if warm is None or fair.model in warm else _warm(fair, here, warm, service)
    return Turn(waiting=chosen, contended=contended, updates=_charge(chosen, fair, service))


def arrive(waiting: WaitingJob, live_keys: Collection[str], service: Service) -> Updates:
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


def correct(ended: WaitingJob, booked_ms: float, measured_ms: float, service: Service) -> Updates:
    """The counters once an attempt's true cost is known: zero when it was lost, for that is overhead."""
    difference = measured_ms - booked_ms
    return {counter: max(0.0, service.get(counter, 0.0) + difference) for counter in ended.counters}


def credited(credit: float, lane: Lane, ms: float, *, held_back: bool, share: float = RELAX_SHARE) -> float:
    """Relax's credit after `ms` of GPU time for a lane. `held_back`: the other side (relax, or the metered lanes)
    wanted it too. Time that nobody else wanted makes neither credit nor debt; it wears off what there is."""
    gain = -ms if lane is Lane.RELAX else ms * share / (1 - share)
    if held_back:
        return min(CREDIT_LIMIT_MS, max(-CREDIT_LIMIT_MS, credit + gain))
    if credit * gain >= 0:
        return credit
    return min(0.0, credit + gain) if credit < 0 else max(0.0, credit + gain)


def in_order(waiting: Iterable[WaitingJob], service: Service, *, share: float = RELAX_SHARE) -> list[WaitingJob]:
    """All waiting jobs as they would be served if nothing else came: each one's place, and the work before it."""
    lanes: dict[Lane, list[WaitingJob]] = defaultdict(list)
    for job in waiting:
        lanes[job.lane].append(job)
    queues = {lane: _lane_in_order(jobs, service) for lane, jobs in lanes.items()}
    heads = {lane: next(queue) for lane, queue in queues.items()}
    credit = {CREDIT: service.get(CREDIT, 0.0)}
    ordered: list[WaitingJob] = []
    while heads:
        lane, contended = lane_of(heads.keys(), credit)
        ordered.append(heads.pop(lane))
        credit[CREDIT] = credited(credit[CREDIT], lane, ordered[-1].estimate_ms, held_back=contended, share=share)
        following = next(queues[lane], None)
        if following is not None:
            heads[lane] = following
    return ordered


def lane_of(waiting: Collection[Lane], service: Service) -> tuple[Lane, bool]:
    """The lane whose turn it is among some, and whether relax and a metered lane compete."""
    first = next(lane for lane in Lane if lane in waiting)
    contended = first is not Lane.RELAX and Lane.RELAX in waiting
    return (Lane.RELAX if contended and service.get(CREDIT, 0.0) > 0 else first), contended


def _rank(head: WaitingJob, service: Service) -> tuple[float, float, int]:
    """Least served account first, then its least served key, then the oldest."""
    account, key = head.counters
    return service.get(account, 0.0), service.get(key, 0.0), head.order


def _warm(fair: WaitingJob, here: Collection[WaitingJob], warm: Collection[str], service: Service) -> WaitingJob:
    """The job that may overtake `fair` because its model is loaded; `fair` when none may."""

    def gap(ahead: WaitingJob, behind: WaitingJob, which: int) -> float:
        served = service.get(ahead.counters[which], 0.0) + ahead.estimate_ms
        return served - service.get(behind.counters[which], 0.0)

    def may(head: WaitingJob) -> bool:
        bound = AHEAD * max(head.estimate_ms, fair.estimate_ms)
        own = [other for other in here if other.account == head.account]
        if head.account != fair.account and gap(head, fair, 0) > bound:
            return False
        return all(gap(head, other, 1) <= bound for other in own)

    loaded = [head for head in here if head.model in warm and may(head)]
    return min(loaded, key=lambda head: _rank(head, service), default=fair)


def _charge(chosen: WaitingJob, fair: WaitingJob, service: Service) -> Updates:
    """Books the estimate; the lane's virtual time is the counter of the one whose turn it was."""
    virtual: Counter = (Scope.LANE, chosen.lane, "")
    updates: Updates = {virtual: max(service.get(virtual, 0.0), service.get(fair.counters[0], 0.0))}
    for counter in chosen.counters:
        updates[counter] = service.get(counter, 0.0) + chosen.estimate_ms
    return updates


def _lane_in_order(jobs: Iterable[WaitingJob], service: Service) -> Iterator[WaitingJob]:
    """One lane's jobs by the rule of `choose`, without looking at every head for every job."""
    accounts: dict[str, dict[str, deque[WaitingJob]]] = defaultdict(lambda: defaultdict(deque))
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
            served[counter] = served.get(counter, 0.0) + job.estimate_ms
        if not queue:
            del keys[job.key]
        if keys:
            heapq.heapreplace(heap, _standing(keys, served))
        else:
            heapq.heappop(heap)


def _standing(keys: Mapping[str, deque[WaitingJob]], service: Service) -> tuple[float, int, str]:
    """An account's place among the others: least service first, then the oldest job."""
    oldest = min((queue[0] for queue in keys.values()), key=lambda head: head.order)
    return service.get(oldest.counters[0], 0.0), oldest.order, oldest.account
