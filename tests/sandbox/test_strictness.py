"""What Discord refuses, the sandbox refuses, with the same codes and the path to the field."""

from typing import Any

import pytest

from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.rest_client import IMAGINE, RestClient, problems

Json = dict[str, Any]


def button(custom_id: str | None = "a", **more: Any) -> Json:
    return {"type": 2, "style": 1, "label": "x", "custom_id": custom_id} | more


def row(*parts: Json) -> Json:
    return {"type": 1, "components": list(parts)}


def select(**more: Any) -> Json:
    options = [{"label": str(number), "value": str(number)} for number in range(3)]
    return {"type": 3, "custom_id": "s", "options": options} | more


ROW = "components.0"
BODIES: list[tuple[str, Json, str]] = [
    ("content", {"content": "x" * 2001}, "BASE_TYPE_MAX_LENGTH"),
    ("content", {"content": 7}, "BASE_TYPE_BAD_TYPE"),
    ("embeds", {"embeds": [{"title": "x"}] * 11}, "BASE_TYPE_MAX_LENGTH"),
    ("embeds.0.title", {"embeds": [{"title": "x" * 257}]}, "BASE_TYPE_MAX_LENGTH"),
    ("embeds.0.description", {"embeds": [{"description": "x" * 4097}]}, "BASE_TYPE_MAX_LENGTH"),
    ("embeds", {"embeds": [{"description": "x" * 3001}] * 2}, "MAX_EMBED_SIZE_EXCEEDED"),
    ("embeds.0.fields.0.value", {"embeds": [{"fields": [{"name": "a", "value": ""}]}]}, "BASE_TYPE_REQUIRED"),
    ("components", {"components": [row(button(str(n))) for n in range(6)]}, "BASE_TYPE_MAX_LENGTH"),
    (f"{ROW}.components", {"components": [row(*(button(str(n)) for n in range(6)))]}, "BASE_TYPE_BAD_LENGTH"),
    (f"{ROW}.components", {"components": [row()]}, "BASE_TYPE_BAD_LENGTH"),
    (f"{ROW}.type", {"components": [button()]}, "UNION_TYPE_CHOICES"),
    (
        f"{ROW}.components.1.custom_id",
        {"components": [row(button("a"), button("a"))]},
        "COMPONENT_CUSTOM_ID_DUPLICATED",
    ),
    (f"{ROW}.components.0.custom_id", {"components": [row(button("x" * 101))]}, "BASE_TYPE_BAD_LENGTH"),
    (f"{ROW}.components.0.label", {"components": [row(button(label="x" * 81))]}, "BASE_TYPE_MAX_LENGTH"),
    (f"{ROW}.components.0", {"components": [row(button(label=""))]}, "BUTTON_COMPONENT_INVALID_LABEL_AND_EMOJI"),
    (f"{ROW}.components.0.style", {"components": [row(button(style=9))]}, "BASE_TYPE_CHOICES"),
    (f"{ROW}.components.0.url", {"components": [row(button(style=5, custom_id=None))]}, "URL_TYPE_INVALID_URL"),
    (f"{ROW}.components", {"components": [row(button(), select())]}, "COMPONENT_LAYOUT_WIDTH_EXCEEDED"),
    (
        f"{ROW}.components.0.options",
        {"components": [row(select(options=[{"label": str(n), "value": str(n)} for n in range(26)]))]},
        "BASE_TYPE_BAD_LENGTH",
    ),
    (
        f"{ROW}.components.0.options.1.value",
        {"components": [row(select(options=[{"label": "a", "value": "a"}] * 2))]},
        "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
    ),
    (f"{ROW}.components.0.emoji", {"components": [row(button(emoji="🔄"))]}, "MODEL_TYPE_CONVERT"),
    *(
        (f"{ROW}.components.0.emoji.name", {"components": [row(button(emoji=emoji))]}, "BUTTON_COMPONENT_INVALID_EMOJI")
        for emoji in ({}, {"name": 7}, {"name": "notanemoji"}, {"name": "ⓘ"}, {"name": "1"}, {"name": "🔄🔄"})
    ),
    (
        f"{ROW}.components.0.emoji.id",
        {"components": [row(button(emoji={"id": "123", "name": "boat"}))]},
        "BUTTON_COMPONENT_INVALID_EMOJI",
    ),
    (f"{ROW}.components.0.disabled", {"components": [row(button(disabled="x"))]}, "BASE_TYPE_BAD_TYPE"),
    (f"{ROW}.components.0.disabled", {"components": [row(select(disabled=1))]}, "BASE_TYPE_BAD_TYPE"),
    (
        f"{ROW}.components.0.options.0.default",
        {"components": [row(select(options=[{"label": "a", "value": "a", "default": "x"}]))]},
        "BASE_TYPE_BAD_TYPE",
    ),
    (
        f"{ROW}.components.0.options.0.emoji.name",
        {"components": [row(select(options=[{"label": "a", "value": "a", "emoji": {"name": "a"}}]))]},
        "BUTTON_COMPONENT_INVALID_EMOJI",
    ),
    ("nonce", {"content": "x", "nonce": "x" * 26}, "BASE_TYPE_MAX_LENGTH"),
    (
        "message_reference",
        {"content": "x", "message_reference": {"message_id": "1"}},
        "MESSAGE_REFERENCE_UNKNOWN_MESSAGE",
    ),
    (
        "allowed_mentions",
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
    ),
    (
        "content",
        {"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "y"}]},
        "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
    ),
    ("components", {"flags": 1 << 15, "components": [{"type": 10, "content": "x" * 2001}] * 2}, "BASE_TYPE_MAX_LENGTH"),
    (
        "components.0.items.0.media.url",
        {"flags": 1 << 15, "components": [{"type": 12, "items": [{"media": {"url": "attachment://no.png"}}]}]},
        "REFERENCED_ATTACHMENT_NOT_FOUND",
    ),
]


@pytest.mark.parametrize(("path", "body", "code"), BODIES)
async def test_message_that_discord_refuses_is_refused(rest: RestClient, path: str, body: Json, code: str) -> None:
    answer = await rest("POST", f"/channels/{await rest.channel()}/messages", body)
    assert problems(answer).get(path) == code


async def test_all_sorts_of_emoji_are_taken_on_buttons_and_in_selects(rest: RestClient) -> None:
    emoji = ["🔄", "❤", "❤️", "👍🏽", "👩🏽‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🇩🇪", "1️⃣", "#⃣", "©️", "🫩"]
    options = [{"label": name, "value": name, "default": False, "emoji": {"id": None, "name": name}} for name in emoji]
    buttons = [button(f"a{n}", label=None, disabled=True, emoji={"name": emoji[n]}) for n in range(5)]
    answer = await rest.say(components=[row(*buttons), row(select(options=options))])
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"components": [row(button())]}])
async def test_empty_message_is_refused(rest: RestClient, body: Json) -> None:
    assert (await rest("POST", f"/channels/{await rest.channel()}/messages", body)).code == 50006


async def test_edit_that_would_empty_a_message_is_refused_and_changes_nothing(rest: RestClient) -> None:
    message = (await rest.say("x")).body
    route = f"/channels/{message['channel_id']}/messages/{message['id']}"
    assert (await rest("PATCH", route, {"content": ""})).code == 50006
    assert (await rest("GET", route)).body["content"] == "x"


@pytest.mark.parametrize(
    ("query", "path", "code"),
    [
        ("limit=abc", "limit", "NUMBER_TYPE_COERCE"),
        ("limit=0", "limit", "NUMBER_TYPE_MIN"),
        ("limit=101", "limit", "NUMBER_TYPE_MAX"),
        ("before=x", "before", "NUMBER_TYPE_COERCE"),
        ("after=-1", "after", "NUMBER_TYPE_COERCE"),
        (f"around={1 << 64}", "around", "NUMBER_TYPE_COERCE"),
    ],
)
async def test_list_of_messages_that_makes_no_sense_is_refused(
    rest: RestClient, query: str, path: str, code: str
) -> None:
    assert problems(await rest("GET", f"/channels/{await rest.channel()}/messages?{query}")) == {path: code}


async def test_word_in_the_place_of_an_id_is_refused_by_its_name(rest: RestClient) -> None:
    channel = await rest.channel()
    assert problems(await rest("GET", f"/channels/{channel}/messages/x")) == {"message_id": "NUMBER_TYPE_COERCE"}
    assert problems(await rest("POST", "/channels/general/messages", {})) == {"channel_id": "NUMBER_TYPE_COERCE"}
    assert (await rest("GET", f"/channels/{channel}/messages/1")).code == 10008


async def test_attachments_stay_when_left_out_and_are_the_whole_set_when_listed(rest: RestClient) -> None:
    route = f"/channels/{await rest.channel()}/messages"
    made = (await rest("POST", route, {"content": "x"}, files={"a.png": b"a", "b.png": b"b"})).body
    one = f"{route}/{made['id']}"
    same = (await rest("PATCH", one, {"content": "y"})).body
    assert [item["filename"] for item in same["attachments"]] == ["a.png", "b.png"]
    kept, body = made["attachments"][1], {"attachments": [{"id": made["attachments"][1]["id"]}, {"id": 0}]}
    changed = (await rest("PATCH", one, body, files={"c.png": b"c"})).body
    assert [item["filename"] for item in changed["attachments"]] == ["b.png", "c.png"]
    assert changed["attachments"][0]["id"] == kept["id"]
    assert (await rest("PATCH", one, {"attachments": []})).body["attachments"] == []


async def test_layout_message_gets_its_media_and_numbers_and_never_loses_its_flag(rest: RestClient) -> None:
    route = f"/channels/{await rest.channel()}/messages"
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}
    body = {"flags": 1 << 15, "components": [{"type": 17, "components": [{"type": 10, "content": "hi"}, gallery]}]}
    made = (await rest("POST", route, body, files={"a.png": b"a"})).body
    inner = made["components"][0]["components"]
    assert inner[1]["items"][0]["media"]["url"].endswith("/a.png")
    assert [made["components"][0]["id"], inner[0]["id"]] == [1, 2]
    assert made["flags"] & 1 << 15
    edited = (await rest("PATCH", f"{route}/{made['id']}", {"flags": 0})).body
    assert edited["flags"] & 1 << 15


async def test_only_allowed_people_are_mentioned(sandbox: RunningSandbox, rest: RestClient) -> None:
    members = (await sandbox.control.state())["guilds"][0]["members"]
    ids = {member["name"]: member["id"] for member in members}
    words = f"<@{ids['alice']}> and <@{ids['bob']}>"

    async def mentioned(**more: Any) -> list[str]:
        return [user["username"] for user in (await rest.say(words, **more)).body["mentions"]]

    assert await mentioned() == ["alice", "bob"]
    assert await mentioned(allowed_mentions={"parse": []}) == []
    assert await mentioned(allowed_mentions={"parse": [], "users": [ids["bob"]]}) == ["bob"]


async def test_reply_names_what_it_answers_and_pings_its_author_only_when_wanted(
    sandbox: RunningSandbox, rest: RestClient
) -> None:
    said = await sandbox.control.say(as_="alice", channel="general", content="hi")
    reference = {"message_id": said["id"]}
    reply = (await rest.say("hello", message_reference=reference, allowed_mentions={"replied_user": False})).body
    assert (reply["type"], reply["referenced_message"]["id"], reply["mentions"]) == (19, said["id"], [])
    loud = (await rest.say("hello", message_reference=reference)).body
    assert [user["username"] for user in loud["mentions"]] == ["alice"]


async def test_private_answer_is_not_in_the_channel_for_the_bot(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    asked = await rest.asked()
    data = {"content": "psst", "flags": 64}
    made = (await rest("POST", f"{asked.callback}?with_response=true", {"type": 4, "data": data})).body
    assert (await asked.waiting)["response"]["ephemeral"]
    message = made["resource"]["message"]
    route = f"/channels/{message['channel_id']}/messages"
    assert (await rest("GET", f"{route}/{message['id']}")).code == 10008
    assert (await rest("PATCH", f"{route}/{message['id']}", {"content": "x"})).code == 10008
    assert (await rest("GET", route)).body == []
    assert (await rest("PATCH", f"{asked.webhook}/messages/@original", {"content": "psst!"})).status == 200


MODALS: list[tuple[str, Json, str]] = [
    ("data.title", {"title": "x" * 46}, "BASE_TYPE_BAD_LENGTH"),
    ("data.custom_id", {"custom_id": "x" * 101}, "BASE_TYPE_BAD_LENGTH"),
    ("data.components", {"components": []}, "BASE_TYPE_BAD_LENGTH"),
    ("data.components.0.type", {"components": [button()]}, "UNION_TYPE_CHOICES"),
]


@pytest.mark.parametrize(("path", "change", "code"), MODALS)
async def test_modal_that_discord_refuses_is_refused(
    sandbox: RunningSandbox, rest: RestClient, path: str, change: Json, code: str
) -> None:
    await sandbox.control.limits(ack_ms=300)
    await rest.register(IMAGINE)
    asked = await rest.asked()
    field = {"type": 18, "label": "Prompt", "component": {"type": 4, "custom_id": "p", "style": 1}}
    modal = {"title": "Fix", "custom_id": "m", "components": [field]} | change
    assert problems(await rest("POST", asked.callback, {"type": 9, "data": modal})).get(path) == code
    answer = (await asked.waiting)["response"]
    assert (answer["kind"], answer["error"]["code"]) == ("none", 50035)


COMMANDS: list[tuple[str, list[Json], str]] = [
    ("0.name", [IMAGINE | {"name": "Imagine"}], "APPLICATION_COMMAND_INVALID_NAME"),
    ("0.name", [IMAGINE | {"name": "x" * 33}], "BASE_TYPE_BAD_LENGTH"),
    ("0.description", [IMAGINE | {"description": ""}], "BASE_TYPE_REQUIRED"),
    ("0.description", [IMAGINE | {"description": "x" * 101}], "BASE_TYPE_BAD_LENGTH"),
    ("1", [IMAGINE, IMAGINE], "APPLICATION_COMMANDS_DUPLICATE_NAME"),
    ("5", [{"type": 3, "name": str(n)} for n in range(6)], "APPLICATION_COMMAND_LIMIT_REACHED"),
    (
        "0.options.1",
        [
            IMAGINE
            | {
                "options": [
                    {"type": 3, "name": "a", "description": "a"},
                    {"type": 3, "name": "b", "description": "b", "required": True},
                ]
            }
        ],
        "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
    ),
    (
        "0.options.0.choices",
        [
            IMAGINE
            | {
                "options": [
                    {
                        "type": 3,
                        "name": "a",
                        "description": "a",
                        "choices": [{"name": str(n), "value": str(n)} for n in range(26)],
                    }
                ]
            }
        ],
        "BASE_TYPE_MAX_LENGTH",
    ),
]


@pytest.mark.parametrize(("path", "commands", "code"), COMMANDS)
async def test_command_that_discord_refuses_is_refused(
    rest: RestClient, path: str, commands: list[Json], code: str
) -> None:
    assert problems(await rest.register(*commands)).get(path) == code


async def test_command_keeps_its_id_over_registrations(rest: RestClient) -> None:
    first = (await rest.register(IMAGINE)).body[0]
    again = (await rest.register(IMAGINE | {"description": "Make more"})).body[0]
    assert first["id"] == again["id"]


async def test_answer_of_the_wrong_kind_is_refused(sandbox: RunningSandbox, rest: RestClient) -> None:
    await sandbox.control.limits(ack_ms=200)
    await rest.register(IMAGINE)
    asked = await rest.asked()
    assert (await rest("POST", asked.callback, {"type": 7, "data": {"content": "x"}})).code == 50035
    await asked.waiting


@pytest.mark.parametrize("route", ["/guilds/1/bans", "/nowhere"])
async def test_unknown_route_fails_loudly_by_name(
    sandbox: RunningSandbox, rest: RestClient, route: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await rest("GET", route)
    assert answer.status == 404
    assert f"GET /api/v10{route}" in answer.body["message"]
    assert f"GET /api/v10{route}" in capsys.readouterr().err
    assert (await sandbox.control.transcript())[-1]["status"] == 404


async def test_body_that_is_no_json_is_refused(rest: RestClient) -> None:
    assert rest.session is not None
    url = f"{rest.running.url}/api/v10/channels/{await rest.channel()}/messages"
    headers = {"Authorization": "Bot sandbox", "Content-Type": "application/json"}
    async with rest.session.post(url, data=b"{", headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (400, 50109)
        assert response.headers["Content-Type"] == "application/json"


async def test_wrong_token_is_unauthorized(sandbox: RunningSandbox) -> None:
    async with RestClient(sandbox, token="wrong") as rest:
        assert (await rest("GET", "/users/@me")).status == 401


async def test_user_installed_command_where_the_bot_is_not_gets_five_follow_ups(
    sandbox: RunningSandbox, rest: RestClient
) -> None:
    await rest.register(IMAGINE | {"integration_types": [0, 1]})
    name = (await sandbox.control.state())["application"]["name"]
    await sandbox.control.remove("members", name)
    asked = await rest.asked(install="user")
    assert set(asked.interaction["authorizing_integration_owners"]) == {"1"}
    await rest("POST", asked.callback, {"type": 4, "data": {"content": "x"}})
    await asked.waiting
    await sandbox.control.limits(buckets={"POST /webhooks/*/*": None})
    codes = [(await rest("POST", asked.webhook, {"content": str(n)})).code for n in range(6)]
    assert codes == [None] * 5 + [40094]
