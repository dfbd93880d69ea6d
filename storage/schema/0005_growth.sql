-- 0005 growth: what a first answer waits for, a start, and each minute's housekeeping do not take longer as history grows.
--
-- The jobs that live or wait for a moderator, however many have ended.
CREATE INDEX job_unfinished ON job (state) WHERE finished_at IS NULL;

-- Kept pictures in the order in which they may go, and the few deleted ones that were drawn again.
DROP INDEX picture_kept;
CREATE INDEX picture_kept ON picture (used_at, job, number) WHERE pruned = 0;
CREATE INDEX picture_forgotten ON picture (used_at) WHERE pruned = 0 AND forgotten = 1;

-- What the kept pictures take on the disk; one row, which follows the pictures by trigger.
CREATE TABLE kept (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;
INSERT INTO kept (one, bytes) SELECT 1, coalesce(sum(bytes), 0) FROM picture WHERE pruned = 0;

CREATE TRIGGER picture_comes AFTER INSERT ON picture BEGIN
    UPDATE kept SET bytes = bytes + iif(NEW.pruned, 0, NEW.bytes);
END;
CREATE TRIGGER picture_changes AFTER UPDATE OF pruned, bytes ON picture BEGIN
    UPDATE kept SET bytes = bytes - iif(OLD.pruned, 0, OLD.bytes) + iif(NEW.pruned, 0, NEW.bytes);
END;
CREATE TRIGGER picture_goes AFTER DELETE ON picture BEGIN
    UPDATE kept SET bytes = bytes - iif(OLD.pruned, 0, OLD.bytes);
END;

-- Who has to be told: found by member, not among all of a member's jobs.
ALTER TABLE delivery ADD COLUMN user TEXT CHECK (user <> '');
UPDATE delivery SET user = (SELECT user FROM job WHERE id = delivery.job) WHERE state <> 'posted' AND told = 0;
DROP INDEX delivery_untold;
CREATE INDEX delivery_untold ON delivery (user, late_at)
    WHERE late_at IS NOT NULL AND told = 0 AND state <> 'posted';

-- Counters of accounts that have nothing in a lane begin anew when they come back (core/fairness.py), so they go.
DELETE FROM service WHERE scope = 'key' AND NOT EXISTS (
    SELECT 1 FROM job WHERE job.account = substr(service.name, 1, instr(service.name, '|') - 1)
    AND job.lane = service.lane AND job.state IN ('preparing', 'queued', 'running'));

-- A server is served when an owner of the bot answers for it (bot/interactions/served_servers.py). Those that have had
-- jobs so far go on.
INSERT INTO setting (scope, id, name, value, changed_at)
SELECT DISTINCT 'server', guild, 'served', '"before"', 0.0 FROM job WHERE guild <> '';
