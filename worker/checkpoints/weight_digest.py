"""Names weights by their content, so that a row can say which weights made its picture.

SHA-256 over each file's name, size and bytes. Files over 64 MB are sampled: their header (safetensors lists every
tensor there) and 64 blocks of 64 kB, evenly spread; gigabytes are then named in a blink. Knows nothing of torch.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

WHOLE = 64 << 20
BLOCK = 64 << 10
BLOCKS = 64


def digest(root: Path, files: Iterable[Path]) -> str:
    """16 hex digits for these files below `root`."""
    whole = hashlib.sha256()
    for path in sorted(files):
        size = path.stat().st_size
        whole.update(f"{path.relative_to(root).as_posix()}\n{size}\n".encode())
        with path.open("rb") as file:
            if size <= WHOLE:
                while chunk := file.read(1 << 20):
                    whole.update(chunk)
                continue
            for block in range(BLOCKS):
                file.seek(block * (size - BLOCK) // (BLOCKS - 1))
                whole.update(file.read(BLOCK))
    return whole.hexdigest()[:16]


def combined(*digests: str) -> str:
    """16 hex digits for weights that compute together."""
    return hashlib.sha256("+".join(digests).encode()).hexdigest()[:16]
