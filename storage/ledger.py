"""The accounts of GPU time: grants, reservations, charges. Append-only; knows nothing of queues and of Discord.

A lot is a grant with an expiry. A job reserves its whole price when it is admitted, from the lots that expire first,
and settles once: what it did not cost flows back. So nobody ever pays more than was quoted and no balance is negative.
Every measured millisecond is booked in `usage` too, to the job's account or as overhead, whose payer is stored as
`house`.
"""

import json

from core.cost import AccountPlan, period_of
from core.job import Account
from storage.audit import CHECKS
from storage.database import Database, Tx

#: The source of a month's first lot; of a later one, after the plan was raised, it is this and the new amount.
_PLAN = "plan"
_OVER = "left_ms > 0 AND expires_at <= :now"
_TOO_SOON = "expired_ms > 0 AND expires_at > :now"
_ACCOUNTS_AT_ONCE = 100


class NotEnough(Exception):
    """The account's usable lots do not cover a reservation."""

    def __init__(self, *, balance_ms: int, needed_ms: int) -> None:
        super().__init__(f"{needed_ms} ms needed, {balance_ms} ms left")
        self.balance_ms = balance_ms
        self.needed_ms = needed_ms


class Ledger:
    """Every change of an account, and what it can still reserve."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def open_account(self, tx: Tx, account: Account) -> None:
        """Makes the account's row unless it is there."""
        await tx.execute(
            "INSERT INTO account (key, kind, server, payer, created_at) VALUES (:key, :kind, :server, :payer, :now)"
            " ON CONFLICT (key) DO NOTHING",
            {"key": account.key(), "kind": account.kind, "server": account.server, "payer": account.id,
             "now": self._db.clock()},
        )  # fmt: skip

    async def renew(self, tx: Tx, account: Account, plan: AccountPlan, now: float) -> None:
        """Lazily grants what the plan gives for this calendar month, and ends what is over.

        A plan that was raised in the middle of a month gives the difference at once; nothing given is taken back.
        """
        start, end = period_of(now)
        given = await self.granted(account, now, tx=tx)
        await self.grant(tx, account, source=f"{_PLAN} {plan.fast_ms_per_period}" if given else _PLAN,
                         period_start=start, amount_ms=plan.fast_ms_per_period - given, expires_at=end)  # fmt: skip
        await self._expire(tx, "account = :account", account=account.key(), now=now)

    async def granted(self, account: Account, now: float, *, tx: Tx | None = None) -> int:
        """What plans have given the account for this calendar month, in milliseconds."""
        rows = await (tx.execute if tx else self._db.read)(
            "SELECT coalesce(sum(amount_ms), 0) AS ms FROM lot WHERE account = :account AND period_start = :start"
            " AND (source = :plan OR source LIKE :plan || ' %')",
            {"account": account.key(), "start": period_of(now)[0], "plan": _PLAN},
        )
        return int(rows[0]["ms"])

    async def grant(
        self, tx: Tx, account: Account, *, source: str, period_start: float, amount_ms: int, expires_at: float | None
    ) -> bool:
        """Gives a lot, usable from `period_start` until `expires_at`. False when it was given before."""
        if amount_ms <= 0:
            return False
        await self.open_account(tx, account)
        lot = await tx.one(
            "INSERT INTO lot (account, source, period_start, expires_at, amount_ms, created_at)"
            " VALUES (:account, :source, :start, :end, :amount, :now)"
            " ON CONFLICT (account, period_start, source) DO NOTHING RETURNING id",
            {"account": account.key(), "source": source, "start": period_start, "end": expires_at,
             "amount": amount_ms, "now": self._db.clock()},
        )  # fmt: skip
        if lot is None:
            return False
        await self._enter(tx, account.key(), lot["id"], None, "grant", amount_ms, source, self._db.clock())
        return True

    async def reserve(self, tx: Tx, account: Account, job: str, amount_ms: int, now: float) -> None:
        """Sets a job's price aside, one entry a lot, in order of expiry. Raises NotEnough and then writes nothing."""
        lots = await tx.execute(
            "SELECT id, left_ms FROM lot WHERE account = :account AND left_ms > 0 AND period_start <= :now"
            " AND (expires_at IS NULL OR expires_at > :now) ORDER BY expires_at IS NULL, expires_at, id",
            {"account": account.key(), "now": now},
        )
        balance = sum(lot["left_ms"] for lot in lots)
        if balance < amount_ms:
            raise NotEnough(balance_ms=balance, needed_ms=amount_ms)
        missing = amount_ms
        for lot in lots:
            if missing <= 0:
                break
            part = min(missing, lot["left_ms"])
            await self._enter(tx, account.key(), lot["id"], job, "reserve", -part, "admitted", now)
            missing -= part

    async def settle(self, tx: Tx, job: str, charge_ms: int, cause: str, now: float) -> None:
        """Takes `charge_ms` of what the job reserved, earliest expiry first, and gives the rest back.

        What flows back into a lot that is over expires at once. A second settlement fails by key (IntegrityError).
        """
        held = await tx.execute(
            "SELECT entry.account, lot, -entry.amount_ms AS ms, coalesce(lot.expires_at <= :now, 0) AS over"
            " FROM entry JOIN lot ON lot.id = entry.lot WHERE entry.job = :job AND entry.kind = 'reserve'"
            " ORDER BY lot.expires_at IS NULL, lot.expires_at, lot.id",
            {"job": job, "now": now},
        )
        for part in held:
            taken = min(charge_ms, part["ms"])
            charge_ms -= taken
            back = part["ms"] - taken
            await self._enter(tx, part["account"], part["lot"], job, "settle", back, cause, now)
            if part["over"] and back > 0:
                await self._enter(tx, part["account"], part["lot"], job, "expire", -back, "period over", now)

    async def expire(self, now: float) -> None:
        """Housekeeping: ends the unreserved rest of all lots whose time is over, a few in each transaction.

        Nobody's balance counts such a lot anyway, and whoever comes back has theirs ended on the way.
        """
        sql = f"SELECT account FROM lot WHERE {_OVER} UNION SELECT account FROM lot WHERE {_TOO_SOON}"
        over = await self._db.survey(sql, {"now": now})
        for first in range(0, len(over), _ACCOUNTS_AT_ONCE):
            accounts = json.dumps([row["account"] for row in over[first : first + _ACCOUNTS_AT_ONCE]])
            async with self._db.transaction() as tx:
                those = "account IN (SELECT value FROM json_each(:accounts))"
                await self._expire(tx, those, accounts=accounts, now=now)

    async def _expire(self, tx: Tx, whose: str, *, now: float, **params: str) -> None:
        """A lot whose time is *not* over but that was ended, because the clock had jumped ahead, gets its rest back."""
        for which, amount, cause in (
            (_OVER, "-left_ms", "period over"),
            (_TOO_SOON, "expired_ms", "the clock went back"),
        ):
            await tx.execute(
                "INSERT INTO entry (account, lot, kind, amount_ms, cause, at)"
                f" SELECT account, id, 'expire', {amount}, '{cause}', :now FROM lot WHERE {whose} AND {which}",
                {"now": now, **params},
            )

    async def balance(self, account: Account, now: float, *, tx: Tx | None = None) -> int:
        """What the account can still reserve, in milliseconds."""
        rows = await (tx.execute if tx else self._db.read)(
            "SELECT coalesce(sum(left_ms), 0) AS ms FROM lot WHERE account = :account AND left_ms > 0"
            " AND period_start <= :now AND (expires_at IS NULL OR expires_at > :now)",
            {"account": account.key(), "now": now},
        )
        return int(rows[0]["ms"])

    async def book_overhead(
        self, cause: str, gpu_ms: int, *, job: str | None = None, attempt: int | None = None
    ) -> None:
        """Books GPU time that nobody pays: loading, warm-up, previews, restores of pruned pictures."""
        if gpu_ms > 0:
            async with self._db.transaction() as tx:
                await self.book(tx, "house", cause, gpu_ms, job=job, attempt=attempt)

    async def book(self, tx: Tx, payer: str, cause: str, gpu_ms: int, *, job: str | None, attempt: int | None) -> None:
        """One row of usage; `payer` is account, or house for overhead."""
        await tx.execute(
            "INSERT INTO usage (payer, cause, job, attempt, gpu_ms, at)"
            " VALUES (:payer, :cause, :job, :attempt, :gpu_ms, :now)",
            {"payer": payer, "cause": cause, "job": job, "attempt": attempt, "gpu_ms": gpu_ms,
             "now": self._db.clock()},
        )  # fmt: skip

    async def audit(self, *, tx: Tx | None = None) -> list[str]:
        """Every broken invariant as a sentence; empty when the books are right."""
        union = "\nUNION ALL\n".join(f"SELECT '{rule}: ' || subject AS broken FROM ({sql})" for rule, sql in CHECKS)
        return [row["broken"] for row in await (tx.execute if tx else self._db.survey)(union)]

    async def _enter(
        self, tx: Tx, account: str, lot: int, job: str | None, kind: str, amount_ms: int, cause: str, now: float
    ) -> None:
        await tx.execute(
            "INSERT INTO entry (account, lot, job, kind, amount_ms, cause, at)"
            " VALUES (:account, :lot, :job, :kind, :amount_ms, :cause, :now)",
            {"account": account, "lot": lot, "job": job, "kind": kind, "amount_ms": amount_ms, "cause": cause,
             "now": now},
        )  # fmt: skip
