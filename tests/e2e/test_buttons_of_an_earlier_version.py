"""Messages, buttons and rows that an earlier version left behind still work: its world and its database are kept.

What they hold and how they were made stands in data/earlier_version/README.md. Each test has a copy, on which this
version's bot starts; the GPU is still paused there, as its owner left it.
"""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.interactions.registry import NO_FEATURE
from tests.harness.crash_environment import CrashEnvironment
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import SINGLE, SandboxedBot, labels, running_bot

KEPT = Path(__file__).parent / "data/earlier_version"
#: What is in the kept world, by name: a message or an open form, its channel, and somebody who sees it.
KNOWN: dict[str, dict[str, str]] = json.loads((KEPT / "messages.json").read_text("utf-8"))
GRID = ["U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4", "ⓘ"]
#: Every shape of custom id that the earlier version wrote.
SHAPES = {
    "job:#:u:#", "job:#:v:#", "job:#:again", "job:#:info", "job:#:cancel", "job:#:delete",
    "job:#:v:#:relax", "job:#:again:relax", "ask:fix", "ask:relax",
}  # fmt: skip
#: What a start posts, takes away or cancels by itself.
ENDED_AT_START = ("left behind", "undelivered", "unheard", "unwanted")
#: Jobs that go on: four had never run, the fifth ran when the bot was killed.
WAITING = ("waiting", "waiting too", "waiting turbo", "waiting variation", "running")
#: Many results come at once here, and no test is about the limits that these routes have.
UNLIMITED = {
    "POST /channels/{channel_id}/messages": None,
    "PATCH /channels/{channel_id}/messages/{message_id}": None,
    "PATCH /webhooks/{webhook_id}/{token}/messages/{message_id}": None,
}


@asynccontextmanager
async def this_version(folder: Path, *, paused: bool = False) -> AsyncIterator[SandboxedBot]:
    """This version's bot in the kept world, on the kept database; the owner gives the GPU back unless `paused`."""
    shutil.unpack_archive(KEPT / "kept.zip", folder)
    async with running_sandbox(folder / "sandbox") as sandbox:
        await sandbox.control.limits(buckets=UNLIMITED, old_edits=[1000, 1.0])
        async with running_bot(sandbox, folder / "data") as bot:
            if not paused:
                await bot.answer("worker resume")
            yield bot


async def kept(bot: SandboxedBot, name: str) -> dict[str, Any]:
    """A message of the kept world as it is now."""
    known = KNOWN[name]
    found = await bot.control.messages(as_=known["seen by"], channel=known["channel"])
    return next(message for message in found if message["id"] == known["message"])


async def press(bot: SandboxedBot, name: str, label: str, *, as_: str | None = None) -> dict[str, Any]:
    """The message that answers a press on a kept message."""
    return await bot.press({"id": KNOWN[name]["message"]}, label, as_=as_ or KNOWN[name]["seen by"])


async def made(bot: SandboxedBot, name: str, label: str, *, as_: str | None = None) -> dict[str, Any]:
    """The finished message of the job that a press on a kept message makes."""
    who = as_ or KNOWN[name]["seen by"]
    return await bot.done(await press(bot, name, label, as_=who), as_=who)


async def gone(bot: SandboxedBot, *names: str) -> None:
    """Waits until kept messages are not there any more: what took long ends as a new message."""
    for name in names:
        await bot.until({"id": KNOWN[name]["message"], "channel_id": KNOWN[name]["channel"]}, deleted=True)


async def picture(bot: SandboxedBot, message: dict[str, Any]) -> bytes:
    """The one file of a message."""
    (file,) = message["attachments"]
    return await bot.control.download(file["url"])


async def of(bot: SandboxedBot, words: str, *, as_: str = "alice", channel: str = "general") -> list[dict[str, Any]]:
    """The messages that show a job with these words, which all jobs have different."""
    return [m for m in await bot.control.messages(as_=as_, channel=channel) if m["content"].startswith(f"**{words}**")]


def buttons(message: dict[str, Any]) -> list[str]:
    """The custom ids in a message."""
    return [item["custom_id"] for row in message["components"] for item in row["components"]]


def shape(custom_id: str) -> str:
    """A custom id without its job and number."""
    return re.sub(r"^job:\w+|:\d+", lambda found: "job:#" if found[0].startswith("job") else ":#", custom_id)


async def test_every_kept_button_is_answered_and_none_is_unknown(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        pressed = []
        for name in (name for name in KNOWN if name not in ("form", *ENDED_AT_START)):
            message = await kept(bot, name)
            pressed += [(name, message["id"], custom_id) for custom_id in buttons(message)]
        assert {shape(custom_id) for *_, custom_id in pressed} == SHAPES
        for name, message, custom_id in sorted(pressed, key=lambda it: it[2].endswith((":cancel", ":delete"))):
            answered = await bot.control.press(as_=KNOWN[name]["seen by"], message=message, custom_id=custom_id)
            said = answered["response"]
            assert said["kind"] in ("message", "modal", "deferred_update"), (name, custom_id, said)
            words = said["message"]["content"] if said["kind"] == "message" else ""
            assert not any(wrong in words for wrong in ("went wrong", "no longer known here", NO_FEATURE)), (
                name,
                custom_id,
                words,
            )


async def test_u_posts_the_picture_that_was_kept_as_a_reply(tmp_path):
    async with this_version(tmp_path) as bot:
        single = await made(bot, "grid", "U3", as_="dave")
        assert labels(single) == SINGLE
        assert single["message_reference"]["message_id"] == KNOWN["grid"]["message"]
        old = await press(bot, "grid", "U2", as_="dave")
        assert old["ephemeral"] and old["content"].endswith(f"/{KNOWN['crop']['message']}"), "it stands there already"
        await bot.control.delete(as_="bob", message=KNOWN["crop"]["message"])
        before = await bot.parts.services.images.read(buttons(await kept(bot, "grid"))[1].split(":")[1], 1)
        assert await picture(bot, await made(bot, "grid", "U2", as_="dave")) == before


async def test_v_makes_a_variation_of_the_picture(tmp_path):
    async with this_version(tmp_path) as bot:
        new = await made(bot, "grid", "V4", as_="dave")
        assert new["content"].startswith("**a red boat at sea** · near picture 4 ·")
        assert labels(new) == GRID and len(new["attachments"]) == 1


async def test_again_makes_a_grid_with_the_same_settings_and_another_seed(tmp_path):
    async with this_version(tmp_path) as bot:
        new = await made(bot, "grid", "🔄")
        assert "256×256 · 10 steps · seed " in new["content"] and "seed 7 " not in new["content"]
        assert labels(new) == GRID


async def test_again_keeps_every_setting_of_a_prompt_and_runs_in_the_members_own_lane(tmp_path):
    async with this_version(tmp_path) as bot:
        first = await press(bot, "relaxed pair", "🔄")
        await bot.until(first, as_="carol", deleted=True)  # a relaxed job ends as a new message
        *_, new = await of(bot, "two houses")
        assert labels(new) == ["U1", "U2", "🔄", "V1", "V2", "ⓘ"]
        for setting in ("352×192 · 10 steps", "chaos 20", " tile ", "ink 0.8", "stopped at 80 %", "without fog"):
            assert setting in new["content"]
        assert "· relax" in new["content"]


@pytest.mark.parametrize("name", ["failed", "cancelled"])
async def test_again_under_a_job_without_a_picture_makes_one(tmp_path, name):
    async with this_version(tmp_path) as bot:
        assert labels(await made(bot, name, "🔄")) == GRID


async def test_info_shows_the_settings_and_offers_delete_to_who_asked_and_to_moderators(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        about = await press(bot, "grid", "ⓘ", as_="alice")
        assert "256×256 · 10 steps · seed 7" in about["content"] and "cfg 4 · Euler · fast lane" in about["content"]
        assert "postcard" in about["content"] and labels(about) == ["Delete"]
        assert labels(await press(bot, "grid", "ⓘ", as_="bob")) == ["Delete"]
        assert labels(await press(bot, "grid", "ⓘ", as_="dave")) == []


async def test_the_buttons_of_a_variation_lead_on_and_back(tmp_path):
    async with this_version(tmp_path) as bot:
        single = await made(bot, "variation", "U1")
        assert single["message_reference"]["message_id"] == KNOWN["variation"]["message"]
        about = await press(bot, "variation", "ⓘ")
        assert "From picture 3 of https://discord.com/channels/" in about["content"]
        assert KNOWN["grid"]["message"] in about["content"]


async def test_vary_under_a_single_picture_makes_a_variation_of_it(tmp_path):
    async with this_version(tmp_path) as bot:
        new = await made(bot, "crop", "Vary")
        assert "near picture 2" in new["content"] and labels(new) == GRID


async def test_vary_under_a_picture_whose_grid_was_deleted_draws_that_again(tmp_path):
    async with this_version(tmp_path) as bot:
        new = await made(bot, "crop of deleted", "Vary")
        assert "near picture 1" in new["content"] and labels(new) == GRID


async def test_the_buttons_of_a_direct_message_work(tmp_path):
    async with this_version(tmp_path) as bot:
        assert labels(await made(bot, "direct", "U1")) == SINGLE
        assert labels(await made(bot, "direct", "V1")) == GRID


async def test_a_picture_of_a_model_that_is_gone_can_be_had_and_the_rest_is_refused_by_name(tmp_path):
    async with this_version(tmp_path) as bot:
        assert labels(await made(bot, "other model", "U1")) == SINGLE
        refused = await press(bot, "other model", "V1")
        assert refused["ephemeral"] and "a model that is no longer here" in refused["content"]
        assert labels(refused) == ["Fix and run"]
        refused = await press(bot, "other model", "🔄")
        assert refused["ephemeral"] and "seaside" in refused["content"] and labels(refused) == ["Fix and run"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("spent", "**a small tree** · <@"),
        ("spent vary", "**a red boat at sea** · near picture 1 · <@"),
        ("spent again", "**a red boat at sea** · <@"),
    ],
)
async def test_run_it_in_relax_runs_it_there(tmp_path, name, title):
    async with this_version(tmp_path) as bot:
        first = await press(bot, name, "Run it in relax")
        assert first["content"].startswith(title) and "· relax" in first["content"]
        await bot.until(first, as_="erin", deleted=True)  # a relaxed job ends as a new message
        found = [m for m in await bot.posted() if m["content"].startswith(title) and "· relax" in m["content"]]
        assert [labels(m) for m in found] == [GRID]


async def test_fix_and_run_opens_the_refused_prompt_and_runs_what_comes_back(tmp_path):
    prompts = {
        "refused": "a blue boat --stepps 3",
        "refused ticks": "a ```fence``` --stepps 3",
        "refused bare": f"a wall {'`' * 2400} --stepps 3",
        "refused blank": "",
        "spent": "a small tree --steps 5",
        "spent vary": "a red boat at sea --seed 7 --steps 10",
    }
    async with this_version(tmp_path) as bot:
        for number, (name, prompt) in enumerate(prompts.items(), start=1):
            who = KNOWN[name]["seen by"]
            opened = await bot.control.press(as_=who, message=KNOWN[name]["message"], label="Fix and run")
            (field,) = opened["response"]["modal"]["fields"]
            assert (field["value"] or "") == prompt
            values = {field["label"]: f"a new boat --steps {number}"}
            sent = await bot.control.submit(as_=who, interaction=opened["interaction"], values=values)
            new = await bot.done(bot.message(sent), as_=who)
            assert "**a new boat**" in new["content"] and f"· {number} step" in new["content"]


async def test_a_form_that_the_earlier_version_opened_is_taken(tmp_path):
    async with this_version(tmp_path) as bot:
        values = {"Prompt": "a blue boat --steps 3"}
        sent = await bot.control.submit(as_="alice", interaction=KNOWN["form"]["interaction"], values=values)
        new = await bot.done(bot.message(sent))
        assert "**a blue boat**" in new["content"] and "· 3 steps" in new["content"]


async def test_what_info_offered_in_place_of_a_lost_message_is_posted(tmp_path):
    async with this_version(tmp_path) as bot:
        assert labels(await kept(bot, "info")) == ["a green hill", "a lost castle U1", "U2"]
        for label, words in (("a green hill", "**a green hill** · picture 3"), ("U2", "**a lost castle** · picture 2")):
            single = await made(bot, "info", label)
            assert single["content"].startswith(words) and len(single["attachments"]) == 1


async def test_info_tells_what_the_earlier_version_could_not_post_and_had_not_told(tmp_path):
    async with this_version(tmp_path) as bot:
        told = await bot.answer("info", as_="bob")
        assert "- a garden gate\n" in told["content"] and "- a poison cup: not made." in told["content"]
        assert labels(told) == ["a garden gate U1", "U2", "Take these off the list"]
        single = await bot.done(await bot.press(told, "U2", as_="bob"), as_="bob")
        assert single["content"].startswith("**a garden gate** · picture 2")
        told = await bot.answer("info", as_="bob")
        assert "- a garden gate\n" in told["content"], "until it is taken off the list"
        await bot.control.press(as_="bob", message=told["id"], label="Take these off the list")
        assert "a garden gate" not in (await bot.answer("info", as_="bob"))["content"]


async def test_delete_takes_the_message_away(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        await bot.control.press(as_="alice", message=KNOWN["deletable"]["message"], label="Delete")
        await bot.until(await kept(bot, "deletable"), content_contains="Deleted.")
        assert not [m for m in await bot.posted() if m["id"] == KNOWN["hill"]["message"]]


async def test_delete_finds_a_result_that_came_as_a_direct_message(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        there = await kept(bot, "direct instead")
        about = await press(bot, "direct instead", "ⓘ")
        await bot.control.press(as_="carol", message=about["id"], label="Delete")
        await bot.until(there, as_="carol", deleted=True)


async def test_cancel_is_for_who_asked_and_ends_the_job(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        for name in WAITING:
            who = KNOWN[name]["seen by"]
            refused = await press(bot, name, "Cancel", as_="carol" if who != "carol" else "dave")
            assert refused["ephemeral"] and "Only the person who asked for it" in refused["content"]
            await bot.control.press(as_=who, message=KNOWN[name]["message"], label="Cancel")
            ended = await bot.done(await kept(bot, name), as_=who)
            assert ended["content"].endswith("Cancelled.") and labels(ended) == ["🔄", "ⓘ"]


async def test_the_message_app_finds_the_job_of_an_old_message(tmp_path):
    ended, none = "That job has already ended. To delete it, press ⓘ below it.", "There is no job in that message."
    sentences = dict.fromkeys(WAITING, "Cancelled.")
    sentences |= {"grid": ended, "crop": ended, "failed": ended, "relaxed pair": ended}
    async with this_version(tmp_path, paused=True) as bot:
        said = await bot.control.say(as_="alice", channel="general", content="hello")
        for message, sentence in [(KNOWN[name]["message"], words) for name, words in sentences.items()] + [
            (said["id"], none)
        ]:
            used = {"as_": "bob", "channel": "general", "message": message}
            answered = await bot.control.context_menu(name="Cancel Job", **used)
            assert bot.message(answered)["content"] == sentence


async def test_the_pause_lasts_until_the_owner_ends_it_and_then_everything_that_waited_is_posted_once(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        await bot.until(await kept(bot, "waiting"), content_contains="the GPU is paused")
        await bot.until(await kept(bot, "running"), content_contains="will start again · the GPU is paused")
        await bot.answer("worker resume")
        await gone(bot, *WAITING)
        for words in ("a waiting cat", "a waiting dog", "a waiting bird", "a running horse"):
            (shown,) = await of(bot, words)
            assert labels(shown) == GRID and len(shown["attachments"]) == 1
        assert len([m for m in await of(bot, "a red boat at sea") if "near picture 4" in m["content"]]) == 1


async def test_what_was_done_and_not_posted_is_posted_once(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        # The earlier version had begun to edit the third: by now nobody looks at its card any more.
        await gone(bot, "unheard", "left behind", "undelivered")
        for words in ("an orphan kite", "a quiet lake", "a kept letter"):
            (shown,) = await of(bot, words)
            assert labels(shown) == ["U1", "🔄", "V1", "ⓘ"] and len(shown["attachments"]) == 1


async def test_what_was_to_be_cancelled_when_the_bot_died_ends_as_cancelled(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        ended = await bot.done(await kept(bot, "unwanted"))
        assert ended["content"].endswith("Cancelled.") and ended["attachments"] == []


async def test_members_keep_their_lanes_and_have_a_new_months_fast_time(tmp_path):
    async with this_version(tmp_path, paused=True) as bot:
        for who, lane in (("alice", "fast"), ("carol", "relax"), ("dave", "turbo")):
            told = (await bot.answer("info", as_=who))["content"]
            assert f"**Lane** {lane}" in told
            assert f"· {lane}" in (await bot.imagine("a new boat", as_=who))["content"]
        assert "**Fast time** 200 of 200 min left" in (await bot.answer("info", as_="bob"))["content"]


async def test_the_ledger_adds_up_once_everything_has_ended(tmp_path):
    async with this_version(tmp_path) as bot:
        await made(bot, "grid", "V1", as_="erin")
        await gone(bot, *WAITING, "unheard")
        sandbox = bot.sandbox
    assert await CrashEnvironment(tmp_path, sandbox, {}).audit() == []
