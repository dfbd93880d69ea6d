"""Writes the tables of settings and parameters into the documents, from the tables in the code. Run it after a change.

Usage: python -m scripts.tables
"""

import re
from pathlib import Path

from bot.config import VARIABLES
from core import parameters

DOCS = Path(__file__).parents[1] / "docs"


def settings(*, advanced: bool) -> str:
    """The settings as a Markdown table."""
    rows = ["| setting | default | |", "|---|---|---|"]
    rows += [
        f"| `{variable.name}` | {f'`{variable.default}`' if variable.default else '–'} | {variable.help} |"
        for variable in VARIABLES
        if variable.advanced == advanced
    ]
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The document with its tables as the code has them now."""
    tables = {
        "parameters": parameters.table(),
        "settings": settings(advanced=False),
        "advanced settings": settings(advanced=True),
    }
    for name, table in tables.items():
        between = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text = between.sub(lambda found, table=table: f"{found[1]}{table}{found[2]}", text)
    return text


if __name__ == "__main__":
    for document in DOCS.glob("*.md"):
        document.write_text(filled(document.read_text("utf-8")), "utf-8")
