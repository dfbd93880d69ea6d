"""Compiled code on disk: one folder for each shape and bucket of a build of a model, whole or not there at all.

The files are the compiler's own; they are read only from the folder that this machine's workers wrote. Knows nothing of
which shapes are wanted, or of serving.
"""

import contextlib
import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.compiling import torch_internals
from worker.compiling.regions import Code, CompiledArtifact, Signature
from worker.compiling.shape_counts import ShapeRequest
from worker.compiling.tracing import NetworkSpec, Traced
from worker.file_storage import sync

#: Seconds after which a folder that nobody finished was left by a process that was killed.
STALE_SECONDS = 86_400

#: Artifacts kept of all models together; the ones that were not read for longest go first.
MAX_ARTIFACTS = 128
SIGNATURES = "signatures.json"

#: Writes a graph's compiled code to a file; reads it from there.
Write = Callable[[Traced, Path], None]
Read = Callable[[Path], Code]


def artifact_folder(root: Path, spec: NetworkSpec, request: ShapeRequest) -> Path:
    """Where the artifact for a shape is kept."""
    return root / spec.fingerprint() / f"{request.bucket}-{hashlib.sha256(request.shape.encode()).hexdigest()[:16]}"


def save(folder: Path, traced: Sequence[Traced], write: Write) -> None:
    """Compiles and keeps; a folder appears only when all of it is there, and on the disk itself."""
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    fresh.mkdir(parents=True, mode=0o700)
    try:
        for number, one in enumerate(traced):
            write(one, fresh / f"{number}.bin")
        signatures = [one.signature.to_dict() for one in traced]
        (fresh / SIGNATURES).write_text(json.dumps(signatures), "utf-8")
        for path in (*fresh.iterdir(), fresh):
            sync(path)
        discard(folder)
        _put(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _put(fresh: Path, folder: Path) -> None:
    """Where another worker was first, its artifact is as good. Raises OSError."""
    try:
        fresh.replace(folder)
    except OSError:
        if not (folder / SIGNATURES).is_file():
            raise
    else:
        sync(folder.parent)


def discard(folder: Path) -> None:
    """Removes an artifact that is of no use; the signatures go first, so that what is left of it counts for nothing."""
    with contextlib.suppress(OSError):
        (folder / SIGNATURES).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def load(folder: Path, read: Read) -> CompiledArtifact:
    """What `save` kept. Raises OSError, KeyError, ValueError, or whatever the compiler's reader does."""
    told = json.loads((folder / SIGNATURES).read_text("utf-8"))
    artifact = [(Signature.from_dict(one), read(folder / f"{number}.bin")) for number, one in enumerate(told)]
    folder.touch()
    return artifact


def prune(root: Path) -> None:
    """Removes the artifacts beyond `MAX_ARTIFACTS`, and halves of some; another worker may remove some meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        found = sorted(root.glob(f"*/*/{SIGNATURES}"), key=lambda path: path.parent.stat().st_mtime, reverse=True)
        for old in found[MAX_ARTIFACTS:]:
            discard(old.parent)
        for half in root.glob("*/.*.*"):
            if half.stat().st_mtime < time.time() - STALE_SECONDS:
                discard(half)


def write_compiled(traced: Traced, path: Path) -> None:
    """Compiles a graph by torch's inductor, into a file."""
    torch_internals.compile_to(path, traced.graph, traced.examples)


def read_compiled(path: Path) -> Code:
    """What `write_compiled` wrote."""
    code: Code = torch_internals.read_compiled(path)
    return code
