"""Vary Region: areas are chosen by number, shown, and drawn again; on a worker that computes nothing."""

import io

from PIL import Image

from core.edits import ANEW
from core.job import Input, Kind, Lane, Role
from tests.cogs.picture_presses import UPSCALER, knows_its_model, made, single
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot


async def chosen(bot, panel, *areas, as_="alice"):
    """Opens Vary Region behind More and chooses areas; the message with the picture under its lattice."""
    lattice = await bot.press(panel, "Vary Region", as_=as_)
    assert lattice["ephemeral"] and [one["filename"] for one in lattice["attachments"]] == ["areas.jpg"]
    (select,) = lattice["components"][0]["components"]
    values = [str(area) for area in areas]
    await bot.control.press(as_=as_, message=lattice["id"], custom_id=select["custom_id"], values=values)
    return await bot.until(lattice, as_=as_, button="Draw it again")


async def test_chosen_areas_are_shown_and_drawn_again_also_after_a_restart(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            lattice = await chosen(bot, await bot.press(await single(bot), "More"), 5, 6)
            picture = Image.open(io.BytesIO(await bot.control.download(lattice["attachments"][0]["url"])))
            assert picture.size == (512, 512) and apart(picture, 5, 4) > 40 and apart(picture, 4, 7) < 10
            options = lattice["components"][0]["components"][0]["options"]
            assert [option["value"] for option in options if option.get("default")] == ["5", "6"]
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            await eventually(lambda: knows_its_model(bot))
            shown, job = await made(bot, lattice, "Draw it again")
            assert "picture 2, a part of it anew · <@" in shown["content"]
            assert (job.kind, job.request.strength, job.request.count) == (Kind.EDIT, ANEW, 4)
            assert job.request.inputs == (Input(role=Role.MASK, of="lattice:0060"),)
            _, near = await made(bot, shown, "V1")
            assert near.request.inputs == (), "and what is made near it has no region of its own"
            _, again = await made(bot, shown, "🔄")
            assert (again.request.inputs, again.source) == (job.request.inputs, job.source)


def apart(picture, one, other):
    """How far the colours of two areas are apart beside their numbers."""
    first, second = (
        picture.convert("RGB").getpixel((area % 4 * 128 + 24, area // 4 * 128 + 24)) for area in (one, other)
    )
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


async def test_a_part_can_be_drawn_with_other_words_and_a_refusal_keeps_the_part(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        lattice = await chosen(bot, await bot.press(await single(bot), "More"), 0)
        opened = await bot.control.press(as_="alice", message=lattice["id"], label="With other words")
        assert opened["response"]["modal"]["fields"][0]["value"] == "a red boat --seed 7"
        values = {"prompt": "a lighthouse --stepps 3"}
        sent = await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
        refused = bot.message(sent)
        assert labels(refused) == ["Fix and run"]
        opened = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
        values = {"prompt": "a lighthouse"}
        sent = await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
        job = await bot.job(bot.message(sent))
        assert (job.typed, job.request.inputs[0].of, job.source.index) == ("a lighthouse", "lattice:0001", 1)


async def test_a_region_that_no_fast_time_is_left_for_runs_in_relax_as_it_was_chosen(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        first = await bot.imagine("a red boat")
        await bot.until(first, deleted=True)
        await bot.answer("fast")
        (grid,) = await bot.posted()
        panel = await bot.press(await bot.done(await bot.press(grid, "U2")), "More")
        refused = await bot.press(await chosen(bot, panel, 3, 15), "Draw it again")
        assert labels(refused) == ["Run it in relax", "Fix and run"]
        job = await bot.job(await bot.press(refused, "Run it in relax"))
        assert (job.lane, job.request.inputs[0].of) == (Lane.RELAX, "lattice:8008")


async def test_two_parts_of_one_picture_are_two_wishes_and_two_clicks_on_one_are_one(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        panel = await bot.press(await single(bot), "More")
        first, second = await chosen(bot, panel, 0), await chosen(bot, panel, 1)
        answers = [await bot.press(lattice, "Draw it again") for lattice in (first, second, second)]
        assert [answer["ephemeral"] for answer in answers] == [False, False, True]
