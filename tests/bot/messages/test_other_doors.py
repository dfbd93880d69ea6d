"""A result that its place does not take is told by another door soon; a refused answer takes its job back."""

import pytest

from bot.messages import result_delivery
from core.job import State
from tests.bot.messages.refused_channels import hidden, late, told_at_once
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot

ANSWER = "/interactions/*/*/callback"
ALWAYS_NEW = {"DARKROOM_NEW_MESSAGE_AFTER": "0"}


async def of(bot, job):
    """A job's row of the outbox, once it is there."""

    async def there():
        return await bot.parts.services.outbox.get(job.id)

    return await eventually(there)


async def test_a_result_whose_channel_cannot_be_seen_comes_as_one_direct_message_and_is_still_tried(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(result_delivery, "_backoff", lambda _tries: 0.05)
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        told_at_once(bot)
        channel, job = await hidden(bot, "a red boat")
        await bot.control.wait(as_="dave", channel="dm", button="ⓘ", timeout_ms=15_000)
        (direct,) = await bot.posted("dm", as_="dave")
        assert "could not be posted" in direct["content"] and direct["attachments"]
        tries = (await of(bot, job)).tries

        async def tried_again():
            return (await of(bot, job)).tries > tries + 1

        await eventually(tried_again)
        assert len(await bot.requests("POST", f"/channels/{direct['channel_id']}/messages")) == 1
        assert (await of(bot, job)).state == "pending"
        await bot.control.change("channels", channel["id"], permissions={"darkroom": None})
        await bot.control.wait(as_="dave", channel="hidden", button="ⓘ", timeout_ms=15_000)
        assert len(await bot.posted("dm", as_="dave")) == 1


@pytest.mark.parametrize("quick", [True, False])
async def test_a_card_that_can_still_be_changed_says_where_the_result_is_and_that_it_has_ended(
    tmp_path, monkeypatch, quick
):
    monkeypatch.setattr(result_delivery, "_backoff", lambda _tries: 0.05)
    async with sandboxed_bot(tmp_path, "--step-ms 50", **({} if quick else ALWAYS_NEW)) as bot:
        told_at_once(bot)
        channel = await bot.control.create("channels", name="no files")
        await bot.control.limits(token_seconds=0.2)
        first = await bot.imagine("a red boat", as_="dave", channel="no files")
        await bot.until(first, as_="dave", content_contains="%")
        await bot.control.change("channels", channel["id"], permissions={"darkroom": {"deny": ["attach_files"]}})
        shown = await bot.until(first, as_="dave", content_contains="could not be posted here: it came as a direct")
        assert labels(shown) == [] and "%" not in shown["content"]
        assert (await of(bot, await bot.job(first))).state == "pending"
        await bot.control.change("channels", channel["id"], permissions={"darkroom": None})

        async def posted():
            return await bot.posted("no files", as_="dave")

        (there,) = await eventually(posted)
        assert (there["id"] == first["id"]) is quick and "could not be posted" not in there["content"]


async def test_a_card_whose_words_are_refused_by_now_says_at_least_where_the_result_is(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        first = await bot.imagine("a red boat", as_="dave")
        route = f"/channels/{first['channel_id']}/messages"
        await bot.control.fault("POST", route, status=400, code=200000, delay_ms=1000)
        job = await bot.job(first)

        async def on_its_way():
            delivery = await bot.parts.services.outbox.get(job.id)
            return delivery is not None and delivery.tries

        await eventually(on_its_way)
        await bot.control.fault("PATCH", "/webhooks/**", status=400, code=200000)
        shown = await bot.until(first, as_="dave", content_contains="could not be posted here")
        assert "Cancel" not in labels(shown) and "red boat" not in shown["content"]


async def test_a_quick_result_that_was_refused_until_nobody_looked_any_more_comes_as_a_new_message(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_NEW_MESSAGE_AFTER="2") as bot:
        await bot.control.fault("PATCH", "/webhooks/**", status=403, page=True, times=1000)
        first = await bot.imagine("a red boat", as_="dave")
        job = await bot.job(first)

        async def tried_in_vain():
            delivery = await bot.parts.services.outbox.get(job.id)
            now = bot.parts.services.clock()
            return delivery is not None and delivery.tries and now - job.created_at > 2

        await eventually(tried_in_vain)
        await bot.control.clear_faults()
        await bot.until(first, as_="dave", deleted=True)
        (new,) = await bot.posted()
        assert [user["username"] for user in new["mentions"]] == ["dave"]


async def test_where_direct_messages_are_closed_info_has_the_pictures_while_the_channel_is_tried(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        told_at_once(bot)
        dave = next(m for g in (await bot.control.state())["guilds"] for m in g["members"] if m["name"] == "dave")
        await bot.control.change("members", dave["id"], dms_open=False)
        channel, job = await hidden(bot, "a red boat")
        assert (await late(bot, job)).state == "pending"
        told = await bot.answer("info", as_="dave")
        assert "Not posted" in told["content"] and labels(told)[0] == "a red boat U1"
        assert not (await bot.press(told, "a red boat U1", as_="dave"))["ephemeral"]
        await bot.control.change("channels", channel["id"], permissions={"darkroom": None})

        async def posted():
            return (await of(bot, job)).is_posted

        await eventually(posted)
        assert "Not posted" not in (await bot.answer("info", as_="dave"))["content"]


async def test_a_result_of_a_server_that_threw_the_bot_out_ends_as_a_direct_message(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        guild = await bot.control.create("guilds", name="elsewhere", owner="alice")
        channel = next(c["id"] for c in guild["channels"])
        await eventually(lambda: _is_in(bot, guild))
        await bot.control.limits(token_seconds=0.2)
        first = await bot.imagine("a red boat", as_="dave", channel=channel)
        job = await bot.job(first)
        await bot.until(first, as_="dave", content_contains="%")
        bot_user = str(bot.client.user.id)
        await bot.control.remove("members", bot_user, guild=guild["id"])
        await bot.control.wait(as_="dave", channel="dm", button="ⓘ", timeout_ms=15_000)

        async def ended():
            return (await of(bot, job)).state == "undeliverable"

        await eventually(ended)


async def _is_in(bot, guild):
    return bot.client.get_guild(int(guild["id"])) is not None


async def test_a_direct_message_that_reaches_nobody_any_more_ends_and_info_has_it(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        await bot.control.create("channels", type="dm", name="dave")
        await bot.control.fault("POST", "/channels/*/messages", status=403, code=50278, times=1000)
        await bot.control.fault("PATCH", "/**", status=403, code=50278, times=1000)
        first = await bot.imagine("a red boat", as_="dave", channel="dm")
        job = await bot.job(first)

        async def ended():
            return (await of(bot, job)).state == "undeliverable"

        await eventually(ended)
        assert "Not posted" in (await bot.answer("info", as_="dave"))["content"]


async def test_a_page_in_between_that_says_not_found_ends_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(result_delivery, "_backoff", lambda _tries: 0.05)
    async with sandboxed_bot(tmp_path, **ALWAYS_NEW) as bot:
        await bot.control.fault("POST", "/channels/*/messages", status=408, page=True, times=1)
        await bot.control.fault("POST", "/channels/*/messages", status=404, times=1)
        await bot.control.fault("POST", "/channels/*/messages", status=403, times=1)
        first = await bot.imagine("a red boat")
        await bot.control.wait(as_="alice", channel="general", button="ⓘ", timeout_ms=15_000)
        (new,) = await bot.posted()
        assert new["id"] != first["id"], "none of them was taken for Discord's own refusal"


@pytest.mark.parametrize("running", [False, True], ids=["waiting", "running"])
async def test_a_first_answer_that_is_refused_for_good_takes_the_job_back_for_free(tmp_path, running):
    async with sandboxed_bot(tmp_path, "--step-ms 100" if running else "--load-seconds 60") as bot:
        await bot.control.fault("POST", ANSWER, status=400, code=200000, delay_ms=1500 if running else 0)
        answering = bot.control.command(
            as_="dave", channel="general", name="imagine", options={"prompt": "a red boat --steps 100"}
        )
        await answering
        (row,) = await bot.parts.services.db.read("SELECT id FROM job")

        async def ended():
            job = await bot.parts.services.jobs.get(row["id"])
            return job.is_final and job

        job = await eventually(ended)
        assert (job.state, job.charged_ms, job.attempt) == (State.FAILED, 0, int(running))
        said = await bot.control.wait(as_="dave", channel="general", content_contains="taken back", timeout_ms=15_000)
        assert [user["username"] for user in said["mentions"]] == ["dave"]


@pytest.mark.parametrize(
    ("denied", "said"), [("view_channel", "cannot see"), ("attach_files", "may not attach"), ("send_messages", "")]
)
async def test_what_may_keep_a_result_from_its_channel_is_said_with_the_first_answer(tmp_path, denied, said):
    async with sandboxed_bot(tmp_path) as bot:
        channel = await bot.control.create("channels", name="quiet")
        await bot.control.change("channels", channel["id"], permissions={"darkroom": {"deny": [denied]}})
        first = await bot.imagine("a red boat", as_="dave", channel="quiet")
        assert (
            not first["ephemeral"] and (said in first["content"]) and ("15 minutes" in first["content"]) is bool(said)
        )
        done = await bot.done(first, as_="dave")
        assert done["attachments"]


async def test_without_the_right_to_read_the_history_a_relaxed_variation_comes_as_a_new_message_that_pings(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        channel = await bot.control.create("channels", name="no history")
        deny = {"darkroom": {"deny": ["read_message_history"]}}
        await bot.control.change("channels", channel["id"], permissions=deny)
        grid = await bot.done(await bot.imagine("a red boat", as_="dave", channel="no history"), as_="dave")
        await bot.answer("relax", as_="dave")
        first = await bot.press(grid, "V1", as_="dave")
        await bot.until(first, as_="dave", deleted=True)

        async def both():
            found = await bot.posted("no history", as_="dave")
            return len(found) == 2 and found

        new = (await eventually(both))[-1]
        assert new["id"] != first["id"] and [user["username"] for user in new["mentions"]] == ["dave"]


async def test_a_progress_message_that_may_not_be_removed_points_at_the_result_and_has_no_cancel(tmp_path):
    async with sandboxed_bot(tmp_path, **ALWAYS_NEW) as bot:
        await bot.control.fault("DELETE", "/webhooks/**", status=403, code=50013, times=1000)
        first = await bot.imagine("a red boat")
        shown = await bot.until(first, content_contains="Its result: https://discord.com/channels/")
        assert labels(shown) == [] and not shown["attachments"]
        (new,) = await bot.posted()
        assert shown["content"].endswith(f"/{new['id']}")


async def test_a_progress_message_that_cannot_be_removed_for_long_points_at_the_result_in_the_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(result_delivery, "_TIDY_TRIES", 1)
    async with sandboxed_bot(tmp_path, **ALWAYS_NEW) as bot:
        await bot.control.fault("DELETE", "/webhooks/**", drop="before", times=1000)
        first = await bot.imagine("a red boat")
        job = await bot.job(first)
        shown = await bot.until(first, content_contains="Its result: https://discord.com/channels/")
        assert labels(shown) == []

        async def posted():
            return (await of(bot, job)).is_posted

        await eventually(posted)


async def test_what_was_found_late_before_a_restart_is_still_told_after_it(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", "--step-ms 50", **ALWAYS_NEW) as bot:
            told_at_once(bot)
            await sandbox.control.fault("POST", "/users/@me/channels", status=403, code=50007, times=1000)
            _, job = await hidden(bot, "a red boat")
            await late(bot, job)
        async with running_bot(sandbox, tmp_path / "data") as bot:
            assert "Not posted" in (await bot.answer("info", as_="dave"))["content"]


async def test_cancel_under_a_job_that_could_not_be_posted_says_where_its_result_is(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 50", **ALWAYS_NEW) as bot:
        told_at_once(bot)
        _, job = await hidden(bot, "a red boat")

        async def told():
            return (await of(bot, job)).told_message

        await eventually(told)
        (shown,) = await bot.control.messages(as_="dave", channel="hidden")
        said = await bot.press(shown, "Cancel", as_="dave")
        assert "already ended" in said["content"] and "direct message" in said["content"]
