"""Says what in the settings sets nothing: lines that cannot be read, and names that nobody reads. Stops nothing."""

import re
from collections.abc import Collection, Iterable

from core.spelling import nearest

#: Read by the tests and by nothing that runs.
ELSEWHERE = frozenset({"DARKROOM_CHROMIUM", "DARKROOM_OPENAPI"})
_OURS = re.compile(r"(DARKROOM|DISCORD)_\w+", re.ASCII | re.IGNORECASE)


def notes(broken: Iterable[int], names: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """A sentence each for these lines of .env and for those of `names` that look like ours and are not in `known`."""
    lines = [f".env, line {number}: write NAME=value." for number in broken]
    ours = [name for name in names if _OURS.fullmatch(name)]
    return (*lines, *(_unknown(name, known) for name in ours if name not in known and name not in ELSEWHERE))


def _unknown(name: str, known: Collection[str]) -> str:
    # By what follows the prefix, which all have alike: it would make everything near to everything.
    tails = {_tail(right): right for right in known}
    near = nearest(_tail(name), tails)
    cure = f"Did you mean {tails[near]}?" if near else "docs/running.md lists them all."
    return f"{name} is not a setting. {cure}"


def _tail(name: str) -> str:
    return name.lower().removeprefix("darkroom_").removeprefix("discord_")
