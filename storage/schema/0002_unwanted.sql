-- 0002 unwanted: a running job that somebody has cancelled says so in its row, before its worker has let go of it.
--
-- Whatever comes between (a crash, a restart, a lost worker), such a job ends as cancelled and never runs again.
--   running   -> cancelled   unwanted, and its worker or its bot was lost        requeue, new_boot
ALTER TABLE job ADD COLUMN unwanted_at REAL CHECK (unwanted_at IS NULL OR attempt > 0);
