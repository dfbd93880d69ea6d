"""The control interface beyond what a bot sees: guards, waiting, events, people among themselves."""

import asyncio
import json

import aiohttp
import pytest

from tests.harness.control_client import ControlRefused, file
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.rest_client import IMAGINE, RestClient


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Host": "rebound.example:8800"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_other_web_pages_reach_neither_calls_nor_events(sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{sandbox.url}/control/reset") as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{sandbox.url}/control/events")
        assert refused.value.status == 403


@pytest.mark.parametrize("headers", [{"Origin": "https://elsewhere.example"}, {"Host": "rebound.example:8800"}])
async def test_other_web_pages_cannot_be_the_bot_either(sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(headers=headers | {"Authorization": "Bot sandbox"}) as session:
        async with session.get(f"{sandbox.url}/api/v10/users/@me") as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{sandbox.url}/gateway")
        assert refused.value.status == 403


async def test_form_of_another_page_is_no_json(sandbox: RunningSandbox) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{sandbox.url}/control/limits", data={"ack_ms": "1"}) as response:
            assert response.status == 415
        async with session.post(
            f"{sandbox.url}/control/limits", json={"ack_ms": 1000}, headers={"Origin": sandbox.url}
        ) as response:
            assert response.status == 200


async def test_starting_world_is_as_described(sandbox: RunningSandbox) -> None:
    state = await sandbox.control.state()
    guild = state["guilds"][0]
    assert [channel["name"] for channel in guild["channels"]] == ["general", "gallery", "nsfw"]
    assert [channel["nsfw"] for channel in guild["channels"]] == [False, False, True]
    people = {member["name"]: member["id"] for member in guild["members"] if not member["bot"]}
    assert list(people) == ["alice", "bob", "carol", "dave"]
    assert guild["owner"] == people["alice"]
    roles = {role["id"]: role["name"] for role in guild["roles"]}
    assert {"everyone", "moderator", "booster"} <= set(roles.values())
    named = {m["name"]: [roles[key] for key in m["roles"]] for m in guild["members"]}
    assert (named["bob"], named["carol"]) == (["moderator"], ["booster"])
    assert not state["application"]["online"]


async def test_wait_ends_as_soon_as_it_is_so(sandbox: RunningSandbox) -> None:
    waiting = asyncio.create_task(sandbox.control.wait(as_="bob", channel="general", content_contains="now"))
    said = await sandbox.control.say(as_="alice", channel="general", content="right now")
    assert (await waiting)["id"] == said["id"]
    gone = asyncio.create_task(sandbox.control.wait(as_="bob", channel="general", message=said["id"], deleted=True))
    await sandbox.control.delete(as_="alice", message=said["id"])
    assert (await gone)["deleted"]


async def test_wait_that_ends_in_vain_says_what_is_there(sandbox: RunningSandbox) -> None:
    await sandbox.control.say(as_="alice", channel="general", content="something else")
    with pytest.raises(ControlRefused, match="something else"):
        await sandbox.control.wait(as_="bob", channel="general", content_contains="never", timeout_ms=20)


async def test_events_tell_every_change_as_the_transcript_does(sandbox: RunningSandbox, rest: RestClient) -> None:
    async with sandbox.control.events() as socket:
        await sandbox.control.say(as_="alice", channel="general", content="hi")
        entry = json.loads((await asyncio.wait_for(socket.receive(), 5)).data)
        assert (entry["kind"], entry["name"], entry["body"]["content"]) == ("event", "MESSAGE_CREATE", "hi")
        await rest("GET", "/users/@me")
        entry = json.loads((await asyncio.wait_for(socket.receive(), 5)).data)
        assert (entry["kind"], entry["route"], entry["status"]) == ("request", "/users/@me", 200)
        assert "answer" not in entry


async def test_events_of_a_private_answer_say_for_whom(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    asked = await rest.asked()
    after = (await sandbox.control.transcript())[-1]["n"]
    await rest("POST", asked.callback, {"type": 4, "data": {"content": "psst", "flags": 64}})
    await asked.waiting
    found = {e["name"]: e["body"] for e in await sandbox.control.transcript(after) if e["kind"] == "event"}
    alice = asked.interaction["member"]["user"]["id"]
    assert found["MESSAGE_CREATE"]["ephemeral"]
    assert found["MESSAGE_CREATE"]["visible_to"] == alice
    assert found["INTERACTION_RESPONSE"]["user_id"] == alice


async def test_people_write_reply_edit_react_and_delete(sandbox: RunningSandbox) -> None:
    first = await sandbox.control.say(
        as_="alice", channel="general", content="look", files=[file("a.txt", b"text", "text/plain")]
    )
    reply = await sandbox.control.say(as_="bob", channel="general", content="nice", reply_to=first["id"])
    assert reply["referenced_message"]["id"] == first["id"]
    await sandbox.control.edit(as_="alice", message=first["id"], content="look!")
    await sandbox.control.react(as_="bob", message=first["id"], emoji="👍")
    seen = (await sandbox.control.messages(as_="dave", channel="general"))[0]
    assert (seen["content"], seen["edits"], seen["reactions"][0]["count"]) == ("look!", 1, 1)
    await sandbox.control.react(as_="bob", message=first["id"], emoji="👍", remove=True)
    for refused in (
        sandbox.control.edit(as_="bob", message=first["id"], content="mine"),
        sandbox.control.delete(as_="dave", message=first["id"]),
    ):
        with pytest.raises(ControlRefused):
            await refused
    await sandbox.control.delete(as_="bob", message=first["id"])
    assert [m["id"] for m in await sandbox.control.messages(as_="dave", channel="general")] == [reply["id"]]


async def test_names_must_be_unambiguous_and_known(sandbox: RunningSandbox) -> None:
    with pytest.raises(ControlRefused, match="name_taken"):
        await sandbox.control.create("channels", name="general")
    with pytest.raises(ControlRefused, match="unknown_channel"):
        await sandbox.control.say(as_="alice", channel="nowhere", content="x")
    with pytest.raises(ControlRefused, match="not_a_person"):
        name = (await sandbox.control.state())["application"]["name"]
        await sandbox.control.say(as_=name, channel="general", content="x")


async def test_disabled_and_link_buttons_cannot_be_pressed(sandbox: RunningSandbox, rest: RestClient) -> None:
    parts = [
        {"type": 2, "style": 1, "label": "U1", "custom_id": "a", "disabled": True},
        {"type": 2, "style": 5, "label": "Docs", "url": "https://example.com"},
    ]
    message = (await rest.say("x", components=[{"type": 1, "components": parts}])).body
    for label, code in (("U1", "disabled"), ("Docs", "link")):
        with pytest.raises(ControlRefused) as refused:
            await sandbox.control.press(as_="alice", message=message["id"], label=label)
        assert refused.value.code == code


async def test_select_takes_its_options_in_its_numbers(sandbox: RunningSandbox, rest: RestClient) -> None:
    options = [{"label": "Fast", "value": "f"}, {"label": "Relax", "value": "r"}]
    part = {"type": 3, "custom_id": "lane", "placeholder": "Lane", "options": options}
    message = (await rest.say("x", components=[{"type": 1, "components": [part]}])).body
    for values in (["Turbo"], [], ["f", "r"]):
        with pytest.raises(ControlRefused, match="bad_values"):
            await sandbox.control.press(as_="alice", message=message["id"], label="Lane", values=values)
    call = sandbox.control.press(as_="alice", message=message["id"], label="Lane", values=["Relax"])
    asked = await rest.started(call)
    assert asked.interaction["data"]["values"] == ["r"]
    await rest("POST", asked.callback, {"type": 6})
    assert (await asked.waiting)["response"]["kind"] == "deferred_update"


async def test_only_its_person_uses_the_buttons_of_a_private_answer(sandbox: RunningSandbox, rest: RestClient) -> None:
    await rest.register(IMAGINE)
    asked = await rest.asked()
    parts = [{"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]}]
    await rest("POST", asked.callback, {"type": 4, "data": {"content": "x", "flags": 64, "components": parts}})
    message = (await asked.waiting)["response"]["message"]
    with pytest.raises(ControlRefused, match="unknown_message"):
        await sandbox.control.press(as_="bob", message=message["id"], label="Go")
    pressed = await rest.started(sandbox.control.press(as_="alice", message=message["id"], label="Go"))
    await rest("POST", pressed.callback, {"type": 7, "data": {"content": "gone", "components": []}})
    assert (await pressed.waiting)["response"]["message"]["content"] == "gone"


async def test_unknown_call_is_named(sandbox: RunningSandbox) -> None:
    with pytest.raises(ControlRefused, match="unknown_call"):
        await sandbox.control.call("POST", "nonsense")


@pytest.mark.parametrize("path", ["/attachments/1/2/a.png", "/attachments/../../etc/passwd", "/page/../app.py"])
async def test_files_outside_their_folders_are_not_served(sandbox: RunningSandbox, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b" 404 " in (await reader.readline())
    writer.close()
    await writer.wait_closed()
