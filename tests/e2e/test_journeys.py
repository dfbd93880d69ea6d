"""What a member does in a day, with the real bot and real discord.py in the sandbox; a fake worker draws."""

import io

import pytest
from PIL import Image

from tests.harness.control_client import ControlRefused
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import SINGLE, labels, running_bot, sandboxed_bot

GRID = ["U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4", "ⓘ"]


async def test_a_prompt_becomes_a_grid_in_its_own_message(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 30") as bot:
        first = await bot.imagine("a red boat --ar 3:2 --seed 7")
        assert first["content"].startswith("**a red boat** · <@")
        assert "320×224 · 20 steps · seed 7 · fast" in first["content"]
        assert labels(first) == ["Cancel"] and not first["ephemeral"]
        done = await bot.done(first)
        assert labels(done) == GRID
        picture = await bot.control.download(done["attachments"][0]["url"])
        assert Image.open(io.BytesIO(picture)).size == (640, 448)
        assert done["attachments"][0]["filename"].startswith("a-red-boat-")
        assert [m["id"] for m in await bot.posted()] == [first["id"]]


async def test_a_picture_develops_in_steps_with_a_preview_attached(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 60 --preview-every 4") as bot:
        done = await bot.done(await bot.imagine("a red boat"))
        seen = [(h["content"].splitlines()[-1], len(h["attachments"])) for h in done["history"]]
        developing = [line for line, files in seen if "%" in line and files == 1]
        assert len(developing) >= 3, seen
        shares = [int(line.split(" %")[0]) for line in developing]
        assert shares == sorted(shares)


@pytest.mark.parametrize(("count", "size"), [(1, (256, 256)), (2, (512, 256)), (3, (768, 256))])
async def test_fewer_pictures_have_fewer_buttons(tmp_path, count, size):
    async with sandboxed_bot(tmp_path) as bot:
        done = await bot.done(await bot.imagine(f"a red boat --count {count}"))
        wanted = [label for label in GRID if label[0] not in "UV" or int(label[1]) <= count]
        assert labels(done) == wanted
        picture = await bot.control.download(done["attachments"][0]["url"])
        assert Image.open(io.BytesIO(picture)).size == size


async def test_u_posts_the_single_picture_as_a_reply_to_the_grid(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        answered = await bot.press(grid, "U2", as_="bob")
        single = await bot.done(answered)
        assert single["message_reference"]["message_id"] == grid["id"]
        assert "picture 2" in single["content"] and labels(single) == SINGLE
        bytes_of_single = await bot.control.download(single["attachments"][0]["url"])
        assert bytes_of_single == await bot.parts.services.images.read((await bot.job(grid)).id, 1)
        assert len(await bot.posted()) == 2


async def test_v_makes_a_new_grid_near_the_chosen_picture_charged_to_who_presses(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat --seed 7", as_="alice"))
        new = await bot.done(await bot.press(grid, "V3", as_="bob"))
        job, parent = await bot.job(new), await bot.job(grid)
        assert (job.source.job, job.source.index, job.request.count) == (parent.id, 2, 4)
        assert job.request.strength < 1 and job.request.prompt == "a red boat" and job.request.seed != 7
        assert job.user != parent.user and job.account.id == job.user and job.charged_ms > 0
        assert labels(new) == GRID


async def test_again_takes_the_same_words_with_a_new_seed(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat --seed 7 --steps 5"))
        new = await bot.done(await bot.press(grid, "🔄"))
        job = await bot.job(new)
        assert (job.request.prompt, job.request.steps) == ("a red boat", 5) and job.request.seed != 7


async def test_info_shows_every_setting_to_one_person_only_and_where_a_variation_came_from(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat --seed 7 --no people --cfg 6.5"))
        new = await bot.done(await bot.press(grid, "V1"))
        about = await bot.press(new, "ⓘ", as_="bob")
        assert about["ephemeral"] and "without people" in about["content"] and "cfg 6.5" in about["content"]
        assert f"From picture 1 of https://discord.com/channels/{grid_path(grid)}" in about["content"]
        assert "GPU time" in about["content"] and "seed" in about["content"]
        assert about["id"] not in {m["id"] for m in await bot.control.messages(as_="alice", channel="general")}


def grid_path(message: dict) -> str:
    return f"{message['guild_id']}/{message['channel_id']}/{message['id']}" if "guild_id" in message else ""


async def test_delete_is_for_who_asked_and_for_moderators_and_takes_message_and_pictures(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat", as_="carol"))
        job = await bot.job(grid)
        assert labels(await bot.press(grid, "ⓘ", as_="dave")) == []
        about = await bot.press(grid, "ⓘ", as_="bob")  # a moderator
        assert labels(about) == ["Delete"]
        await bot.control.press(as_="bob", message=about["id"], label="Delete")
        await bot.until(grid, deleted=True)
        assert await bot.parts.services.images.read(job.id, 0) is None


async def test_a_running_job_can_be_cancelled_by_its_owner_and_nobody_else(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 100") as bot:
        first = await bot.imagine("a red boat --steps 100", as_="carol")
        refused = await bot.press(first, "Cancel", as_="dave")
        assert refused["ephemeral"] and "Only the person who asked" in refused["content"]
        await bot.control.press(as_="carol", message=first["id"], label="Cancel")
        ended = await bot.done(first)
        assert ended["content"].endswith("Cancelled.") and ended["attachments"] == []
        assert (await bot.job(ended)).state == "cancelled"


async def test_a_moderator_cancels_a_waiting_job_with_the_message_app(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        first = await bot.imagine("a red boat", as_="carol")
        answered = await bot.control.context_menu(as_="bob", channel="general", name="Cancel Job", message=first["id"])
        assert bot.message(answered)["content"] == "Cancelled."
        ended = await bot.done(first)
        job = await bot.job(ended)
        assert (job.state, job.charged_ms) == ("cancelled", 0)


async def test_the_message_app_says_when_there_is_no_job(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        said = await bot.control.say(as_="alice", channel="general", content="hello")
        answered = await bot.control.context_menu(as_="bob", channel="general", name="Cancel Job", message=said["id"])
        assert bot.message(answered)["content"] == "There is no job in that message."


async def test_buttons_work_after_a_restart_of_the_bot(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            grid = await bot.done(await bot.imagine("a red boat"))
            refused = await bot.answer("imagine", prompt="a blue boat --stepps 3")
        async with running_bot(sandbox, tmp_path / "data") as bot:
            assert (await bot.done(await bot.press(grid, "U4")))["attachments"]
            modal = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
        async with running_bot(sandbox, tmp_path / "data") as bot:
            answered = await bot.control.submit(
                as_="alice", interaction=modal["interaction"], values={"Prompt": "a blue boat --steps 3"}
            )
            assert (await bot.job(await bot.done(bot.message(answered)))).request.steps == 3


async def test_a_job_in_progress_goes_on_after_a_restart_and_is_posted_once(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", "--step-ms 100") as bot:
            first = await bot.imagine("a red boat")
            await bot.until(first, content_contains="%")
        async with running_bot(sandbox, tmp_path / "data") as bot:
            await bot.done(first)
            assert len(await bot.posted()) == 1
            assert await bot.parts.services.ledger.audit() == []


async def test_every_button_is_still_alive_after_many_edits_and_a_long_time(tmp_path):
    """discord.py forgets a DynamicItem's class when a view that mixes it with others times out, or is edited again."""
    async with sandboxed_bot(tmp_path, "--step-ms 40") as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        assert grid["edits"] > 3
        refused = await bot.answer("imagine", prompt="a boat --stepps 3")
        await bot.control.press(as_="alice", message=refused["id"], label="Fix")
        about = await bot.press(grid, "ⓘ")
        await bot.control.press(as_="alice", message=about["id"], label="Delete")
        other = await bot.done(await bot.imagine("a blue boat"))
        assert (await bot.press(other, "ⓘ"))["ephemeral"]
        assert bot.client._connection._view_store._dynamic_items, "no class was forgotten"
        assert not bot.client._connection._view_store._views, "and no ordinary item is kept for a message"


@pytest.mark.parametrize("label", ["U2", "V2"])
async def test_a_pruned_picture_is_rendered_again_when_a_button_needs_it(tmp_path, label):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        job, pictures = await bot.job(grid), bot.parts.services.images
        before = await pictures.read(job.id, 1)
        await pictures.forget(job)
        answered = await bot.press(grid, label, as_="bob")
        assert labels(answered) == ["Cancel"], "it waits in line like any other"
        done = await bot.done(answered)
        assert done["attachments"]
        assert await pictures.read(job.id, 1) == before
        if label == "U2":
            assert (await bot.job(done)).charged_ms == 0


async def test_a_relaxed_job_in_a_direct_message_ends_as_a_new_message_there(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine("a red boat --relax", as_="dave", channel="dm")
        await bot.until(first, as_="dave", deleted=True)
        assert len(await bot.posted("dm", as_="dave")) == 1


async def test_in_a_direct_message_the_same_plan_pays_as_in_the_members_server(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        done = await bot.done(await bot.imagine("a red boat", as_="dave", channel="dm"), as_="dave")
        here = await bot.imagine("a red boat", as_="dave")
        assert (await bot.job(done)).account == (await bot.job(here)).account
        assert (await bot.done(await bot.press(done, "U1", as_="dave"), as_="dave"))["attachments"]


async def test_a_direct_message_of_somebody_from_no_served_server_gets_a_sentence(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_GUILDS="100000000000000000") as bot:
        refused = await bot.imagine("a red boat", as_="dave", channel="dm")
        assert refused["ephemeral"] and "members of the servers that I serve" in refused["content"]
        told = await bot.answer("info", as_="dave", channel="dm")
        assert "members of the servers that I serve" in told["content"]
        assert not await bot.parts.services.jobs.live()


async def test_a_server_that_the_bot_is_not_in_is_not_offered_its_commands(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        other = await bot.control.create("guilds", name="elsewhere", bot=False)
        with pytest.raises(ControlRefused, match="not_installed"):
            await bot.control.command(
                as_="alice", channel=other["channels"][0]["id"], name="imagine", options={"prompt": "x"}, install="user"
            )
