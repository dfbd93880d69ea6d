-- 0004 late: a result that its channel does not take is told by another door while it is still tried.
--
-- late_at: since when whoever asked has to hear of it by a direct message or in /info. Until it is posted, or they have
-- heard of it (told), or long after.
ALTER TABLE delivery ADD COLUMN late_at REAL;
-- What is untold from before counts from now on, in its order: it stays in /info no longer than a month.
UPDATE delivery SET late_at = strftime('%s', 'now') - 0.001 * (
    SELECT count(*) FROM delivery AS later
    WHERE later.state = 'undeliverable' AND later.told = 0 AND later.settled_at > delivery.settled_at
) WHERE state = 'undeliverable' AND told = 0;
DROP INDEX delivery_untold;
CREATE INDEX delivery_untold ON delivery (late_at) WHERE late_at IS NOT NULL AND told = 0 AND state <> 'posted';

-- An interaction's token is a secret for a quarter of an hour; afterwards it is worth nothing, and taken out.
UPDATE job SET token = '' WHERE token_expires_at < CAST(strftime('%s', 'now') AS REAL);
CREATE INDEX job_token ON job (token_expires_at) WHERE token <> '';
