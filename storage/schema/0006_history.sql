-- 0006 history: people find, keep and take back what they made.
--
-- The jobs of one person that have not ended.
CREATE INDEX job_live_user ON job (user, seq) WHERE finished_at IS NULL;
