"""A second opinion: the same surface on SimCord's Discord, written by others. No sockets, no background, no worker.

Jobs are ended by hand, as the scheduler would; what is checked is how commands, refusals, modals and buttons behave.
"""

import io
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

simcord = pytest.importorskip("simcord")

from bot.config import Config  # noqa: E402
from bot.interactions import DarkroomBot  # noqa: E402
from bot.main import build  # noqa: E402
from core.job import MadeWith  # noqa: E402
from core.preemption import Capacity  # noqa: E402

MADE = MadeWith(model="postcard", digest="0" * 8, dtype="float32", device="cpu", engine="test")


@dataclass
class Scene:
    """A server with alice, bob and the bot."""

    env: Any
    services: Any
    bot: DarkroomBot
    channel: Any
    alice: Any
    bob: Any

    async def finish_job(self) -> None:
        """What the scheduler and delivery would do with the next job in line."""
        jobs = self.services.jobs
        claim = await jobs.claim(boot="test", worker="test", capacity=Capacity())
        assert claim is not None
        job = claim.job
        await jobs.started(job.id, job.attempt, MADE)
        pictures = self.services.images
        await pictures.keep([await pictures.write(job.id, index, card(index)) for index in range(job.request.count)])
        assert await jobs.finish(job.id, job.attempt, 1000) is not None
        await self.deliver()

    async def deliver(self) -> None:
        """Posts what the outbox holds."""
        for delivery in await self.services.outbox.undelivered(self.services.clock()):
            await self.bot.delivery.deliver(delivery)


@asynccontextmanager
async def scene(tmp_path):
    config = Config.from_env(
        {"DISCORD_TOKEN": "simcord", "DARKROOM_DATA": str(tmp_path / "data"), "DARKROOM_WORKER": "none"},
        tmp_path / "no",
    )
    async with build(config) as parts:  # errors reach people as sentences here, so SimCord need not raise them
        await parts.services.jobs.new_boot("test")
        bot = quiet(parts.services)
        async with simcord.run(bot, check_errors=False) as env:
            guild = env.create_guild()
            channel = guild.create_text_channel("general")
            alice = guild.add_member(env.create_user("alice"))
            bob = guild.add_member(env.create_user("bob"))
            yield Scene(env, parts.services, bot, channel, alice, bob)


def card(index: int) -> bytes:
    """A plain picture."""
    picture = io.BytesIO()
    Image.new("RGB", (256, 256), (index * 60, 90, 120)).save(picture, "PNG")
    return picture.getvalue()


def quiet(services) -> DarkroomBot:
    """A bot that keeps no message up to date: SimCord waits until every task of the bot has come to rest."""
    bot = DarkroomBot(services)
    bot.editor.follow = lambda job, card: None
    return bot


def labels(message) -> list[str]:
    return [item.label or str(item.emoji) for row in message.components for item in row.children]


async def test_a_prompt_is_answered_publicly_with_its_card(tmp_path):
    async with scene(tmp_path) as stage:
        result = await stage.alice.slash(stage.channel, "imagine", prompt="a red boat --seed 7")
        assert result.acknowledged and not result.ephemeral
        assert result.response.content.startswith("**a red boat** · <@") and "seed 7" in result.response.content
        assert labels(result.response.message) == ["Cancel"]


async def test_a_mistake_is_answered_privately_and_the_modal_runs_the_corrected_prompt(tmp_path):
    async with scene(tmp_path) as stage:
        refused = await stage.alice.slash(stage.channel, "imagine", prompt="a red boat --stepps 3")
        assert refused.ephemeral and "`--steps`" in refused.response.content
        shown = await stage.alice.click(refused.response.message, label="Fix and run")
        assert shown.modal is not None
        answered = await stage.alice.submit_modal(shown, {"prompt": "a red boat --steps 3"})
        assert answered.response is not None and "3 steps" in answered.response.content


async def test_a_grid_arrives_in_the_first_answer_and_its_buttons_survive_a_restart(tmp_path):
    async with scene(tmp_path) as stage:
        result = await stage.alice.slash(stage.channel, "imagine", prompt="a red boat")
        await stage.finish_job()
        grid = stage.channel.last_message
        assert grid.id == result.response.id and len(grid.attachments) == 1
        assert labels(grid) == ["U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4", "ⓘ"]
        stage.bot = quiet(stage.services)
        await stage.env.restart_bot(stage.bot)
        pressed = await stage.bob.click(grid, label="U2")
        assert "picture 2" in pressed.response.content
        await stage.deliver()
        assert len(stage.channel.last_message.attachments) == 1
        about = await stage.bob.click(grid, label="ⓘ")
        assert about.ephemeral and "GPU time" in about.response.content


async def test_the_panel_behind_more_and_its_form_survive_a_restart(tmp_path):
    async with scene(tmp_path) as stage:
        await stage.alice.slash(stage.channel, "imagine", prompt="a red boat")
        await stage.finish_job()
        await stage.alice.click(stage.channel.last_message, label="U2")
        await stage.deliver()
        panel = await stage.bob.click(stage.channel.last_message, label="More")
        assert panel.ephemeral
        stage.bot = quiet(stage.services)
        await stage.env.restart_bot(stage.bot)
        form = await stage.bob.click(panel.response.message, label="Custom zoom")
        answered = await stage.bob.submit_modal(form, {"prompt": "a red boat --zoom 2"})
        assert answered.response is not None and "picture 2, zoomed out 2×" in answered.response.content


async def test_cancel_is_for_who_asked(tmp_path):
    async with scene(tmp_path) as stage:
        result = await stage.alice.slash(stage.channel, "imagine", prompt="a red boat")
        refused = await stage.bob.click(result.response.message, label="Cancel")
        assert refused.ephemeral and "Only the person who asked" in refused.response.content
        await stage.alice.click(result.response.message, label="Cancel")
        await stage.deliver()
        assert stage.channel.last_message.content.endswith("Cancelled.")


async def test_a_relaxed_result_is_a_new_message_that_mentions_only_who_asked(tmp_path):
    async with scene(tmp_path) as stage:
        first = await stage.alice.slash(stage.channel, "imagine", prompt="a red boat @everyone --relax")
        before = first.response.id
        await stage.finish_job()
        new = stage.channel.last_message
        assert new.id != before and [user.name for user in new.mentions] == ["alice"]
        assert not new.mention_everyone and len(new.attachments) == 1
