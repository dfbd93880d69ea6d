"""✎ Edit: an action and words in one form; on a worker that computes nothing."""

import pytest

from core.edits import ANEW, STRONG
from core.job import Kind
from tests.cogs.picture_presses import UPSCALER, knows_its_model, newest, single
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot

ACTIONS = ["Vary Subtle", "Vary Strong", "Zoom 1.5×", "Zoom 2×", "Pan left", "Pan right", "Pan up", "Pan down"]


async def opened(bot, panel):
    """The form of ✎ Edit, and its fields."""
    answered = await bot.control.press(as_="alice", message=panel["id"], label="✎ Edit")
    return answered["interaction"], answered["response"]["modal"]["fields"]


async def send(bot, interaction, action, prompt):
    """The message that answers the form."""
    values = {"action": [action], "prompt": prompt}
    return bot.message(await bot.control.submit(as_="alice", interaction=interaction, values=values))


@pytest.mark.parametrize(
    ("action", "kind", "strength"), [("Vary Strong", Kind.VARIATION, STRONG), ("Pan left", Kind.EDIT, ANEW)]
)
async def test_the_form_does_to_the_picture_what_was_chosen_with_its_words_also_after_a_restart(
    tmp_path, action, kind, strength
):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            interaction, fields = await opened(bot, await bot.press(await single(bot), "More"))
            assert sorted(option["label"] for option in fields[0]["options"]) == sorted(ACTIONS)
            assert fields[1]["value"] == "a red boat --seed 7"
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            await eventually(lambda: knows_its_model(bot))
            job = await bot.job(await send(bot, interaction, action, "a harbour"))
            assert (job.kind, job.typed, job.source.index, job.request.strength) == (kind, "a harbour", 1, strength)


async def test_a_refused_edit_is_corrected_as_the_action_that_was_chosen(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        interaction, _ = await opened(bot, await bot.press(await single(bot), "More"))
        refused = await send(bot, interaction, "Pan up", "a harbour --stepps 3")
        assert refused["ephemeral"] and labels(refused) == ["Fix and run"]
        form = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
        await bot.control.submit(as_="alice", interaction=form["interaction"], values={"prompt": "a harbour"})
        job = await newest(bot)
        assert (job.kind, job.request.canvas.top, job.request.height) == (Kind.EDIT, 128, 384)


async def test_square_is_among_the_actions_where_the_picture_is_none_yet(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        panel = await bot.press(await single(bot, "a red boat --ar 3:2"), "More")
        _, fields = await opened(bot, panel)
        assert "Square" in [option["label"] for option in fields[0]["options"]]
