"""/history, ♥ and Delete as members use them."""

import asyncio

import pytest

from storage.history import KEPT_SECONDS
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot

MANY = {"DARKROOM_FAST_MINUTES": "1000", "DARKROOM_WAITING": "50"}


async def done(bot, prompt, as_="alice", channel="general"):
    """A grid's message."""
    return await bot.done(await bot.imagine(prompt, as_=as_, channel=channel), as_=as_)


def menu(message, verb):
    """A menu's id and the values of its options by their labels."""
    for row in message["components"]:
        for item in row["components"]:
            if item["custom_id"].startswith(f"ask:{verb}") and "options" in item:
                return item["custom_id"], {one["label"]: one["value"] for one in item["options"]}
    return "", {}


async def choose(bot, message, verb, start, as_="alice"):
    """What choosing the option whose label starts so answers."""
    custom_id, options = menu(message, verb)
    value = next(value for label, value in options.items() if label.startswith(start))
    return await bot.control.press(as_=as_, message=message["id"], custom_id=custom_id, values=[value])


async def settled(bot, answered, as_="alice", **what):
    """The message that a put-off answer becomes."""
    assert answered["response"]["kind"] in ("deferred", "deferred_update", "update", "message"), answered["response"]
    return await bot.until(answered["response"]["message"], as_=as_, **what)


async def turn(bot, message, label, as_="alice", **what):
    """The list after a press."""
    await bot.control.press(as_=as_, message=message["id"], label=label)
    return await bot.until(message, as_=as_, **what)


async def test_ones_own_pictures_newest_first_in_pages_and_of_this_server_only(tmp_path):
    async with sandboxed_bot(tmp_path, **MANY) as bot:
        assert "You have made no pictures here yet" in (await bot.answer("history"))["content"]
        for number in range(12):
            await done(bot, f"boat {number}")
        await done(bot, "somebody else's", as_="bob")
        await done(bot, "in private", channel="dm")
        told = await bot.answer("history")
        assert told["ephemeral"] and told["content"].startswith("**Your pictures**")
        assert "1. **boat 11** · grid" in told["content"] and "10. **boat 2**" in told["content"]
        assert "somebody" not in told["content"] and "in private" not in told["content"]
        assert labels(told)[-3:] == ["Older ▶", "⭐ Favourites", "Deleted"]
        older = await turn(bot, told, "Older ▶", content_contains="boat 0")
        assert "2. **boat 0**" in older["content"] and "boat 2*" not in older["content"]
        newer = await turn(bot, older, "◀ Newer", content_contains="boat 11")
        assert "Newer" not in labels(newer) and "10. **boat 2**" in newer["content"]
        assert "1. **in private**" in (await bot.answer("history", channel="dm"))["content"]


async def test_open_is_a_link_where_the_message_still_is_else_the_pictures_for_ones_own_eyes(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            grid = await done(bot, "a red boat")
            told = await bot.answer("history")
        async with running_bot(sandbox, tmp_path / "data") as bot:
            answered = await choose(bot, told, "open", "1. a red boat")
            linked = await settled(bot, answered, content_contains=f"/{grid['id']}")
            assert answered["response"]["ephemeral"] and labels(linked) == ["Show it here, to me", "Delete"]
            shown = await settled(bot, await bot.control.press(as_="alice", message=linked["id"], label="Show"),
                                  button="U1")  # fmt: skip
            assert shown["attachments"] and shown["flags"] & 64
            await bot.control.delete(as_="alice", message=grid["id"])
            shown = await settled(bot, await choose(bot, told, "open", "1. "), button="U1")
            assert shown["attachments"] and shown["flags"] & 64
            crop = await bot.press(shown, "U2")
            assert not crop["ephemeral"] and (await bot.done(crop))["attachments"]
            assert len(await bot.posted(as_="bob")) == 1, "nobody else sees what was opened"


async def test_what_was_deleted_from_the_list_or_below_the_picture_is_taken_back(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first, second = await done(bot, "a red boat"), await done(bot, "a blue boat")
        job = await bot.job(first)
        about = await bot.press(first, "ⓘ")
        await bot.control.press(as_="alice", message=about["id"], label="Delete")
        said = await bot.until(about, content_contains="Deleted.")
        assert "`/history` can take it back for 7 days" in said["content"] and "room" in said["content"]
        await bot.until(first, deleted=True)
        told = await bot.answer("history")
        assert "red" not in told["content"]
        await choose(bot, told, "history-delete", "1. a blue boat")
        told = await bot.until(told, content_contains="You have made no pictures here yet")
        assert told["content"].startswith("**a blue boat**: Deleted.")
        await bot.until(second, deleted=True)
        gone = await turn(bot, told, "Deleted", content_contains="Deleted in the last 7 days")
        assert "1. **a blue boat**" in gone["content"] and "2. **a red boat**" in gone["content"]
        await choose(bot, gone, "history-back", "2. a red boat")
        back = await bot.until(gone, content_contains="is back")
        assert "`/show` posts it anew" in back["content"] and "2." not in back["content"]
        told = await bot.answer("history")
        shown = await settled(bot, await choose(bot, told, "open", "1. a red boat"), button="U1")
        assert shown["attachments"]
        posted = await bot.answer_later("show", job_id=job.id, button="U1")
        assert posted["attachments"] and labels(posted)[0] == "U1"


async def test_a_moderators_delete_cannot_be_taken_back(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="dave")
        job = await bot.job(grid)
        about = await bot.press(grid, "ⓘ", as_="bob")
        await bot.control.press(as_="bob", message=about["id"], label="Delete")
        said = await bot.until(about, as_="bob", content_contains="Deleted.")
        assert "history" not in said["content"]
        told = await bot.answer("history", as_="dave")
        gone = await turn(bot, told, "Deleted", as_="dave", content_contains="deleted nothing")
        assert labels(gone) == ["All", "⭐ Favourites"]
        assert await bot.parts.services.images.results(job) is None
        refused = await bot.answer("show", as_="dave", job_id=job.id)
        assert refused["ephemeral"] and "deleted" in refused["content"]


async def test_it_is_too_late_after_a_week_and_for_what_a_list_still_shows(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await done(bot, "a red boat")
        told = await bot.answer("history")
        await choose(bot, told, "history-delete", "1. ")
        told = await bot.until(told, content_contains="Deleted.")
        gone = await turn(bot, told, "Deleted", content_contains="1. **a red boat**")
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET deleted_at = deleted_at - :week", {"week": KEPT_SECONDS})
        answered = await choose(bot, gone, "history-back", "1. ")
        assert "7 days are over" in answered["response"]["message"]["content"] and answered["response"]["ephemeral"]


async def test_a_job_that_is_deleted_while_it_is_being_posted_can_be_taken_back(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 20", DARKROOM_NEW_MESSAGE_AFTER="0") as bot:
        await bot.control.fault("POST", "/channels/*/messages", delay_ms=1500, times=1)
        first = await bot.imagine("a red boat")
        job = await bot.job(first)

        async def on_its_way():
            delivery = await bot.parts.services.outbox.get(job.id)
            return delivery is not None and delivery.tries

        await eventually(on_its_way)
        told = await bot.answer("history")
        await choose(bot, told, "history-delete", "1. ")
        told = await bot.until(told, content_contains="Deleted.")
        await bot.until(first, deleted=True)

        async def taken_away():
            return not await bot.posted() and not bot.client.delivery._busy

        await eventually(taken_away)
        gone = await turn(bot, told, "Deleted", content_contains="1. **a red boat**")
        await choose(bot, gone, "history-back", "1. ")
        await bot.until(gone, content_contains="is back")
        assert await bot.parts.services.images.results(job) is not None


async def test_a_heart_keeps_a_picture_among_ones_favourites_and_takes_it_out_again(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat", as_="bob")
        crop = await bot.done(await bot.press(grid, "U3", as_="bob"))
        assert "♥" in labels(crop) and "♥" not in labels(grid)
        told = await bot.press(crop, "♥")
        assert told["ephemeral"] and "One of your favourites" in told["content"]
        listed = await bot.answer("history")
        listed = await turn(bot, listed, "⭐", content_contains="favourites")
        assert "1. **a red boat** · picture 3" in listed["content"] and "⭐" in listed["content"]
        assert menu(listed, "history-delete") == ("", {}), "it is somebody else's"
        general = listed["channel_id"]
        await bot.control.change("channels", general, permissions={"dave": {"deny": ["view_channel"]}})
        await bot.press(crop, "♥", as_="carol")
        assert "No longer" in (await bot.press(crop, "♥"))["content"]
        listed = await turn(bot, await bot.answer("history"), "⭐", content_contains="no favourites")
        assert "**" not in listed["content"]


async def test_a_favourite_in_a_channel_that_one_cannot_read_any_more_is_not_listed(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        boats = await bot.control.create("channels", name="boats")
        grid = await done(bot, "a red boat", as_="bob", channel="boats")
        crop = await bot.done(await bot.press(grid, "U1", as_="bob"), as_="bob")
        await bot.press(crop, "♥", as_="dave")
        listed = await turn(
            bot, await bot.answer("history", as_="dave"), "⭐", as_="dave", content_contains="1. **a red"
        )
        await bot.control.change("channels", boats["id"], permissions={"dave": {"deny": ["view_channel"]}})
        answered = await choose(bot, listed, "open", "1. ", as_="dave")
        await settled(bot, answered, as_="dave", content_contains="cannot read its channel")
        again = await turn(
            bot, await bot.answer("history", as_="dave"), "⭐", as_="dave", content_contains="favourites"
        )
        assert "red boat" not in again["content"]


@pytest.mark.parametrize("as_", ["bob", "dave"])
async def test_the_menus_of_others_lists_open_nothing(tmp_path, as_):
    async with sandboxed_bot(tmp_path) as bot:
        await done(bot, "a red boat", channel="dm")
        job = (await bot.parts.services.history.made((await bot.control.state())["guilds"][0]["owner"], None, limit=1))[
            0
        ].job
        await done(bot, "mine", as_=as_)
        told = await bot.answer("history", as_=as_)
        custom_id, _ = menu(told, "open")
        press = {"message": told["id"], "custom_id": custom_id, "values": [job.id]}
        with pytest.raises(Exception, match="value"):
            await bot.control.press(as_=as_, **press)


async def test_two_deletes_at_once_are_one(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat")
        told = await bot.answer("history")
        custom_id, options = menu(told, "history-delete")
        press = {"as_": "alice", "message": told["id"], "custom_id": custom_id, "values": list(options.values())}
        await asyncio.gather(*[bot.control.press(**press) for _ in range(2)], return_exceptions=True)
        await bot.until(grid, deleted=True)
        gone = await turn(bot, await bot.answer("history"), "Deleted", content_contains="1. **a red boat**")
        assert "2." not in gone["content"]


async def test_a_picture_that_is_not_kept_any_more_can_be_drawn_again_from_where_it_is_opened(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await done(bot, "a red boat")
        crop = await bot.done(await bot.press(grid, "U2"))
        job = await bot.job(crop)
        for message in (grid, crop):
            await bot.control.delete(as_="alice", message=message["id"])
        await bot.parts.services.images.forget(await bot.job(grid))
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET created_at = created_at - 10")  # U2 was long ago
        told = await bot.answer("history")
        shown = await settled(bot, await choose(bot, told, "open", "2. a red boat"), button="U1")
        assert not shown["attachments"] and "U draws one again, for free" in shown["content"]
        shown = await settled(bot, await choose(bot, told, "open", "1. a red boat (picture 2)"), button="Draw it again")
        assert not shown["attachments"] and job.source is not None
        drawn = await bot.done(await bot.press(shown, "Draw it again"))
        assert drawn["attachments"] and "picture 2" in drawn["content"]
