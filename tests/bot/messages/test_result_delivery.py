"""Results reach Discord exactly once, whatever goes wrong on the way: against the sandbox, with real discord.py."""

from typing import Any

import pytest

from bot.messages.result_delivery import DeliveryTimes, ResultDelivery
from core.job import Lane, State
from storage.outbox import Way
from tests.bot.samples import NOW, a_job
from tests.harness.darkroom import EDITS, darkroom, eventually, labels, running_bot
from tests.harness.sandbox import running_sandbox

ANSWER = "/interactions/*/*/callback"
ALWAYS_NEW = {"DARKROOM_NEW_MESSAGE_AFTER": "0"}


async def results(room, *, channel="general", as_="alice", timeout_ms=15_000):
    """The finished pictures once there is at least one."""
    await room.control.wait(as_=as_, channel=channel, button="ⓘ", timeout_ms=timeout_ms)
    return await room.posted(channel, as_=as_)


async def settled(room):
    """Waits until every job has ended and Discord was told, or cannot be told."""
    services = room.parts.services

    async def told():
        return not await services.jobs.live() and await services.outbox.next_due() is None

    await eventually(told)


async def test_a_long_job_comes_as_a_new_message_that_mentions_only_who_asked(tmp_path):
    async with darkroom(tmp_path, "--step-ms 20", **ALWAYS_NEW) as room:
        first = await room.imagine("a red boat for <@1> and @everyone")
        (new,) = await results(room)
        assert new["id"] != first["id"] and labels(new)[0] == "U1"
        await settled(room)
        job = await room.job(new)
        assert [user["id"] for user in new["mentions"]] == [job.user] and not new["mention_everyone"]
        await room.until(first, deleted=True)
        assert job.where.message == new["id"]


async def test_a_relax_job_comes_as_a_new_message_however_quick_it_was(tmp_path):
    async with darkroom(tmp_path) as room:
        first = await room.imagine("a red boat --relax")
        await room.until(first, deleted=True)
        (new,) = await results(room)
        assert new["mentions"] and "relax" in new["content"]
        await room.press(new, "U1")


@pytest.mark.parametrize("left_behind", [0, 1000])
async def test_a_result_that_came_as_a_new_message_can_be_deleted(tmp_path, left_behind):
    async with darkroom(tmp_path) as room:
        if left_behind:
            await room.control.fault("DELETE", "/webhooks/**", drop="before", times=left_behind)
        first = await room.imagine("a red boat --relax")
        (new,) = await results(room)
        delivered, job = room.parts.services.outbox, await room.job(first)

        async def told():
            return (await delivered.get(job.id)).message

        await eventually(told)
        await room.control.clear_faults()
        about = await room.press(new, "ⓘ")
        await room.control.press(as_="alice", message=about["id"], label="Delete")
        await room.until(new, deleted=True)
        await room.until(first, deleted=True)


async def test_a_progress_message_that_could_not_be_deleted_goes_a_little_later(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.fault("DELETE", "/webhooks/**", drop="before", times=2)
        first = await room.imagine("a red boat --relax")
        await room.until(first, deleted=True)
        await settled(room)
        (new,) = await room.posted()
        assert (await room.job(new)).where.message == new["id"]
        assert len(await room.requests("POST", "/channels/")) == 1


async def test_a_progress_message_left_behind_is_deleted_by_the_next_life_and_nothing_is_posted_twice(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as room:
            await room.control.fault("DELETE", "/webhooks/**", drop="before", times=1000)
            first = await room.imagine("a red boat")
            services = room.parts.services
            job = (await room.job(first)).id

            async def left_behind():
                delivery = await services.outbox.get(job)
                return delivery is not None and delivery.message

            await eventually(left_behind)
            await room.imagine("a blue boat", as_="bob")

            async def both():
                return len(await room.posted()) == 2

            await eventually(both)
        await sandbox.control.clear_faults()
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as room:
            await room.until(first, deleted=True)
            await settled(room)
            assert [m["content"].split("**")[1] for m in await room.posted()] == ["a red boat", "a blue boat"]


async def test_rate_limits_delay_a_result_and_nothing_else(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.fault("PATCH", "/webhooks/**", status=429, retry_after=0.3, times=3)
        first = await room.imagine("a red boat")
        await room.done(first)
        assert len(await room.posted()) == 1


async def test_a_server_error_on_the_last_edit_is_tried_again(tmp_path):
    async with darkroom(tmp_path, "--load-seconds 1") as room:
        first = await room.imagine("a red boat --steps 2")
        await room.control.fault("PATCH", "/webhooks/**", status=500, times=1)
        await room.done(first)
        assert len(await room.posted()) == 1


async def test_a_result_whose_edit_arrived_but_whose_answer_was_lost_stays_one_message(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.fault("PATCH", "/webhooks/**", drop="after", times=2)
        first = await room.imagine("a red boat")
        await room.done(first)
        await settled(room)
        assert [m["id"] for m in await room.posted()] == [first["id"]]


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_new_message_is_posted_once_even_when_its_answer_is_lost(tmp_path, drop):
    async with darkroom(tmp_path, **ALWAYS_NEW) as room:
        await room.control.fault("POST", "/channels/*/messages", drop=drop, times=2)
        first = await room.imagine("a red boat")
        await settled(room)
        await room.until(first, deleted=True)
        assert len(await room.posted()) == 1


@pytest.mark.parametrize("others", [0, 130])
async def test_a_new_message_is_found_again_after_a_crash_when_its_nonce_has_long_expired(tmp_path, others):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as room:
            await room.control.fault("POST", "/channels/*/messages", drop="after", times=1)
            await room.control.fault("GET", "/channels/*/messages", drop="before", times=100)
            await room.parts.services.scheduler.pause()
            await room.imagine("a red boat")
            for number in range(others):
                await room.control.say(as_="bob", channel="general", content=f"{number}")
            await room.parts.services.scheduler.resume()
            await results(room)  # it is there, and the bot does not know it
        await sandbox.control.clear_faults()
        for message in sandbox.inside.world.all("message"):
            sandbox.inside.world.put("message", message["id"], message | {"nonce": None})
        async with running_bot(sandbox, tmp_path / "data", **ALWAYS_NEW) as room:
            await settled(room)
            (only,) = await room.posted()
            assert (await room.job(only)).where.message == only["id"]


async def test_when_the_first_answer_is_lost_on_its_way_back_its_message_is_found_by_the_token(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.fault("POST", ANSWER, drop="after", times=1)
        await room.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a red boat"})
        (done,) = await results(room)
        await settled(room)
        assert len(await room.control.messages(as_="alice", channel="general")) == 1
        assert (await room.job(done)).where.message == done["id"]


async def test_when_the_first_answer_never_arrives_the_result_comes_as_a_new_message(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.limits(ack_ms=500)
        await room.control.fault("POST", ANSWER, drop="before", times=1)
        await room.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a red boat"})
        (done,) = await results(room)
        assert [user["username"] for user in done["mentions"]] == ["alice"]


async def test_a_deleted_progress_message_does_not_stop_the_result(tmp_path):
    async with darkroom(tmp_path, "--step-ms 50") as room:
        first = await room.imagine("a red boat", as_="carol")
        await room.until(first, content_contains="%")
        await room.control.delete(as_="alice", message=first["id"])
        (new,) = await results(room)
        assert new["id"] != first["id"] and [u["username"] for u in new["mentions"]] == ["carol"]


async def test_a_cancelled_job_whose_message_was_deleted_says_nothing_more(tmp_path):
    async with darkroom(tmp_path, "--step-ms 100") as room:
        first = await room.imagine("a red boat --steps 100")
        await room.until(first, content_contains="%")
        await room.control.delete(as_="alice", message=first["id"])
        await room.parts.services.scheduler.cancel((await room.job(first)).id)
        await settled(room)
        assert await room.control.messages(as_="bob", channel="general") == []


async def test_when_the_channel_is_deleted_the_result_comes_as_a_direct_message(tmp_path):
    async with darkroom(tmp_path, "--step-ms 50") as room:
        channel = await room.control.create("channels", name="short-lived")
        first = await room.imagine("a red boat", as_="dave", channel="short-lived")
        await room.until(first, as_="dave", content_contains="%")
        await room.control.remove("channels", channel["id"])
        (direct,) = await results(room, channel="dm", as_="dave")
        assert "could not be posted" in direct["content"]
        assert (await room.press(direct, "U1", as_="dave"))["channel_id"] == direct["channel_id"]
        await settled(room)
        about = await room.press(direct, "ⓘ", as_="dave")
        await room.control.press(as_="dave", message=about["id"], label="Delete")
        await room.until(direct, as_="dave", deleted=True)


async def test_a_channel_that_takes_nothing_for_a_while_holds_up_no_result_of_another(tmp_path):
    many = {"DARKROOM_WAITING": "50", "DARKROOM_RUNNING": "20"}
    async with darkroom(tmp_path, "--step-ms 5", **ALWAYS_NEW, **many) as room:
        slow = await room.control.create("channels", name="slow")
        await room.control.fault("POST", f"/channels/{slow['id']}/messages", times=40, status=429, retry_after=30)
        for number in range(35):
            await room.imagine(f"a red boat {number} --steps 1 --count 1", channel="slow")
        await eventually(lambda: _refusals(room, slow["id"]))
        await room.imagine("a red boat")
        assert len(await results(room, timeout_ms=8_000)) == 1


async def _refusals(room, channel):
    return [r for r in await room.requests("POST", f"/{channel}/messages") if r["status"] == 429]


async def test_when_direct_messages_are_closed_too_the_next_info_says_so_once(tmp_path):
    async with darkroom(tmp_path, "--step-ms 50") as room:
        dave = next(m for g in (await room.control.state())["guilds"] for m in g["members"] if m["name"] == "dave")
        await room.control.change("members", dave["id"], dms_open=False)
        channel = await room.control.create("channels", name="short-lived")
        first = await room.imagine("a red boat", as_="dave", channel="short-lived")
        await room.until(first, as_="dave", content_contains="%")
        await room.control.remove("channels", channel["id"])
        await settled(room)
        told = await room.answer("info", as_="dave")
        assert "Not posted" in told["content"] and "a red boat" in told["content"]
        assert "Not posted" not in (await room.answer("info", as_="dave"))["content"]


async def test_an_expired_token_is_noticed_and_the_channel_takes_over(tmp_path):
    async with darkroom(tmp_path, "--load-seconds 1.2", pause=1) as room:
        await room.control.limits(token_seconds=1)
        first = await room.imagine("a red boat")
        done = await room.done(first)
        assert done["attachments"] and len(await room.posted()) == 1
        assert await room.requests("PATCH", f"/channels/{first['channel_id']}/messages/{first['id']}")


async def quiet_channel(room):
    """A channel in which commands work and the bot may not send."""
    channel = await room.control.create("channels", name="quiet")
    deny = {"darkroom": {"deny": ["send_messages"], "allow": 0}}
    await room.control.change("channels", channel["id"], permissions=deny)
    return channel


async def test_where_the_bot_may_not_send_the_result_comes_in_the_message_that_showed_the_progress(tmp_path):
    async with darkroom(tmp_path, "--step-ms 10") as room:
        await quiet_channel(room)
        first = await room.imagine("a red boat --relax", channel="quiet")
        (shown,) = await results(room, channel="quiet")
        assert shown["id"] == first["id"] and shown["attachments"]
        await settled(room)
        assert (await room.job(shown)).charged_ms == 0


async def test_a_lost_permission_is_waited_out(tmp_path):
    async with darkroom(tmp_path, "--step-ms 30", DARKROOM_NEW_MESSAGE_AFTER="0") as room:
        channel = await quiet_channel(room)
        first = await room.imagine("a red boat", channel="quiet")
        await room.control.delete(as_="bob", message=first["id"])

        async def refused():
            return [r for r in await room.requests("POST", f"/{channel['id']}/messages") if r["status"] == 403]

        await eventually(refused)
        assert await room.posted("quiet") == []
        await room.control.change("channels", channel["id"], permissions={"darkroom": None})
        assert len(await results(room, channel="quiet")) == 1


async def test_a_thread_that_is_archived_meanwhile_is_opened_by_the_result_and_tidied(tmp_path):
    async with darkroom(tmp_path, "--step-ms 50") as room:
        thread = await room.control.create("channels", name="side talk", type="thread", parent="general")
        first = await room.imagine("a red boat", channel="side talk")
        await room.until(first, content_contains="%")
        await room.control.change("channels", thread["id"], archived=True)
        assert len(await results(room, channel="side talk")) == 1
        await room.until(first, deleted=True)


async def test_a_grid_that_is_too_large_goes_down_the_ladder(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.limits(upload_bytes=1200)
        done = await room.done(await room.imagine("a red boat"))
        (file,) = done["attachments"]
        assert file["filename"].endswith(".webp") and file["size"] <= 1200
        job = await room.job(done)
        assert (await room.parts.services.images.read(job.id, 0)).startswith(b"\x89PNG")


async def test_a_result_that_no_rung_makes_small_enough_is_told_without_the_bot_trying_for_ever(tmp_path):
    async with darkroom(tmp_path) as room:
        await room.control.limits(upload_bytes=10)
        first = await room.imagine("a red boat")
        await settled(room)
        shown = await room.until(first, content_contains="could not be posted here: `/info` has it")
        assert "Cancel" not in labels(shown) and not shown["attachments"]
        assert "Not posted" in (await room.answer("info"))["content"]


async def test_a_result_whose_pictures_were_lost_meanwhile_says_so_and_u_draws_one_again(tmp_path, monkeypatch):
    async with darkroom(tmp_path) as room:
        pictures = room.parts.services.images
        results = pictures.results

        async def lost_at_the_last_moment(job):
            await pictures.forget(job)
            return await results(job)

        monkeypatch.setattr(pictures, "results", lost_at_the_last_moment)
        shown = await room.done(await room.imagine("a red boat --steps 2"))
        assert "deleted before they could be shown" in shown["content"] and not shown["attachments"]
        upscaled = await room.done(await room.press(shown, "U1"))
        assert len(upscaled["attachments"]) == 1


async def test_a_failed_job_says_why_and_that_it_was_free(tmp_path):
    async with darkroom(tmp_path, "--error boat:3") as room:
        done = await room.done(await room.imagine("a red boat"))
        assert "Not made: The picture does not fit." in done["content"] and "Nothing was charged" in done["content"]
        assert labels(done) == ["🔄", "ⓘ"]
        assert (await room.job(done)).charged_ms == 0


async def test_edits_wait_for_discords_own_bucket_and_the_result_still_arrives(tmp_path):
    async with darkroom(tmp_path, "--step-ms 40") as room:
        await room.control.limits(buckets={EDITS: [2, 1.0]})
        await room.done(await room.imagine("a red boat"))
        assert len(await room.posted()) == 1


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
