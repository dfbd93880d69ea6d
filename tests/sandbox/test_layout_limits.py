"""Discord's limits on selects, layouts and embeds hold in the sandbox, too."""

from typing import Any

import pytest

from tests.sandbox.rest_client import RestClient, problems

Json = dict[str, Any]
WORDS: Json = {"type": 10, "content": "x"}
PICTURE: Json = {"media": {"url": "https://example.org/x.png"}}


def button(**more: Any) -> Json:
    return {"type": 2, "style": 1, "label": "x", "custom_id": "a"} | more


def row(*parts: Json) -> Json:
    return {"type": 1, "components": list(parts)}


def select(**more: Any) -> Json:
    options = [{"label": str(number), "value": str(number)} for number in range(3)]
    return {"type": 3, "custom_id": "s", "options": options} | more


def people(**more: Any) -> Json:
    return {"type": 5, "custom_id": "p"} | more


def section(**thumbnail: Any) -> Json:
    return {"type": 9, "components": [WORDS], "accessory": {"type": 11} | PICTURE | thumbnail}


BODIES: list[tuple[str, Json, str]] = [
    *(
        (f"components.0.components.0.{path}", {"components": [row(part)]}, code)
        for path, part, code in (
            ("min_values", select(min_values=3, max_values=2), "NUMBER_TYPE_MAX"),
            ("default_values.0.type", people(default_values=[{"id": "1", "type": "role"}]), "BASE_TYPE_CHOICES"),
            ("default_values.0.id", people(default_values=[{"type": "user"}]), "BASE_TYPE_REQUIRED"),
            ("default_values", people(default_values=[{"id": "1", "type": "user"}] * 2), "BASE_TYPE_MAX_LENGTH"),
            ("id", button(id=-1), "NUMBER_TYPE_MIN"),
        )
    ),
    *(
        (f"components.0.{path}", {"flags": 1 << 15, "components": [part]}, code)
        for path, part, code in (
            ("components", {"type": 17, "components": []}, "BASE_TYPE_BAD_LENGTH"),
            ("accent_color", {"type": 17, "accent_color": 1 << 24, "components": [WORDS]}, "NUMBER_TYPE_MAX"),
            ("spoiler", {"type": 17, "spoiler": "yes", "components": [WORDS]}, "BASE_TYPE_BAD_TYPE"),
            ("components.0.type", {"type": 17, "components": [{"type": 17, "components": []}]}, "UNION_TYPE_CHOICES"),
            ("components", {"type": 9, "components": [WORDS] * 4, "accessory": button()}, "BASE_TYPE_BAD_LENGTH"),
            ("accessory.type", {"type": 9, "components": [WORDS]}, "UNION_TYPE_CHOICES"),
            ("accessory.description", section(description="x" * 1025), "BASE_TYPE_BAD_LENGTH"),
            ("accessory.media.url", section(media={"url": "https://x.org/" + "x" * 2048}), "BASE_TYPE_MAX_LENGTH"),
            ("items", {"type": 12, "items": [PICTURE] * 11}, "BASE_TYPE_BAD_LENGTH"),
            ("items.0", {"type": 12, "items": ["x"]}, "DICT_TYPE_CONVERT"),
            ("items.0.media.url", {"type": 12, "items": [{"media": {"url": "x.png"}}]}, "URL_TYPE_INVALID_URL"),
            ("file.url", {"type": 13, "file": PICTURE["media"]}, "URL_TYPE_INVALID_URL"),
            ("spacing", {"type": 14, "spacing": 3}, "BASE_TYPE_CHOICES"),
        )
    ),
    (
        "components",
        {"flags": 1 << 15, "components": [{"type": 17, "components": [WORDS] * 20}] * 2},
        "BASE_TYPE_MAX_LENGTH",
    ),
    ("embeds.0.url", {"embeds": [{"title": "x", "url": "attachment://a.png"}]}, "URL_TYPE_INVALID_URL"),
    ("embeds.0.image.url", {"embeds": [{"title": "x", "image": {"url": "a.png"}}]}, "URL_TYPE_INVALID_URL"),
]


@pytest.mark.parametrize(("path", "body", "code"), BODIES)
async def test_message_beyond_a_limit_is_refused(rest: RestClient, path: str, body: Json, code: str) -> None:
    answer = await rest("POST", f"/channels/{await rest.channel()}/messages", body)
    assert problems(answer).get(path) == code


async def test_files_of_a_layout_are_named_in_its_parts_alone_and_stay_when_it_is_edited(rest: RestClient) -> None:
    route = f"/channels/{await rest.channel()}/messages"
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}
    made = await rest("POST", route, {"flags": 1 << 15, "components": [gallery]}, files={"a.png": b"x"})
    assert (made.status, made.body["attachments"]) == (200, [])
    edited = await rest("PATCH", f"{route}/{made.body['id']}", {"components": [WORDS, gallery]})
    assert edited.body["components"][1]["items"] == made.body["components"][0]["items"]
