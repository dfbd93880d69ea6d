"""The server that workers dial, and the local worker's process. Knows nothing of jobs."""
