"""Who runs when, on which worker, at which cost. Knows nothing of Discord."""
