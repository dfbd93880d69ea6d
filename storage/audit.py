"""The invariants of the books as queries that find what breaks them. Each is (rule, SELECT … AS subject)."""

_FINAL = "job.state IN ('done', 'failed', 'cancelled')"
# A price is rounded up, as in core.cost.price_ms.
_PRICE = "(CAST(gpu_ms * multiplier AS INTEGER) + (gpu_ms * multiplier > CAST(gpu_ms * multiplier AS INTEGER)))"

CHECKS: tuple[tuple[str, str], ...] = (
    (
        "a lot holds the sum of its entries",
        "SELECT 'lot ' || lot.id AS subject FROM lot LEFT JOIN entry ON entry.lot = lot.id GROUP BY lot.id"
        " HAVING lot.left_ms <> coalesce(sum(entry.amount_ms), 0)"
        " OR lot.expired_ms <> -coalesce(sum(CASE entry.kind WHEN 'expire' THEN entry.amount_ms END), 0)",
    ),
    (
        "a lot is granted once, in full",
        "SELECT 'lot ' || lot.id AS subject FROM lot LEFT JOIN entry ON entry.lot = lot.id AND entry.kind = 'grant'"
        " WHERE entry.amount_ms IS NOT lot.amount_ms",
    ),
    (
        "an entry belongs to its lot''s account",
        "SELECT 'entry ' || entry.id AS subject FROM entry JOIN lot ON lot.id = entry.lot"
        " WHERE entry.account <> lot.account",
    ),
    (
        "a job reserves from its own account what its row says",
        "SELECT 'job ' || job.id AS subject FROM job LEFT JOIN entry ON entry.job = job.id AND entry.kind = 'reserve'"
        " GROUP BY job.id HAVING job.reserved_ms <> -coalesce(sum(entry.amount_ms), 0)"
        " OR max(entry.account <> job.account) = 1",
    ),
    (
        "what a job returns is at most what it reserved, lot by lot",
        "SELECT 'job ' || entry.job AS subject FROM entry WHERE kind IN ('reserve', 'settle')"
        " GROUP BY entry.job, entry.lot HAVING sum(amount_ms) > 0",
    ),
    (
        "a job that ended settled each reservation once, one that lives settled none",
        f"SELECT 'job ' || job.id AS subject FROM job JOIN entry ON entry.job = job.id GROUP BY job.id"
        f" HAVING sum(entry.kind = 'settle') <> CASE WHEN {_FINAL} THEN sum(entry.kind = 'reserve') ELSE 0 END",
    ),
    (
        "a job is charged what it reserved and did not get back",
        f"SELECT 'job ' || job.id AS subject FROM job LEFT JOIN entry ON entry.job = job.id AND entry.kind = 'settle'"
        f" WHERE {_FINAL} GROUP BY job.id"
        f" HAVING job.charged_ms <> job.reserved_ms - coalesce(sum(entry.amount_ms), 0)",
    ),
    (
        "a job is charged what was measured, at most what was quoted, and nothing when it failed",
        f"SELECT 'job ' || id AS subject FROM job WHERE {_FINAL} AND charged_ms <>"
        f" CASE state WHEN 'failed' THEN 0 ELSE min(reserved_ms, {_PRICE}) END",
    ),
    (
        "all that was measured for a job that ended is booked, to its account or as overhead",
        f"SELECT 'job ' || job.id AS subject FROM job LEFT JOIN usage ON usage.job = job.id"
        f" AND usage.attempt = job.attempt AND usage.cause IN ('done', 'cancelled', 'over quote', 'failed')"
        f" WHERE {_FINAL} GROUP BY job.id HAVING job.gpu_ms <> coalesce(sum(usage.gpu_ms), 0)",
    ),
    (
        "an account is booked what it was charged for",
        "SELECT 'job ' || job.id AS subject FROM job JOIN usage ON usage.job = job.id AND usage.payer = 'account'"
        " WHERE job.multiplier > 0 GROUP BY job.id"
        " HAVING abs(sum(usage.gpu_ms) * job.multiplier - job.charged_ms) > max(1.0, job.multiplier)",
    ),
    (
        "a job that ended is in the outbox, one that lives is not",
        f"SELECT 'job ' || job.id AS subject FROM job LEFT JOIN delivery ON delivery.job = job.id"
        f" WHERE ({_FINAL}) <> (delivery.job IS NOT NULL)",
    ),
)
