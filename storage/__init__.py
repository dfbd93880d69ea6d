"""The only SQL of Darkroom. Knows nothing of Discord and of GPUs."""
