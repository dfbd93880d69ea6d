"""The loop over rows: admit, step, emit. Does what it is told, decides nothing."""
