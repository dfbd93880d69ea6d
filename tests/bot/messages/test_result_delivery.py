"""Results reach Discord exactly once, whatever goes wrong on the way: against the sandbox, with real discord.py."""

import errno
from pathlib import Path
from typing import Any

import pytest

from bot.messages import DeliveryTimes, ResultDelivery
from core.job import Lane, State
from storage.outbox import Way
from tests.harness.bot_samples import NOW, a_job
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import EDITS, eventually, labels, running_bot, sandboxed_bot

ANSWER = "/interactions/*/*/callback"
ALWAYS_NEW = {"DARKROOM_NEW_MESSAGE_AFTER": "0"}


async def results(bot, *, channel="general", as_="alice", timeout_ms=15_000):
    """The finished pictures once there is at least one."""
    await bot.control.wait(as_=as_, channel=channel, button="ⓘ", timeout_ms=timeout_ms)
    return await bot.posted(channel, as_=as_)


async def settled(bot):
    """Waits until every job has ended and Discord was told, or cannot be told."""
    services = bot.parts.services

    async def told():
        return not await services.jobs.live() and await services.outbox.next_due() is None

    await eventually(told)


async def test_a_long_job_comes_as_a_new_message_that_mentions_only_who_asked(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 20", **ALWAYS_NEW) as bot:
        first = await bot.imagine("a red boat for <@1> and @everyone")
        (new,) = await results(bot)
        assert new["id"] != first["id"] and labels(new)[0] == "U1"
        await settled(bot)
        job = await bot.job(new)
        assert [user["id"] for user in new["mentions"]] == [job.user] and not new["mention_everyone"]
        await bot.until(first, deleted=True)
        assert job.where.message == new["id"]


async def test_a_relax_job_comes_as_a_new_message_however_quick_it_was(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine("a red boat --relax")
        await bot.until(first, deleted=True)
        (new,) = await results(bot)
        assert new["mentions"] and "relax" in new["content"]
        await bot.press(new, "U1")


@pytest.mark.parametrize("left_behind", [0, 1000])
async def test_a_result_that_came_as_a_new_message_can_be_deleted(tmp_path, left_behind):
    async with sandboxed_bot(tmp_path) as bot:
        if left_behind:
            await bot.control.fault("DELETE", "/webhooks/**", drop="before", times=left_behind)
        first = await bot.imagine("a red boat --relax")
        (new,) = await results(bot)
        delivered, job = bot.parts.services.outbox, await bot.job(first)

        async def told():
            return (await delivered.get(job.id)).message

        await eventually(told)
        await bot.control.clear_faults()
        about = await bot.press(new, "ⓘ")
        await bot.control.press(as_="alice", message=about["id"], label="Delete")
        await bot.until(new, deleted=True)
        await bot.until(first, deleted=True)


async def test_a_progress_message_that_could_not_be_deleted_goes_a_little_later(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.fault("DELETE", "/webhooks/**", drop="before", times=2)
        first = await bot.imagine("a red boat --relax")
        await bot.until(first, deleted=True)
        await settled(bot)
        (new,) = await bot.posted()
        assert (await bot.job(new)).where.message == new["id"]
        assert len(await bot.requests("POST", "/channels/")) == 1


async def test_a_progress_message_left_behind_is_deleted_by_the_next_life_and_nothing_is_posted_twice(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as bot:
            await bot.control.fault("DELETE", "/webhooks/**", drop="before", times=1000)
            first = await bot.imagine("a red boat")
            services = bot.parts.services
            job = (await bot.job(first)).id

            async def left_behind():
                delivery = await services.outbox.get(job)
                return delivery is not None and delivery.message

            await eventually(left_behind)
            await bot.imagine("a blue boat", as_="bob")

            async def both():
                return len(await bot.posted()) == 2

            await eventually(both)
        await sandbox.control.clear_faults()
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as bot:
            await bot.until(first, deleted=True)
            await settled(bot)
            assert [m["content"].split("**")[1] for m in await bot.posted()] == ["a red boat", "a blue boat"]


async def test_rate_limits_delay_a_result_and_nothing_else(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.fault("PATCH", "/webhooks/**", status=429, retry_after=0.3, times=3)
        first = await bot.imagine("a red boat")
        await bot.done(first)
        assert len(await bot.posted()) == 1


async def test_a_server_error_on_the_last_edit_is_tried_again(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 1") as bot:
        first = await bot.imagine("a red boat --steps 2")
        await bot.control.fault("PATCH", "/webhooks/**", status=500, times=1)
        await bot.done(first)
        assert len(await bot.posted()) == 1


async def test_a_result_whose_edit_arrived_but_whose_answer_was_lost_stays_one_message(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.fault("PATCH", "/webhooks/**", drop="after", times=2)
        first = await bot.imagine("a red boat")
        await bot.done(first)
        await settled(bot)
        assert [m["id"] for m in await bot.posted()] == [first["id"]]


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_new_message_is_posted_once_even_when_its_answer_is_lost(tmp_path, drop):
    async with sandboxed_bot(tmp_path, **ALWAYS_NEW) as bot:
        await bot.control.fault("POST", "/channels/*/messages", drop=drop, times=2)
        first = await bot.imagine("a red boat")
        await settled(bot)
        await bot.until(first, deleted=True)
        assert len(await bot.posted()) == 1


@pytest.mark.parametrize("others", [0, 130])
async def test_a_new_message_is_found_again_after_a_crash_when_its_nonce_has_long_expired(tmp_path, others):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as bot:
            await bot.control.fault("POST", "/channels/*/messages", drop="after", times=1)
            await bot.control.fault("GET", "/channels/*/messages", drop="before", times=100)
            await bot.parts.services.scheduler.pause()
            await bot.imagine("a red boat")
            for number in range(others):
                await bot.control.say(as_="bob", channel="general", content=f"{number}")
            await bot.parts.services.scheduler.resume()
            await results(bot)  # it is there, and the bot does not know it
        await sandbox.control.clear_faults()
        for message in sandbox.inside.world.all("message"):
            sandbox.inside.world.put("message", message["id"], message | {"nonce": None})
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as bot:
            await settled(bot)
            (only,) = await bot.posted()
            assert (await bot.job(only)).where.message == only["id"]


async def test_when_the_first_answer_is_lost_on_its_way_back_its_message_is_found_by_the_token(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.fault("POST", ANSWER, drop="after", times=1)
        await bot.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a red boat"})
        (done,) = await results(bot)
        await settled(bot)
        assert len(await bot.control.messages(as_="alice", channel="general")) == 1
        assert (await bot.job(done)).where.message == done["id"]


async def test_when_the_first_answer_never_arrives_the_result_comes_as_a_new_message(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.limits(ack_ms=500)
        await bot.control.fault("POST", ANSWER, drop="before", times=1)
        await bot.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a red boat"})
        (done,) = await results(bot)
        assert [user["username"] for user in done["mentions"]] == ["alice"]


async def test_a_deleted_progress_message_does_not_stop_the_result(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50") as bot:
        first = await bot.imagine("a red boat", as_="carol")
        await bot.until(first, content_contains="%")
        await bot.control.delete(as_="alice", message=first["id"])
        (new,) = await results(bot)
        assert new["id"] != first["id"] and [u["username"] for u in new["mentions"]] == ["carol"]


async def test_a_cancelled_job_whose_message_was_deleted_says_nothing_more(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 100") as bot:
        first = await bot.imagine("a red boat --steps 100")
        await bot.until(first, content_contains="%")
        await bot.control.delete(as_="alice", message=first["id"])
        await bot.parts.services.scheduler.cancel((await bot.job(first)).id)
        await settled(bot)
        assert await bot.control.messages(as_="bob", channel="general") == []


async def test_when_the_channel_is_deleted_the_result_comes_as_a_direct_message(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50") as bot:
        channel = await bot.control.create("channels", name="short-lived")
        first = await bot.imagine("a red boat", as_="dave", channel="short-lived")
        await bot.until(first, as_="dave", content_contains="%")
        await bot.control.remove("channels", channel["id"])
        (direct,) = await results(bot, channel="dm", as_="dave")
        assert "could not be posted" in direct["content"]
        assert (await bot.press(direct, "U1", as_="dave"))["channel_id"] == direct["channel_id"]
        await settled(bot)
        about = await bot.press(direct, "ⓘ", as_="dave")
        await bot.control.press(as_="dave", message=about["id"], label="Delete")
        await bot.until(direct, as_="dave", deleted=True)


async def test_a_channel_that_takes_nothing_for_a_while_holds_up_no_result_of_another(tmp_path):
    many = {"DARKROOM_WAITING": "50", "DARKROOM_RUNNING": "20"}
    async with sandboxed_bot(tmp_path, "--step-ms 5", **ALWAYS_NEW, **many) as bot:
        slow = await bot.control.create("channels", name="slow")
        await bot.control.fault("POST", f"/channels/{slow['id']}/messages", times=40, status=429, retry_after=30)
        for number in range(35):
            await bot.imagine(f"a red boat {number} --steps 1 --count 1", channel="slow")
        await eventually(lambda: _refusals(bot, slow["id"]))
        await bot.imagine("a red boat")
        assert len(await results(bot, timeout_ms=8_000)) == 1


async def _refusals(bot, channel):
    return [r for r in await bot.requests("POST", f"/{channel}/messages") if r["status"] == 429]


async def test_when_direct_messages_are_closed_too_info_says_so_until_it_is_taken_off_the_list(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50") as bot:
        dave = next(m for g in (await bot.control.state())["guilds"] for m in g["members"] if m["name"] == "dave")
        await bot.control.change("members", dave["id"], dms_open=False)
        channel = await bot.control.create("channels", name="short-lived")
        first = await bot.imagine("a red boat", as_="dave", channel="short-lived")
        await bot.until(first, as_="dave", content_contains="%")
        await bot.control.remove("channels", channel["id"])
        await settled(bot)
        await bot.answer("info", as_="dave")
        told = await bot.answer("info", as_="dave")
        assert "Not posted" in told["content"] and "a red boat" in told["content"]
        cleared = await bot.control.press(as_="dave", message=told["id"], label="Take these off the list")
        assert "Not posted" not in cleared["response"]["message"]["content"]
        assert "Not posted" not in (await bot.answer("info", as_="dave"))["content"]


async def test_an_expired_token_is_noticed_and_the_channel_takes_over(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 1.2", pause=1) as bot:
        await bot.control.limits(token_seconds=1)
        first = await bot.imagine("a red boat")
        done = await bot.done(first)
        assert done["attachments"] and len(await bot.posted()) == 1
        assert await bot.requests("PATCH", f"/channels/{first['channel_id']}/messages/{first['id']}")


async def quiet_channel(bot):
    """A channel in which commands work and the bot may not send."""
    channel = await bot.control.create("channels", name="quiet")
    deny = {"darkroom": {"deny": ["send_messages"], "allow": 0}}
    await bot.control.change("channels", channel["id"], permissions=deny)
    return channel


async def test_where_the_bot_may_not_send_the_result_comes_in_the_message_that_showed_the_progress(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 10") as bot:
        await quiet_channel(bot)
        first = await bot.imagine("a red boat --relax", channel="quiet")
        (shown,) = await results(bot, channel="quiet")
        assert shown["id"] == first["id"] and shown["attachments"]
        await settled(bot)
        assert (await bot.job(shown)).charged_ms == 0


async def test_a_lost_permission_is_waited_out(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 30", DARKROOM_NEW_MESSAGE_AFTER="0") as bot:
        channel = await quiet_channel(bot)
        first = await bot.imagine("a red boat", channel="quiet")
        await bot.control.delete(as_="bob", message=first["id"])

        async def refused():
            return [r for r in await bot.requests("POST", f"/{channel['id']}/messages") if r["status"] == 403]

        await eventually(refused)
        assert await bot.posted("quiet") == []
        await bot.control.change("channels", channel["id"], permissions={"darkroom": None})
        assert len(await results(bot, channel="quiet")) == 1


async def test_a_thread_that_is_archived_meanwhile_is_opened_by_the_result_and_tidied(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50") as bot:
        thread = await bot.control.create("channels", name="side talk", type="thread", parent="general")
        first = await bot.imagine("a red boat", channel="side talk")
        await bot.until(first, content_contains="%")
        await bot.control.change("channels", thread["id"], archived=True)
        assert len(await results(bot, channel="side talk")) == 1
        await bot.until(first, deleted=True)


async def test_a_grid_that_is_too_large_goes_down_the_ladder(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.limits(upload_bytes=1200)
        done = await bot.done(await bot.imagine("a red boat"))
        (file,) = done["attachments"]
        assert file["filename"].endswith(".webp") and file["size"] <= 1200
        job = await bot.job(done)
        assert (await bot.parts.services.images.read(job.id, 0)).startswith(b"\x89PNG")


async def test_a_result_that_no_rung_makes_small_enough_is_told_without_the_bot_trying_for_ever(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.control.limits(upload_bytes=10)
        first = await bot.imagine("a red boat")
        await settled(bot)
        shown = await bot.until(first, content_contains="could not be posted here: `/info` has it")
        assert "Cancel" not in labels(shown) and not shown["attachments"]
        assert "Not posted" in (await bot.answer("info"))["content"]


async def test_a_result_whose_pictures_were_lost_meanwhile_says_so_and_u_draws_one_again(tmp_path, monkeypatch):
    async with sandboxed_bot(tmp_path) as bot:
        pictures = bot.parts.services.images
        results = pictures.results

        async def lost_at_the_last_moment(job):
            await pictures.forget(job)
            return await results(job)

        monkeypatch.setattr(pictures, "results", lost_at_the_last_moment)
        shown = await bot.done(await bot.imagine("a red boat --steps 2"))
        assert "deleted or damaged before they could be shown" in shown["content"] and not shown["attachments"]
        upscaled = await bot.done(await bot.press(shown, "U1"))
        assert len(upscaled["attachments"]) == 1


async def test_a_disk_that_is_away_for_a_moment_delays_a_result_and_none_of_it_is_lost(tmp_path, monkeypatch, caplog):
    really, refusals = Path.read_bytes, iter(range(2))

    def read_bytes(path):
        if path.suffix == ".png" and next(refusals, None) is not None:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    async with sandboxed_bot(tmp_path) as bot:
        shown = await bot.done(await bot.imagine("a red boat --steps 2"))
        assert shown["attachments"] and "before they could be shown" not in shown["content"]
        assert next(refusals, None) is None
    assert "error of our own" not in caplog.text


async def test_a_failed_job_says_why_and_that_it_was_free(tmp_path):
    async with sandboxed_bot(tmp_path, "--error boat:3") as bot:
        done = await bot.done(await bot.imagine("a red boat"))
        assert "Not made: The picture does not fit." in done["content"] and "Nothing was charged" in done["content"]
        assert labels(done) == ["🔄", "ⓘ"]
        assert (await bot.job(done)).charged_ms == 0


async def test_edits_wait_for_discords_own_bucket_and_the_result_still_arrives(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 40") as bot:
        await bot.control.limits(buckets={EDITS: [2, 1.0]})
        await bot.done(await bot.imagine("a red boat"))
        assert len(await bot.posted()) == 1


@pytest.mark.parametrize(
    ("changes", "now", "way"),
    [
        ({"finished_at": NOW + 30}, NOW + 31, Way.EDIT),
        ({"finished_at": NOW + 90}, NOW + 91, Way.NEW),
        ({"finished_at": NOW + 30}, NOW + 3600, Way.NEW),  # nobody looks at that message any more
        ({"finished_at": NOW + 30, "lane": Lane.RELAX}, NOW + 31, Way.NEW),
        ({"finished_at": NOW + 900, "state": State.CANCELLED}, NOW + 901, Way.EDIT),
        ({"finished_at": NOW + 90, "state": State.FAILED}, NOW + 91, Way.NEW),
    ],
)
def test_what_ends_late_comes_as_a_new_message_because_edits_notify_nobody(changes, now, way):
    none: Any = None
    loop = ResultDelivery(
        none, none, none, none, none, none, none, none, none, none, DeliveryTimes(new_after=60), clock=lambda: now
    )
    assert loop._way(a_job(**{"state": State.DONE} | changes)) is way
