-- 0003 deleted: what a person deletes stays deleted.
--
-- A forgotten picture may be drawn again as the start of another job, but it is not kept longer than that job needs it.
ALTER TABLE picture ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1));

-- The direct message that a result came as where its channel could not be reached, so that Delete finds it.
ALTER TABLE delivery ADD COLUMN told_message TEXT CHECK (told_message IS NULL OR told = 1);
ALTER TABLE delivery ADD COLUMN told_channel TEXT CHECK ((told_channel IS NULL) = (told_message IS NULL));
