"""Reads what the shipped catalogue says that a model draws, for the page of an empty channel. Knows no model itself."""

import tomllib
from pathlib import Path

from sandbox.settings import ROOT


def words_about(model: str, catalogue: Path = ROOT / "models.toml") -> str:
    """The `about` of the model's entry; empty where there is none, or no such model."""
    try:
        entries = tomllib.loads(catalogue.read_text(encoding="utf-8")).get("model", [])
    except (OSError, ValueError):
        return ""
    return next((str(entry.get("about", "")) for entry in entries if entry.get("name") == model), "")
