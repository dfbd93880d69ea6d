"""Compiled forwards: made behind the work, kept on disk, served where they fit. Knows no family."""
