"""A model hub on this machine, for the real client of the real hub: listings, files, ranges, sums, and what goes wrong.

with hub(tmp_path / "hub") as here:      # owner/name/… are its files
    reachable(monkeypatch, here, tmp_path / "cache")
    HuggingFace("").repository("owner/name")

It answers as the hub does: a repository's description and its tree, a HEAD that names commit and sum, a redirect to
where large files lie, ranges, and errors with their codes. What the client asks in another way is a 404.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from tests.harness import weight_files

REVISION = "0" * 40
_LARGE = ".safetensors"


@dataclass
class FakeHub:
    """`asked`: (file, first byte) of each download.

    `spoils`: files that arrive damaged the next time; `breaks`: files whose line is cut after so many bytes, once, and
    `breaks_always`: each time. `holds`: files that stop half-way until their event is set.
    """

    folder: Path
    url: str = ""
    store: str = ""  # where large files lie: on another host
    token: str = ""  # that a gated file needs
    licence: str = "mit"
    gated: bool = False
    refuses: int = 0  # with this status, whatever is asked
    spoils: set[str] = field(default_factory=set)
    spoils_always: set[str] = field(default_factory=set)
    breaks: dict[str, int] = field(default_factory=dict)
    breaks_always: dict[str, int] = field(default_factory=dict)
    holds: dict[str, threading.Event] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)  # one of them is half-way now
    invents: tuple[str, ...] = ()  # names that are listed, and lie nowhere
    asked: list[tuple[str, int]] = field(default_factory=list)
    answered: int = 0  # requests of any kind

    def files(self, name: str) -> list[str]:
        """What was downloaded of a repository, each as often as it was asked for."""
        place = self.folder / name
        return [file for file, _ in self.asked if (place / file).is_file()]

    def description(self, name: str) -> dict[str, object] | None:
        """As the hub's API describes a repository."""
        if not (self.folder / name).is_dir():
            return None
        siblings = [
            {
                "rfilename": one["path"],
                "size": one["size"],
                "blobId": one["oid"],
                **({"lfs": {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 130}} if lfs else {}),
            }
            for one, lfs in ((entry, entry.get("lfs")) for entry in self.tree(name))
        ]
        card = {"license": self.licence}
        return {"id": name, "sha": REVISION, "siblings": siblings, "gated": self.gated and "auto", "cardData": card}

    def tree(self, name: str) -> list[dict]:
        """As the hub's API lists all files of a repository."""
        place = self.folder / name
        files = [path for path in sorted(place.rglob("*")) if path.is_file()]
        listed = [
            {"type": "file", "path": path.relative_to(place).as_posix(), **_sums(path.read_bytes(), path.suffix)}
            for path in files
        ]
        return listed + [{"type": "file", "path": one, "size": 1, "oid": "0" * 40} for one in self.invents]


def _sums(data: bytes, suffix: str) -> dict[str, object]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sums: dict[str, object] = {"size": len(data), "oid": git}
    if suffix == _LARGE:
        sums["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return sums


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    here: FakeHub

    def log_message(self, *_: object) -> None:
        """No lines in the tests' output."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        here = self.here
        here.answered += 1
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[1:3] if parts[0] == "large" else parts[:2])
        if here.refuses:
            self._say(here.refuses, b"{}")
        elif parts[:2] == ["api", "models"]:
            self._api(name, parts[4:])
        elif not (here.folder / name).is_dir():
            self._say(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif parts[0] == "large":
            self._file(name, "/".join(parts[3:]))
        elif parts[2:4] == ["resolve", REVISION]:
            self._resolve(name, "/".join(parts[4:]))
        else:
            self._say(404, b"{}")

    def _api(self, name: str, rest: list[str]) -> None:
        found = self.here.description(name)
        if found is None:
            self._say(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif rest in ([], ["revision", REVISION]):
            self._say(200, json.dumps(found).encode())
        elif rest == ["tree", REVISION]:
            self._say(200, json.dumps(self.here.tree(name)).encode())
        else:
            self._say(404, b"{}")

    def _resolve(self, name: str, file: str) -> None:
        """A small file, or where a large one lies; of both what the client wants to know first."""
        here, path = self.here, self.here.folder / name / file
        if here.gated and self.headers.get("Authorization") != f"Bearer {here.token}":
            self._say(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            return
        if not path.is_file():
            self._say(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION})
            return
        sums = _sums(path.read_bytes(), path.suffix)
        known = {"X-Repo-Commit": REVISION, "ETag": f'"{sums["oid"]}"'}
        if lfs := sums.get("lfs"):
            known |= {"X-Linked-Size": str(sums["size"]), "X-Linked-ETag": f'"{lfs["oid"]}"'}
            self._say(302, b"", {**known, "Location": f"{here.store}/large/{quote(f'{name}/{file}')}"})
        else:
            self._file(name, file, known)

    def _file(self, repository: str, file: str, headers: dict[str, str] | None = None) -> None:
        here = self.here
        data = (here.folder / repository / file).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else 200)
        for name, value in {**(headers or {}), "Content-Length": str(len(data) - first)}.items():
            self.send_header(name, value)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        here.asked.append((file, first))
        if file in here.spoils | here.spoils_always:
            here.spoils.discard(file)
            data = data[:-1] + b"!"
        self._send(file, data[first:])

    def _send(self, file: str, data: bytes) -> None:
        here = self.here
        cut = here.breaks.pop(file, None) if file in here.breaks else here.breaks_always.get(file)
        if cut is not None:
            self.wfile.write(data[:cut])
            self.close_connection = True
        elif file in here.holds:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            here.held.set()
            here.holds[file].wait(60)
            self.wfile.write(data[len(data) // 2 :])
        else:
            self.wfile.write(data)

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that were killed leave their lines."""


def reachable(patch: pytest.MonkeyPatch, here: FakeHub, cache: Path) -> None:
    """From now on the client takes this hub for the real one, and `cache` for its own folder."""
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setattr("huggingface_hub.constants.ENDPOINT", here.url)
    template = here.url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache / "hub"))
    for name, value in environment(here, cache).items():
        patch.setenv(name, value)


@contextmanager
def hub_with_a_model(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that the client takes for the real one, with the model `owner/mine`; hub and cache lie in the folder."""
    with hub(folder / "hub") as found:
        reachable(patch, found, folder / "cache")
        weight_files.folder(found.folder / "owner" / "mine")
        yield found


def try_again_at_once(patch: pytest.MonkeyPatch) -> None:
    """The library rests between its tries; not from now on."""
    patch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def environment(here: FakeHub, cache: Path) -> dict[str, str]:
    """The same for another process."""
    return {
        "HF_ENDPOINT": here.url,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        # A file that is held half-way is no line that has died, however slow the machine is.
        "HF_HUB_DOWNLOAD_TIMEOUT": "120",
        "HF_HUB_ETAG_TIMEOUT": "120",
    }


@contextmanager
def hub(folder: Path) -> Iterator[FakeHub]:
    """Serves the folder until the end."""
    here = FakeHub(folder)
    handler = type("Answers", (_Answers,), {"here": here})
    with _Server(("127.0.0.1", 0), handler) as server:
        here.url, here.store = (f"http://{host}:{server.server_address[1]}" for host in ("127.0.0.1", "localhost"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield here
        finally:
            for event in here.holds.values():
                event.set()
            server.shutdown()
            thread.join()
