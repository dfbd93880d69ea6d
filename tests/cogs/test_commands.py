"""/info, /fast, /relax and /worker as people use them."""

import asyncio
import os
from functools import partial

from core.cost import MULTIPLIER
from core.job import Lane
from tests.harness import weight_files
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, running_bot, sandboxed_bot


async def test_info_tells_plan_time_jobs_and_gpu(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 100", DARKROOM_FAST_MINUTES="90") as bot:
        first = await bot.imagine("a red boat")
        await bot.until(first, content_contains="%")
        told = await bot.answer("info")
        assert (
            told["ephemeral"]
            and "of 90 min left, about" in told["content"]
            and "grids at your settings" in told["content"]
        )
        assert "renews" in told["content"] and ":R>" in told["content"]
        assert f"/{first['id']} · a red boat" in told["content"]
        assert "**Waiting** none" in told["content"] and "**GPU** ready, started" in told["content"]


async def test_info_says_when_the_gpu_is_away_and_where_my_job_stands(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        await bot.imagine("a red boat")
        first = await bot.imagine("a blue boat")
        assert "Second in line" in first["content"] and "model is loading" in first["content"]
        told = await bot.answer("info")
        assert "loading" in told["content"] and "second in line" in told["content"]


async def test_relax_and_fast_are_remembered(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        assert (await bot.answer("relax"))["ephemeral"]
        assert "relax" in (await bot.imagine("a red boat"))["content"].split("\n")[1]
        assert "fast" in (await bot.imagine("a red boat --fast"))["content"].split("\n")[1]
        await bot.answer("fast")
        assert "fast" in (await bot.imagine("a red boat"))["content"].split("\n")[1]
        assert "relax" in (await bot.imagine("a red boat --relax"))["content"].split("\n")[1]


async def test_turbo_is_remembered_and_its_price_is_said(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        said = await bot.answer("turbo")
        assert said["ephemeral"] and "counts double" in said["content"]
        assert "turbo" in (await bot.imagine("a red boat"))["content"].split("\n")[1]
        assert "**Lane** turbo, each second of GPU time counts double" in (await bot.answer("info"))["content"]
        await bot.answer("fast")
        assert "counts" not in (await bot.answer("info"))["content"]
    assert MULTIPLIER[Lane.TURBO] == 2, "as the sentence says"


async def test_another_model_and_a_lora_are_named_in_the_prompt_and_shown(tmp_path):
    data = tmp_path / "data"
    weight_files.folder(data / "models" / "mine")
    weight_files.lora(data / "loras" / "ink.safetensors")
    os.utime(data / "loras" / "ink.safetensors", (1, 1))
    for path in weight_files.all_of(data / "models"):
        os.utime(path, (1, 1))
    async with sandboxed_bot(tmp_path) as bot:
        info = await bot.answer("info")
        assert "**Models** postcard, mine (`--model`)" in info["content"] and "**LoRAs** ink" in info["content"]
        first = await bot.imagine("a red boat --model mine --lora ink:0.5 --ar 3:2 --chaos 20")
        assert "576×384 · 25 steps" in first["content"] and "chaos 20 · ink 0.5" in first["content"]
        assert "\n-# Drawn by `mine`.\n" in first["content"]
        done = await bot.done(first)
        card = await bot.press(done, "ⓘ")
        assert "mine" in card["content"]
        varied = await bot.job(await bot.done(await bot.press(done, "V1")))
        assert (varied.request.model, varied.request.loras[0].name) == ("mine", "ink")
        refused = await bot.imagine("a red boat --model mien")
        assert refused["ephemeral"] and "`mine`" in refused["content"]


async def test_owners_pause_and_resume_the_gpu_and_others_hear_why_not(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        refused = await bot.answer("worker pause", as_="dave")
        assert refused["ephemeral"] and "owners" in refused["content"]
        await bot.answer("worker pause", as_="alice")
        first = await bot.imagine("a red boat", as_="dave")
        assert "GPU is paused" in first["content"]
        assert "paused" in (await bot.answer("info", as_="dave"))["content"]
        await bot.answer("worker resume", as_="alice")
        assert (await bot.done(first))["attachments"]


async def test_why_the_gpu_is_away_is_told_to_owners_and_escaped_and_members_hear_where_to_ask(tmp_path):
    reason = "/srv/mo_dels/x has *no* index; set DARKROOM_DTYPE. " + "words " * 100
    async with sandboxed_bot(tmp_path, f"--load-fails '{reason}'") as bot:

        async def away():
            return "mo_dels" in bot.parts.services.scheduler.worker_state().sentence

        await eventually(away)
        owners = (await bot.answer("info", as_="alice"))["content"]
        assert "mo\\_dels" in owners and "\\*no\\*" in owners and len(owners) < 1000
        members = (await bot.answer("info", as_="dave"))["content"]
        assert (
            "the bot's owner can find the reason in the log" in members
            and "srv" not in members
            and "DARKROOM" not in members
        )


async def test_commands_are_registered_only_when_they_changed(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        for _ in range(2):
            async with running_bot(sandbox, tmp_path / "data") as bot:
                assert len(await bot.requests("PUT", "/commands")) == 1
        await sandbox.control.reset()
        async with running_bot(sandbox, tmp_path / "data") as bot:
            names = {command["name"] for command in (await bot.control.state())["commands"]}
            assert "imagine" in names


async def test_a_second_ready_a_resume_and_a_new_session_change_nothing(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 20") as bot:
        first = await bot.imagine("a red boat")
        for action, resumable, event in (
            ("second_ready", None, "ready"),
            ("disconnect", True, "resumed"),
        ):
            back = asyncio.create_task(bot.client.wait_for(event, timeout=30))
            await asyncio.sleep(0)  # it listens before anything can happen
            await eventually(partial(online, bot))
            await bot.control.gateway(action, resumable=resumable)
            await back
            await eventually(partial(online, bot))
        await bot.done(first)
        await bot.done(await bot.imagine("a blue boat"))
        assert len(await bot.posted()) == 2
        assert len(await bot.requests("PUT", "/commands")) == 1


async def online(bot):
    return (await bot.control.state())["application"]["online"]


async def test_a_thread_counts_as_its_channel(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        thread = await bot.control.create("channels", type="thread", name="boats", parent="general")
        done = await bot.done(await bot.imagine("a red boat", channel=thread["id"]))
        assert done["channel_id"] == thread["id"] and done["attachments"]
