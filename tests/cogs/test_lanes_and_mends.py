"""What is run again keeps its lane, and what mends a refused press runs what was pressed."""

import pytest

from core.job import Kind, Lane
from tests.harness.sandboxed_bot import eventually, labels, sandboxed_bot


async def finished(bot, prompt, *, as_="alice"):
    """The message with the pictures of a prompt, wherever it came."""
    first = await bot.imagine(prompt, as_=as_)
    job = await bot.job(first)
    await bot.control.wait(as_=as_, channel="general", button="ⓘ", timeout_ms=15_000)
    (shown,) = [message for message in await bot.posted() if (await bot.job(message)).id == job.id]
    return shown


async def newest(bot):
    """The job that was admitted last: a crop's first answer has no button that names it."""
    (row,) = await bot.parts.services.db.read("SELECT id FROM job ORDER BY seq DESC LIMIT 1")
    return await bot.parts.services.jobs.get(row["id"])


async def fix(bot, refused, prompt):
    """Presses Fix and run and sends the form with this prompt; the message that answers it."""
    opened = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
    answered = await bot.control.submit(as_="alice", interaction=opened["interaction"], values={"prompt": prompt})
    return bot.message(answered)


@pytest.mark.parametrize("label", ["🔄", "V2", "U1"])
@pytest.mark.parametrize("lane", ["relax", "turbo"])
async def test_what_is_pressed_under_a_prompt_that_names_a_lane_runs_in_that_lane(tmp_path, label, lane):
    async with sandboxed_bot(tmp_path) as bot:
        shown = await finished(bot, f"a red boat --{lane}")
        await bot.press(shown, label)
        assert (await newest(bot)).lane is Lane(lane)


async def test_a_chain_of_variations_of_a_relaxed_prompt_never_uses_fast_time(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        near = await bot.job(await bot.press(await finished(bot, "a red boat --relax"), "V1"))
        (shown,) = [m for m in await finished_messages(bot, 2) if (await bot.job(m)).id == near.id]
        again = await bot.job(await bot.press(shown, "🔄"))
        assert (again.kind, again.lane, again.reserved_ms) == (Kind.VARIATION, Lane.RELAX, 0)


async def finished_messages(bot, number):
    async def there():
        found = await bot.posted()
        return found if len(found) >= number else None

    return await eventually(there)


async def test_words_that_are_read_otherwise_today_make_no_relaxed_picture_dear(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        shown = await finished(bot, "a red boat --relax")
        async with bot.parts.services.db.transaction() as tx:  # an earlier version took this name
            await tx.execute("UPDATE job SET typed = 'a red boat --relax --unknown 3'")
        assert (await bot.job(await bot.press(shown, "V1"))).lane is Lane.RELAX


async def test_a_prompt_without_a_lane_runs_in_the_one_that_is_usual_now(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        await bot.answer("relax")
        shown = await finished(bot, "a red boat")
        await bot.answer("fast")
        assert (await bot.job(await bot.press(shown, "V1"))).lane is Lane.FAST


@pytest.mark.parametrize(
    ("typed", "usual", "lane"),
    [
        ("--turbo", "fast", "fast"),
        ("--fast", "relax", "relax"),
        ("--relax", "fast", "relax"),
        ("--fast", "turbo", "fast"),
    ],
)
async def test_what_somebody_else_typed_never_makes_a_press_dearer(tmp_path, typed, usual, lane):
    async with sandboxed_bot(tmp_path) as bot:
        shown = await finished(bot, f"a red boat {typed}")
        await bot.answer(usual, as_="bob")
        assert (await bot.job(await bot.press(shown, "V1", as_="bob"))).lane is Lane(lane)


@pytest.mark.parametrize(("typed", "usual"), [("--turbo", "fast"), ("--fast", "relax")])
async def test_nor_does_it_under_the_pressers_own_picture_later(tmp_path, typed, usual):
    async with sandboxed_bot(tmp_path) as bot:
        shown = await finished(bot, f"a red boat {typed} --seed 3")
        await bot.answer(usual, as_="bob")
        near = await bot.job(await bot.press(shown, "V1", as_="bob"))
        (theirs,) = [m for m in await finished_messages(bot, 2) if (await bot.job(m)).id == near.id]
        again = await bot.job(await bot.press(theirs, "🔄", as_="bob"))
        assert (again.lane, again.typed) == (Lane(usual), "a red boat --seed 3")


async def test_a_refusal_shows_no_lane_that_somebody_else_typed(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_WAITING="1") as bot:
        shown = await finished(bot, "a red boat --turbo")
        await bot.parts.services.scheduler.pause()
        await bot.imagine("a blue boat", as_="bob")
        refused = await bot.press(shown, "V1", as_="bob")
        assert "waiting" in refused["content"]
        assert "a red boat\n" in refused["embeds"][0]["description"]


async def test_a_prompt_that_was_to_run_in_relax_stays_there_when_it_is_refused_again_and_tried_again(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60", DARKROOM_FAST_MINUTES="0.4", DARKROOM_WAITING="1") as bot:
        spent = await bot.answer("imagine", prompt="a red boat --steps 100")
        first = await bot.imagine("a red boat --steps 1 --count 1")
        full = await bot.press(spent, "Run it in relax")
        assert "waiting" in full["content"] and labels(full) == ["Try again"]
        await bot.control.press(as_="alice", message=first["id"], label="Cancel")
        job = await bot.job(await bot.press(full, "Try again"))
        assert (job.typed, job.lane) == ("a red boat --steps 100", Lane.RELAX)


async def test_try_again_under_a_refused_repeat_of_a_single_picture_repeats_that(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_WAITING="1") as bot:
        shown = await finished(bot, "a red boat")
        grid = await bot.job(shown)
        await bot.parts.services.images.forget(grid)
        await bot.parts.services.scheduler.pause()
        single = await bot.press(shown, "U1")
        await bot.control.press(as_="alice", message=single["id"], label="Cancel")
        cancelled = await bot.done(single)
        other = await bot.imagine("a blue boat")
        refused = await bot.press(cancelled, "🔄")
        assert "waiting" in refused["content"]
        await bot.control.press(as_="alice", message=other["id"], label="Cancel")
        again = await bot.job(await bot.press(refused, "Try again"))
        assert (again.kind, again.source.job) == (Kind.CROP, grid.id)


async def test_fix_and_run_under_a_refused_variation_varies_the_picture_with_the_new_words(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        shown = await finished(bot, "a red boat")
        await bot.answer("fast")
        refused = await bot.press(shown, "V2")
        job = await bot.job(await fix(bot, refused, "a blue boat --relax"))
        assert (job.kind, job.source.job, job.source.index) == (Kind.VARIATION, (await bot.job(shown)).id, 1)
        assert (job.typed, job.lane, job.request.strength < 1) == ("a blue boat --relax", Lane.RELAX, True)


async def test_corrected_words_that_are_refused_once_more_are_still_about_that_picture(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        shown = await finished(bot, "a red boat")
        await bot.answer("fast")
        wrong = await fix(bot, await bot.press(shown, "V2"), "a blue boat --stepps 3")
        assert labels(wrong) == ["Fix and run"] and "`--steps`" in wrong["content"]
        spent = await fix(bot, wrong, "a blue boat")
        assert labels(spent) == ["Run it in relax", "Fix and run"]
        job = await bot.job(await bot.press(spent, "Run it in relax"))
        assert (job.kind, job.source.index, job.typed, job.lane) == (Kind.VARIATION, 1, "a blue boat", Lane.RELAX)


async def test_another_ratio_for_a_variation_is_said(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        shown = await finished(bot, "a red boat")
        await bot.answer("fast")
        answered = await fix(bot, await bot.press(shown, "V1"), "a red boat --ar 3:2 --relax")
        assert "stretched" in answered["content"] and (await bot.job(answered)).kind is Kind.VARIATION


async def test_fix_and_run_under_a_refused_repeat_of_a_variation_varies_the_same_picture(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        grid = await finished(bot, "a red boat")
        near = await bot.job(await bot.press(grid, "V3"))
        (shown,) = [m for m in await finished_messages(bot, 2) if (await bot.job(m)).id == near.id]
        await bot.answer("fast")
        job = await bot.job(await fix(bot, await bot.press(shown, "🔄"), "a green boat --relax"))
        assert (job.kind, job.source) == (Kind.VARIATION, near.source)


async def test_corrected_words_under_a_picture_that_is_gone_make_a_grid_and_say_so(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        shown = await finished(bot, "a red boat")
        await bot.answer("fast")
        refused = await bot.press(shown, "V1")
        job = await bot.job(shown)
        async with bot.parts.services.db.transaction() as tx:  # its weights were replaced since, and its file went
            await tx.execute("UPDATE job SET made_with = replace(made_with, 'digest\": \"', 'digest\": \"other')")
        await bot.parts.services.images.forget(job)
        answered = await fix(bot, refused, "a red boat --relax")
        assert "new grid from the words" in answered["content"] and (await bot.job(answered)).kind is Kind.GRID
