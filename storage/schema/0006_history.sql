-- 0006 history: people find, keep and take back what they made.
--
-- The jobs of one person that have not ended.
CREATE INDEX job_live_user ON job (user, seq) WHERE finished_at IS NULL;

-- What its own person deletes is hidden, and may be taken back for a week; what a moderator deletes is gone for good.
ALTER TABLE job ADD COLUMN deleted_at REAL;
ALTER TABLE job ADD COLUMN deleted_by TEXT
    CHECK (deleted_by IN ('member', 'moderator') AND (deleted_by IS NULL) = (deleted_at IS NULL));

-- A deleted picture is kept until a week after this moment; without one it was erased, and only drawn again.
ALTER TABLE picture ADD COLUMN deleted_at REAL CHECK (deleted_at IS NULL OR forgotten = 1);
DROP INDEX picture_forgotten;
CREATE INDEX picture_forgotten ON picture (coalesce(deleted_at, 0.0), used_at) WHERE pruned = 0 AND forgotten = 1;

-- Files of what was deleted until now are erased already: nothing can be taken back.
UPDATE job SET deleted_at = coalesce(finished_at, created_at), deleted_by = 'moderator'
WHERE id IN (SELECT job FROM picture WHERE forgotten = 1 UNION SELECT job FROM delivery WHERE note = 'deleted');

-- /history: one person's pictures, in one server or everywhere, and what they deleted lately.
CREATE INDEX job_made ON job (user, seq) WHERE state = 'done' AND deleted_at IS NULL;
CREATE INDEX job_made_here ON job (user, guild, seq) WHERE state = 'done' AND deleted_at IS NULL;
CREATE INDEX job_deleted ON job (user, deleted_at) WHERE deleted_by = 'member';

-- Messages that showed a job before it was posted in another place, so that Delete finds them.
CREATE TABLE posting (
    job     TEXT NOT NULL REFERENCES job (id),
    guild   TEXT,
    channel TEXT NOT NULL,
    message TEXT NOT NULL,
    at      REAL NOT NULL,
    PRIMARY KEY (job, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX posting_message ON posting (message);
CREATE INDEX delivery_told_message ON delivery (told_message) WHERE told_message IS NOT NULL;

-- What a person likes: picture `number` of `job`, -1 for all of them together; `shown` is the job whose message they
-- pressed, which for a single picture is the crop.
CREATE TABLE favourite (
    id     INTEGER PRIMARY KEY,
    user   TEXT NOT NULL CHECK (user <> ''),
    job    TEXT NOT NULL REFERENCES job (id),
    number INTEGER NOT NULL CHECK (number >= -1),
    shown  TEXT NOT NULL REFERENCES job (id),
    at     REAL NOT NULL,
    UNIQUE (user, job, number)
) STRICT;
CREATE INDEX favourite_user ON favourite (user, id);

-- What people report, once each; the owners are told.
CREATE TABLE report (
    job    TEXT NOT NULL REFERENCES job (id),
    user   TEXT NOT NULL CHECK (user <> ''),
    reason TEXT NOT NULL,
    at     REAL NOT NULL,
    PRIMARY KEY (job, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX report_user ON report (user, at);

-- /search: the prompts of finished jobs, by rowid = job.seq (storage/search.py). `words` is found by any three
-- characters that follow one another; `short` holds what is shorter; `owner` and `place` are one code each.
CREATE VIRTUAL TABLE search USING fts5 (words, short, owner, place, content = '', tokenize = 'trigram');

-- Whose and of which server: the id is what a code stands for.
CREATE TABLE search_scope (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (name <> '')
) STRICT;

-- Jobs before this one are not searchable yet; housekeeping goes back through them. One row.
CREATE TABLE search_backlog (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO search_backlog (one, seq) SELECT 1, coalesce(max(seq), 0) + 1 FROM job;
