"""Results of runs, from files of JSON lines into the tables of docs/performance.md. Knows nothing of how they arose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._gpu.configs import SUBJECTS

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- gpu: from benchmarks/gpu.py -->", "<!-- end of gpu -->"
NONE = "not measured"
CAPS = (24, 12, 8)

TITLES: Mapping[str, str] = {
    "eager_s": "plain diffusers",
    "best_s": "diffusers at its documented best",
    "ours_s": "ours, with previews",
    "four_s": "ours, a grid of four members' at once",
    "limit_s": "what the card could do at most",
    "tflops": "a large product",
    "previews": "previews, of the device's time",
    "eager_mb": "memory at most, plain diffusers",
    "best_mb": "memory at most, diffusers at its best",
    "ours_mb": "memory at most, ours",
}
LINES: Mapping[str, str] = {
    **dict.fromkeys(("eager_s", "best_s", "ours_s", "four_s", "limit_s"), "s a grid"), "tflops": "TFLOP/s",
    "previews": "", **dict.fromkeys(("eager_mb", "best_mb", "ours_mb"), "MB"),
}  # fmt: skip

Row = Mapping[str, Any]


def report(files: Sequence[Path], document: Path = DOCUMENT) -> int:
    """Fills the document's tables; 1 when it has no place for them."""
    text = document.read_text("utf-8")
    if BEGIN not in text or END not in text:
        print(f"{document} has no lines {BEGIN} and {END}.")
        return 1
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    document.write_text(f"{before}{BEGIN}\n{tables(rows_of(files))}{END}{after}", "utf-8")
    return 0


def rows_of(files: Sequence[Path]) -> list[Row]:
    """Every line; of the same measurement the last one counts. Small runs say nothing about cards."""
    found: dict[tuple[Any, ...], Row] = {}
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                if row.get("benchmark") == "gpu" and not row["small"]:
                    found[row["device"], row["model"], row["cap_gb"], row["weights"]] = row
    return list(found.values())


def tables(rows: Sequence[Row]) -> str:
    """Markdown: seconds a grid on each card, then what fits into less memory."""
    cards = sorted({row["device"] for row in rows if not row["cap_gb"]}) or [""]
    speed = [
        "| model | card | plain diffusers | at its best | ours | four members | the card's limit | goal | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for card in cards:
        for subject in SUBJECTS:
            row = _row(rows, subject.name, card, 0)
            cells = [_number(row, name, "s") for name in ("eager_s", "best_s", "ours_s", "four_s", "limit_s")]
            goal = f"{subject.goal_s:g} s" if not card or "H200" in card else "–"
            cells = [*cells, goal, _number(row, "ours_mb", "MB")]
            speed.append(f"| {subject.title} | {card or '–'} | {' | '.join(cells)} |")
    fits = ["| model | memory | seconds a grid | at most | the plan |", "|---|---|---|---|---|"]
    for subject in SUBJECTS:
        for cap in CAPS:
            row = _row(rows, subject.name, None, cap)
            cells = [_number(row, "ours_s", "s"), _number(row, "ours_mb", "MB"), row["plan"] if row else NONE]
            fits.append(f"| {subject.title} | {cap} GB | {' | '.join(cells)} |")
    return "\n".join([*speed, "", *fits]) + "\n"


def _row(rows: Sequence[Row], model: str, card: str | None, cap: float) -> Row | None:
    found = [row for row in rows if row["model"] == model and row["cap_gb"] == cap]
    return next((row for row in found if card is None or row["device"] == card), None)


def _number(row: Row | None, name: str, unit: str) -> str:
    value = row.get(name) if row else None
    if value is None:
        return NONE
    return f"{value:.2f} {unit}" if unit == "s" else f"{value:,.0f} {unit}"
