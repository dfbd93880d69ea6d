-- 0001 start: jobs, GPU time, results, the outbox and settings.
--
-- Every table is STRICT. Times are seconds since the epoch (REAL), GPU time is whole milliseconds (INTEGER), Discord's
-- ids are text, flags are 0 or 1. Nothing is ever deleted from job, lot, entry or usage.

-- One row per start of the bot. A running job of an older boot belongs to nobody any more.
CREATE TABLE boot (
    id         TEXT PRIMARY KEY CHECK (id <> ''),
    started_at REAL NOT NULL
) STRICT;

-- Whose GPU time: a member or a team, in one server or at home. `key` is core.job.Account.key().
CREATE TABLE account (
    key        TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('member', 'team')),
    server     TEXT NOT NULL CHECK (server <> ''),
    payer      TEXT NOT NULL CHECK (payer <> ''),
    created_at REAL NOT NULL,
    CHECK (key = kind || ':' || server || ':' || payer)
) STRICT;

-- The queue. Transitions, each one guarded UPDATE in storage/jobs.py that names the state it leaves:
--   preparing -> queued      its inputs are stored                        release_prepared
--   preparing -> done        nothing had to be computed                   finish_at_once
--   preparing -> failed      the bot died while storing its inputs        new_boot
--   preparing -> cancelled   nobody wants it any more                     cancel_waiting
--   queued    -> running     claimed: attempt + 1, boot, worker           claim
--   queued    -> cancelled   nobody wants it any more, nothing measured   cancel_waiting
--   queued    -> failed      it can never run here                        fail without an attempt
--   running   -> done        guarded by the attempt                       finish
--   running   -> failed      guarded by the attempt                       fail, requeue at the third strike
--   running   -> cancelled   guarded by the attempt, charged as measured  cancelled
--   running   -> queued      guarded by the attempt                       requeue, new_boot
--   running   -> held -> done | cancelled                                 waits for a moderator
CREATE TABLE job (
    seq              INTEGER PRIMARY KEY, -- order of admission
    id               TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 20 AND id NOT GLOB '*[^0-9a-z]*'),
    kind             TEXT NOT NULL CHECK (kind <> ''), -- open: kinds will follow
    state            TEXT NOT NULL
                     CHECK (state IN ('preparing', 'queued', 'running', 'done', 'held', 'failed', 'cancelled')),
    lane             TEXT NOT NULL CHECK (lane IN ('turbo', 'fast', 'relax')),
    account          TEXT NOT NULL REFERENCES account (key),
    user             TEXT NOT NULL CHECK (user <> ''),
    multiplier       REAL NOT NULL CHECK (multiplier >= 0),
    -- where it was asked for
    guild            TEXT,
    channel          TEXT NOT NULL,
    message          TEXT,
    interaction      TEXT NOT NULL,
    ordinal          INTEGER NOT NULL DEFAULT 0 CHECK (ordinal >= 0), -- which job of a batch from one interaction
    token            TEXT NOT NULL,
    token_expires_at REAL NOT NULL,
    locale           TEXT NOT NULL,
    private          INTEGER NOT NULL CHECK (private IN (0, 1)),
    dedupe           TEXT, -- parent:verb:index:presser of a button, against double presses
    -- what
    typed            TEXT NOT NULL,
    request          TEXT NOT NULL CHECK (json_valid(request)),
    batch_key        TEXT NOT NULL,
    rows             INTEGER NOT NULL CHECK (rows > 0), -- pictures: places that it takes in a batch
    source_job       TEXT REFERENCES job (id),
    source_index     INTEGER CHECK (source_index >= 0),
    made_with        TEXT CHECK (made_with IS NULL OR json_valid(made_with)),
    notes            TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(notes)),
    -- who computes it. The lease itself is monotonic and lives in the scheduler's memory: a clock that jumps cannot end
    -- it, and across restarts `boot` is the guard. heard_at is for people who read the table.
    attempt          INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    boot             TEXT REFERENCES boot (id),
    worker           TEXT,
    heard_at         REAL,
    strikes          INTEGER NOT NULL DEFAULT 0 CHECK (strikes BETWEEN 0 AND 3),
    solo             INTEGER NOT NULL DEFAULT 0 CHECK (solo IN (0, 1)),
    -- GPU time
    estimate_ms      INTEGER NOT NULL CHECK (estimate_ms >= 0),
    reserved_ms      INTEGER NOT NULL CHECK (reserved_ms >= 0),
    attempt_ms       INTEGER NOT NULL DEFAULT 0 CHECK (attempt_ms >= 0), -- last known of this attempt, for when it is lost
    gpu_ms           INTEGER CHECK (gpu_ms >= 0),
    charged_ms       INTEGER CHECK (charged_ms BETWEEN 0 AND reserved_ms),
    booked_ms        INTEGER NOT NULL DEFAULT 0 CHECK (booked_ms >= 0), -- on the fairness counters for this attempt
    contended        INTEGER NOT NULL DEFAULT 0 CHECK (contended IN (0, 1)), -- relax and a metered lane both waited
    --
    created_at       REAL NOT NULL,
    started_at       REAL,
    finished_at      REAL,
    failure          TEXT,
    UNIQUE (interaction, ordinal),
    CHECK ((source_job IS NULL) = (source_index IS NULL)),
    CHECK ((state = 'running') = (worker IS NOT NULL)),
    CHECK (state <> 'running' OR (boot IS NOT NULL AND attempt > 0)),
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (charged_ms IS NOT NULL)),
    CHECK (state <> 'failed' OR (failure IS NOT NULL AND charged_ms = 0))
) STRICT;

CREATE INDEX job_queued ON job (lane, account, batch_key, seq) WHERE state = 'queued';
CREATE INDEX job_live ON job (account, lane, state) WHERE state IN ('preparing', 'queued', 'running');
CREATE INDEX job_running ON job (account) WHERE state = 'running';
CREATE INDEX job_message ON job (message) WHERE message IS NOT NULL;
CREATE INDEX job_dedupe ON job (dedupe, created_at) WHERE dedupe IS NOT NULL;
CREATE INDEX job_source ON job (source_job, source_index) WHERE source_job IS NOT NULL;
CREATE INDEX job_user ON job (user, seq);

-- The kept pictures of finished jobs. A pruned one is rendered again from its job's row when a button needs it.
CREATE TABLE picture (
    job        TEXT NOT NULL REFERENCES job (id),
    number     INTEGER NOT NULL CHECK (number >= 0), -- 0-based
    file       TEXT NOT NULL CHECK (file <> ''), -- a name inside the pictures folder
    bytes      INTEGER NOT NULL CHECK (bytes > 0),
    sha256     TEXT NOT NULL CHECK (length(sha256) = 64),
    pruned     INTEGER NOT NULL DEFAULT 0 CHECK (pruned IN (0, 1)),
    created_at REAL NOT NULL,
    used_at    REAL NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;

CREATE INDEX picture_kept ON picture (used_at, bytes) WHERE pruned = 0;

-- A grant of GPU time with an expiry. Usable from period_start until expires_at, so that a clock that jumps ahead and
-- back neither grants twice nor spends next month's time. left_ms and expired_ms follow the entries by trigger.
CREATE TABLE lot (
    id           INTEGER PRIMARY KEY,
    account      TEXT NOT NULL REFERENCES account (key),
    source       TEXT NOT NULL CHECK (source <> ''), -- the plan, a gift, …
    period_start REAL NOT NULL,
    expires_at   REAL CHECK (expires_at > period_start), -- NULL: never
    amount_ms    INTEGER NOT NULL CHECK (amount_ms > 0),
    left_ms      INTEGER NOT NULL DEFAULT 0 CHECK (left_ms BETWEEN 0 AND amount_ms), -- no balance is ever negative
    expired_ms   INTEGER NOT NULL DEFAULT 0 CHECK (expired_ms BETWEEN 0 AND amount_ms),
    created_at   REAL NOT NULL,
    UNIQUE (account, period_start, source)
) STRICT;

CREATE INDEX lot_usable ON lot (account, expires_at) WHERE left_ms > 0;
CREATE INDEX lot_expiring ON lot (expires_at) WHERE left_ms > 0 AND expires_at IS NOT NULL;
CREATE INDEX lot_revivable ON lot (expires_at) WHERE expired_ms > 0;

-- The ledger, append-only. What a lot holds is the sum of its entries.
--   grant   > 0  once per lot
--   reserve < 0  once per job and lot, when the job is admitted
--   settle >= 0  once per job and lot, when the job ends: what was reserved and not charged
--   expire  < 0  the unreserved rest of a lot whose time is over; > 0 takes it back when the clock turns out to have jumped
CREATE TABLE entry (
    id        INTEGER PRIMARY KEY,
    account   TEXT NOT NULL REFERENCES account (key),
    lot       INTEGER NOT NULL REFERENCES lot (id),
    job       TEXT REFERENCES job (id),
    kind      TEXT NOT NULL CHECK (kind IN ('grant', 'reserve', 'settle', 'expire')),
    amount_ms INTEGER NOT NULL,
    cause     TEXT NOT NULL CHECK (cause <> ''),
    at        REAL NOT NULL,
    UNIQUE (job, kind, lot),
    CHECK ((kind IN ('reserve', 'settle')) <= (job IS NOT NULL)),
    CHECK (CASE kind WHEN 'grant' THEN amount_ms > 0 WHEN 'reserve' THEN amount_ms < 0
                     WHEN 'settle' THEN amount_ms >= 0 ELSE amount_ms <> 0 END)
) STRICT;

CREATE INDEX entry_lot ON entry (lot, kind, amount_ms);
CREATE UNIQUE INDEX entry_grant ON entry (lot) WHERE kind = 'grant';

CREATE TRIGGER entry_moves_lot AFTER INSERT ON entry BEGIN
    UPDATE lot SET left_ms    = left_ms + NEW.amount_ms,
                   expired_ms = expired_ms - CASE NEW.kind WHEN 'expire' THEN NEW.amount_ms ELSE 0 END
    WHERE id = NEW.lot AND account = NEW.account;
    SELECT RAISE (ABORT, 'an entry must belong to its lot''s account') WHERE changes() = 0;
END;
CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN
    SELECT RAISE (ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN
    SELECT RAISE (ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER lot_stays BEFORE UPDATE OF id, account, source, period_start, expires_at, amount_ms ON lot BEGIN
    SELECT RAISE (ABORT, 'a lot never changes');
END;
CREATE TRIGGER lot_remains BEFORE DELETE ON lot BEGIN
    SELECT RAISE (ABORT, 'a lot never changes');
END;

-- Every measured millisecond of GPU time, booked once: to a job's account or to the house. Append-only.
CREATE TABLE usage (
    id      INTEGER PRIMARY KEY,
    payer   TEXT NOT NULL CHECK (payer IN ('account', 'house')),
    cause   TEXT NOT NULL CHECK (cause <> ''),
    job     TEXT REFERENCES job (id),
    attempt INTEGER CHECK (attempt >= 0),
    gpu_ms  INTEGER NOT NULL CHECK (gpu_ms >= 0),
    at      REAL NOT NULL,
    CHECK (payer = 'house' OR (job IS NOT NULL AND attempt IS NOT NULL))
) STRICT;

-- What ends an attempt is booked once; restores of pruned pictures may come several times.
CREATE UNIQUE INDEX usage_once ON usage (job, attempt, cause)
    WHERE cause IN ('done', 'cancelled', 'over quote', 'failed', 'lost');
CREATE INDEX usage_job ON usage (job) WHERE job IS NOT NULL;

CREATE TRIGGER usage_stays BEFORE UPDATE ON usage BEGIN
    SELECT RAISE (ABORT, 'usage is append-only');
END;
CREATE TRIGGER usage_remains BEFORE DELETE ON usage BEGIN
    SELECT RAISE (ABORT, 'usage is append-only');
END;

-- The outbox: what Discord still has to be told. Written in the transaction that ends the job.
--   pending -> posted          Discord has it
--   pending -> undeliverable   a lasting refusal; the owner is told at the next chance (told)
CREATE TABLE delivery (
    job         TEXT PRIMARY KEY REFERENCES job (id),
    kind        TEXT NOT NULL CHECK (kind IN ('result', 'failure', 'cancelled')),
    state       TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'posted', 'undeliverable')),
    way         TEXT CHECK (way IN ('edit', 'new')), -- decided before the first try and kept, so that a retry does the same
    tries       INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    next_try_at REAL NOT NULL,
    message     TEXT,
    note        TEXT,
    told        INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),
    created_at  REAL NOT NULL,
    settled_at  REAL,
    CHECK ((state = 'pending') = (settled_at IS NULL))
) STRICT;

CREATE INDEX delivery_due ON delivery (next_try_at) WHERE state = 'pending';
CREATE INDEX delivery_untold ON delivery (job) WHERE state = 'undeliverable' AND told = 0;

-- Fairness counters (core/fairness.py): GPU milliseconds per account and per batch key of a lane, the lane's virtual
-- time, and relax's credit.
CREATE TABLE service (
    scope TEXT NOT NULL CHECK (scope IN ('account', 'key', 'lane', 'credit')),
    lane  TEXT NOT NULL CHECK (lane IN ('turbo', 'fast', 'relax')),
    name  TEXT NOT NULL,
    ms    REAL NOT NULL,
    PRIMARY KEY (scope, lane, name)
) STRICT, WITHOUT ROWID;

-- Choices of members and servers.
CREATE TABLE setting (
    scope      TEXT NOT NULL CHECK (scope IN ('member', 'server')),
    id         TEXT NOT NULL CHECK (id <> ''),
    name       TEXT NOT NULL CHECK (name <> ''),
    value      TEXT NOT NULL CHECK (json_valid(value)),
    changed_at REAL NOT NULL,
    PRIMARY KEY (scope, id, name)
) STRICT, WITHOUT ROWID;

-- Small facts that the program keeps for itself: the hash of the synced commands, the last model, measured rates.
CREATE TABLE state (
    name       TEXT PRIMARY KEY CHECK (name <> ''),
    value      TEXT NOT NULL CHECK (json_valid(value)),
    changed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
