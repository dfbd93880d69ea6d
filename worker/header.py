"""Reads what a `.safetensors` file says of itself at its start: names and shapes of its tensors, and its remarks.

Gigabytes of weights stay unread. Knows nothing of models.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: As the format's own readers have it.
_LONGEST = 100_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """`shapes`: of each tensor by name; `remarks`: the file's free metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    remarks: Mapping[str, str]

    def has(self, prefix: str) -> bool:
        """True when a tensor's name starts so."""
        return any(name.startswith(prefix) for name in self.shapes)


def read_header(path: Path) -> Header:
    """Raises ValueError when it is no such file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LONGEST:
            raise ValueError("no safetensors header")
        found = json.loads(file.read(length))
    if not isinstance(found, dict):
        raise ValueError("no safetensors header")
    remarks = found.pop("__metadata__", {})
    return Header({name: tuple(about["shape"]) for name, about in found.items()}, remarks)
