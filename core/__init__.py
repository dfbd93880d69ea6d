"""The words and rules of Darkroom: standard library only; no I/O, no clock, no randomness of its own."""
