"""A model hub on this machine, for the real client of the real hub: metadata, files, ranges, and damage on the way.

with hub(tmp_path / "hub") as here:      # owner/name/… are its files
    HuggingFace("", here.url).repository("owner/name")
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

REVISION = "0" * 40


@dataclass
class FakeHub:
    """`asked`: (file, first byte) of each download. `spoils`: files that arrive damaged the next time."""

    folder: Path
    url: str = ""
    token: str = ""  # that a gated file needs
    licence: str = "mit"
    gated: bool = False
    spoils: set[str] = field(default_factory=set)
    invents: tuple[str, ...] = ()  # names that are listed, and lie nowhere
    asked: list[tuple[str, int]] = field(default_factory=list)

    def metadata(self, name: str) -> dict[str, object] | None:
        """What the hub's API answers of a repository; None where there is none."""
        place = self.folder / name
        if not place.is_dir():
            return None
        files = [path for path in sorted(place.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": path.relative_to(place).as_posix(), **_sums(path)} for path in files]
        siblings += [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in self.invents]
        card = {"license": self.licence}
        return {"id": name, "sha": REVISION, "siblings": siblings, "gated": self.gated and "auto", "cardData": card}


def _sums(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sums: dict[str, object] = {"size": len(data), "blobId": git}
    if path.suffix == ".safetensors":
        sums["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return sums


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    here: FakeHub

    def log_message(self, *_: object) -> None:
        """No lines in the tests' output."""

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            found = self.here.metadata("/".join(parts[2:4]))
            none = {} if found else {"X-Error-Code": "RepoNotFound"}
            self._say(200 if found else 401, json.dumps(found or {"error": "Repository not found"}).encode(), none)
        elif parts[2] == "resolve" and parts[3] == REVISION:
            self._file("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self._say(404, b"{}")

    def _file(self, repository: str, file: str) -> None:
        here = self.here
        if here.gated and self.headers.get("Authorization") != f"Bearer {here.token}":
            self._say(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            return
        data = (here.folder / repository / file).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        here.asked.append((file, first))
        if file in here.spoils:
            here.spoils.discard(file)
            data = data[:-1] + b"!"
        rest = data[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(rest)

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub(folder: Path) -> Iterator[FakeHub]:
    """Serves the folder until the end."""
    here = FakeHub(folder)
    handler = type("Answers", (_Answers,), {"here": here})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        here.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
