"""Keeps files on disk and describes them as Discord does. Knows nothing of messages.

`<data>/attachments/<channel>_<attachment id>_<name>`, one folder for all (making one for each file costs more than the
file), served as `/attachments/<channel>/<attachment id>/<name>`. A file is on disk before the change
that names it is committed; what nothing names any more is swept at a start a day later.
"""

import io
import mimetypes
import re
from pathlib import Path

from PIL import Image

from sandbox.clock import born_at
from sandbox.value_types import Json, Upload
from sandbox.world import World


class AttachmentStore:
    """The attachments' folder of one sandbox."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def _path(self, channel_id: str, key: str, name: str) -> Path:
        return self.root / f"{channel_id}_{key}_{name}"

    def keep(self, world: World, channel_id: str, upload: Upload, *, ephemeral: bool = False) -> Json:
        """Write a file and answer its attachment object."""
        key = world.ids.next()
        name = safe_name(upload.filename)
        self._path(channel_id, key, name).write_bytes(upload.data)
        url = f"{world.base}/attachments/{channel_id}/{key}/{name}"
        kind = type_of(name, upload.content_type)
        found: Json = {"id": key, "filename": name, "size": len(upload.data), "url": url, "proxy_url": url}
        found |= {"content_type": kind} | picture_size(upload.data, kind)
        found |= {"description": upload.description} if upload.description else {}
        return found | ({"ephemeral": True} if ephemeral else {})

    def find(self, channel_id: str, key: str, name: str) -> Path | None:
        """The file behind an address; None for anything that is not exactly one of ours."""
        if not (channel_id.isdigit() and key.isdigit() and name == safe_name(name)):
            return None
        path = self._path(channel_id, key, name)
        return path if path.is_file() else None

    def sweep(self, named: set[str], before: float) -> None:
        """Remove the files from before a time that nothing names."""
        for path in self.root.glob("*_*_*"):
            key = path.name.split("_")[1]
            if key not in named and key.isdigit() and born_at(key) < before:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        for path in self.root.glob("*_*_*"):
            path.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """Letters, digits, dot, dash and underscore stay; the rest becomes an underscore, as on Discord."""
    return re.sub(r"[^\w.\-]", "_", name, flags=re.ASCII).lstrip(".")[-180:] or "file"


def type_of(name: str, claimed: str) -> str:
    guessed = mimetypes.guess_type(name)[0] or {".webp": "image/webp"}.get(Path(name).suffix.lower())
    return guessed or (claimed if claimed and "/" in claimed else "application/octet-stream")


def picture_size(data: bytes, kind: str) -> Json:
    """Width and height of a picture, read from its header only; nothing for other files and broken pictures."""
    if not kind.startswith("image/"):
        return {}
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return {"width": picture.width, "height": picture.height}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return {}
