"""The loop over rows: prepare, step, emit. Does what it is told, decides nothing."""
