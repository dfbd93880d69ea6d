"""Keeps files on disk and describes them as Discord does. Knows nothing of messages.

`<data>/attachments/<channel>/<attachment id>/<name>`, served under the same path. A file is on disk before the change
that names it is committed; what nothing names any more is swept at a start a day later.
"""

import io
import mimetypes
import re
import shutil
from pathlib import Path

from PIL import Image

from sandbox.clock import born_at
from sandbox.kinds import Json, Upload
from sandbox.world import World


class Files:
    """The attachments' folder of one sandbox."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, world: World, channel_id: str, upload: Upload, *, ephemeral: bool = False) -> Json:
        """Write a file and answer its attachment object."""
        key = world.ids.next()
        name = safe_name(upload.filename)
        folder = self.root / channel_id / key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(upload.data)
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
        path = self.root / channel_id / key / name
        return path if path.is_file() else None

    def sweep(self, named: set[str], before: float) -> None:
        """Remove the files from before a time that nothing names."""
        for folder in self.root.glob("*/*"):
            if folder.name not in named and folder.name.isdigit() and born_at(folder.name) < before:
                shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


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
