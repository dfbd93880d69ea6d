"""Components as Discord gives them back: numbered, with defaults filled in and attachment:// addresses resolved."""

from collections.abc import Iterator
from typing import Any

from sandbox.validate import CONTAINER, FILE, GALLERY, SELECTS, SEPARATOR, THUMBNAIL, Path, Problems
from sandbox.value_types import Json, without_none

CHOICE: Json = {"min_values": 1, "max_values": 1}
DEFAULTS: dict[int, Json] = dict.fromkeys(SELECTS, CHOICE) | {
    THUMBNAIL: {"description": None, "spoiler": False},
    FILE: {"spoiler": False},
    SEPARATOR: {"divider": True, "spacing": 1},
    CONTAINER: {"accent_color": None, "spoiler": False},
}
GALLERY_ITEM: Json = {"description": None, "spoiler": False}
MEDIA = ("url", "proxy_url", "width", "height", "content_type")


def media_of(item: Json) -> Json:
    """What an embed or a layout says of an attachment."""
    return {name: item[name] for name in MEDIA if name in item}


class ComponentRenderer:
    """Renders one message's components. `by_name` maps attachment://name to the attachment."""

    def __init__(self, by_name: dict[str, Json], problems: Problems) -> None:
        self._by_name, self._problems = by_name, problems
        self._numbers: Iterator[int] = iter(range(1, 10_000))

    def parts(self, parts: Any, path: Path) -> list[Json]:
        return [self._part(without_none(part), (*path, place)) for place, part in enumerate(parts or [])]

    def _part(self, part: Json, path: Path) -> Json:
        kind = part["type"]
        found: Json = {"id": next(self._numbers)} | DEFAULTS.get(kind, {}) | part
        if kind == THUMBNAIL:
            found["media"] = self._media(part["media"], (*path, "media"))
        elif kind == FILE:
            found["file"] = self._media(part["file"], (*path, "file"))
            found |= self._file_facts(part["file"])
        elif kind == GALLERY:
            items = enumerate(part["items"])
            found["items"] = [self._item(item, (*path, "items", place)) for place, item in items]
        if "components" in part:
            found["components"] = self.parts(part["components"], (*path, "components"))
        if "accessory" in part:
            found["accessory"] = self._part(part["accessory"], (*path, "accessory"))
        return found

    def _item(self, item: Json, path: Path) -> Json:
        return GALLERY_ITEM | item | {"media": self._media(item["media"], (*path, "media"))}

    def _file_facts(self, media: Json) -> Json:
        item = self._by_name.get(str(media["url"]), {})
        return {"name": item.get("filename"), "size": item.get("size")}

    def _media(self, media: Json, path: Path) -> Json:
        url = str(media["url"])
        if url.startswith("attachment://"):
            item = self._by_name.get(url)
            if item is None:
                self._problems.add((*path, "url"), "REFERENCED_ATTACHMENT_NOT_FOUND", "Referenced attachment not found")
                return media
            return media | media_of(item) | {"id": item["id"], "attachment_id": item["id"]}
        return {"id": "0", "proxy_url": url} | media
