"""From a catalogue's entry to a loaded model. Knows nothing of jobs."""
