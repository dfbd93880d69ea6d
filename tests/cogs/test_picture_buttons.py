"""What the buttons below a single picture, and those behind More, ask for; on a worker that computes nothing."""

import pytest

from core.edits import ANEW, CREATIVE, ONWARD, STRONG, SUBTLE
from core.job import Canvas, Kind, Lane, Upscale
from tests.cogs.picture_presses import UPSCALER, knows_its_model, made, newest, single
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import SINGLE, eventually, labels, running_bot, sandboxed_bot

ARROWS = ["⬅️", "➡️", "⬆️", "⬇️"]
PANEL = ["Upscale Creative", "Upscale 4×", "Zoom 1.5×", "Zoom 2×", "Custom zoom", *ARROWS, "Vary Region", "✎ Edit"]


async def test_a_single_picture_has_two_rows(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        shown = await single(bot)
        assert [[item["label"] for item in row["components"]] for row in shown["components"]] == [
            SINGLE[:3],
            SINGLE[3:],
        ]
        larger, _ = await made(bot, shown, "Upscale")
        assert labels(larger) == SINGLE, "and what was made larger is one, too"


@pytest.mark.parametrize(
    ("label", "kind", "count", "changes", "said"),
    [
        ("Upscale", Kind.UPSCALE, 1, {"width": 512, "upscale": Upscale(factor=2)}, "picture 2, 2× as large"),
        ("Vary Subtle", Kind.VARIATION, 4, {"strength": SUBTLE}, "near picture 2, subtly"),
        ("Vary Strong", Kind.VARIATION, 4, {"strength": STRONG}, "near picture 2, strongly"),
    ],
)
async def test_a_press_below_a_picture_makes_what_it_says(tmp_path, label, kind, count, changes, said):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        shown, job = await made(bot, await single(bot), label, as_="dave")
        assert (job.kind, job.request.count, job.source.index) == (kind, count, 1)
        assert {name: getattr(job.request, name) for name in changes} == changes
        assert said in shown["content"] and job.request.prompt == "a red boat" and job.request.seed != 7
        assert (job.user, job.account.id) == (job.account.id, job.user), "who presses pays"
        assert job.user != (await bot.parts.services.jobs.get(job.source.job)).user


NEARER = Canvas(left=43, top=43, width=170, height=170)
CENTRE = Canvas(left=64, top=64, width=128, height=128)


@pytest.mark.parametrize(
    ("label", "kind", "size", "changes", "said"),
    [
        ("Upscale Creative", Kind.UPSCALE, (512, 512), {"upscale": Upscale(factor=2, creative=True),
         "strength": CREATIVE}, "2× as large, redrawn"),
        ("Upscale 4×", Kind.UPSCALE, (1024, 1024), {"upscale": Upscale(factor=4)}, "4× as large"),
        ("Zoom 1.5×", Kind.EDIT, (256, 256), {"canvas": NEARER}, "zoomed out 1.5×"),
        ("Zoom 2×", Kind.EDIT, (256, 256), {"canvas": CENTRE, "strength": ONWARD}, "zoomed out 2×"),
        ("⬅️", Kind.EDIT, (384, 256), {"canvas": Canvas(left=128, top=0, width=256, height=256)}, "panned left"),
        ("➡️", Kind.EDIT, (384, 256), {"canvas": Canvas(left=0, top=0, width=256, height=256)}, "panned right"),
        ("⬆️", Kind.EDIT, (256, 384), {"canvas": Canvas(left=0, top=128, width=256, height=256)}, "panned up"),
        ("⬇️", Kind.EDIT, (256, 384), {"canvas": Canvas(left=0, top=0, width=256, height=256)}, "panned down"),
    ],
)  # fmt: skip
async def test_a_press_behind_more_makes_what_it_says_also_after_a_restart(tmp_path, label, kind, size, changes, said):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            panel = await bot.press(await single(bot), "More", as_="dave")
            assert panel["ephemeral"] and labels(panel) == PANEL
        async with running_bot(sandbox, tmp_path / "data", UPSCALER) as bot:
            await eventually(lambda: knows_its_model(bot))
            shown, job = await made(bot, panel, label, as_="dave")
            assert not shown.get("ephemeral") and job.kind is kind and job.source.index == 1
            assert (job.request.width, job.request.height) == size
            assert {name: getattr(job.request, name) for name in changes} == changes
            assert f"picture 2, {said} · <@" in shown["content"]
            assert job.request.count == (4 if kind is Kind.EDIT else 1)


async def test_square_is_offered_where_the_picture_is_none_yet(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        panel = await bot.press(await single(bot, "a red boat --ar 3:2"), "More")
        assert labels(panel) == [*PANEL[:-2], "Square", *PANEL[-2:]]
        shown, job = await made(bot, panel, "Square")
        assert (job.request.width, job.request.height) == (320, 320) and "picture 2, made square" in shown["content"]
        assert job.request.canvas == Canvas(left=0, top=48, width=320, height=224)


async def test_what_was_zoomed_is_varied_drawn_again_and_zoomed_on_without_zooming_twice(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        zoomed, first = await made(bot, await bot.press(await single(bot), "More"), "Zoom 2×")
        assert labels(zoomed)[:4] == ["U1", "U2", "U3", "U4"]
        _, near = await made(bot, zoomed, "V3")
        assert near.request.canvas is None and near.request.strength < 1 and near.source.job == first.id
        _, again = await made(bot, zoomed, "🔄")
        assert (again.kind, again.source, again.request.canvas) == (Kind.EDIT, first.source, first.request.canvas)
        assert again.request.seed != first.request.seed
        alone = await bot.done(await bot.press(zoomed, "U1"))
        _, further = await made(bot, await bot.press(alone, "More"), "Zoom 2×")
        assert further.source.job == first.id and further.request.canvas == CENTRE


async def test_what_is_made_of_a_large_picture_has_the_size_that_it_was_drawn_at(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        larger, job = await made(bot, await single(bot), "Upscale")
        larger, job = await made(bot, larger, "Upscale")
        assert (job.request.width, job.source.index) == (1024, 0)
        _, near = await made(bot, larger, "Vary Subtle")
        assert (near.request.width, near.request.upscale, near.source.job) == (256, None, job.id)
        _, zoomed = await made(bot, await bot.press(larger, "More"), "Zoom 2×")
        assert (zoomed.request.width, zoomed.request.canvas, zoomed.source.job) == (256, CENTRE, job.id)


async def test_a_pan_of_a_pan_keeps_to_the_pixels_that_the_model_has(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        shown = await single(bot)
        for width, height in ((384, 256), (576, 256), (640, 224)):
            panned, job = await made(bot, await bot.press(shown, "More"), "➡️")
            assert (job.request.width, job.request.height) == (width, height)
            shown = await bot.done(await bot.press(panned, "U1"))


async def test_a_picture_that_is_large_enough_is_not_made_larger(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        shown = await single(bot)
        job = await newest(bot)
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET request = json_set(request, '$.width', 8000, '$.height', 8000)")
        refused = await bot.press(shown, "Upscale")
        assert refused["ephemeral"] and "large enough" in refused["content"] and labels(refused) == []
        assert (await newest(bot)).id == job.id


async def test_a_model_without_an_upscaler_draws_the_details_itself_and_says_so(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 5") as bot:
        shown, job = await made(bot, await single(bot), "Upscale")
        assert job.request.upscale == Upscale(factor=2, creative=True) and job.request.strength == CREATIVE
        assert "-# `postcard` has no upscaler, so it draws the details itself." in shown["content"]


async def test_what_no_model_can_do_is_said_in_the_panel_and_refused_in_a_sentence(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 5 --cannot refine --cannot outpaint --cannot inpaint") as bot:
        shown = await single(bot)
        refused = await bot.press(shown, "Upscale")
        assert refused["ephemeral"] and "`postcard` has no upscaler" in refused["content"] and labels(refused) == []
        panel = await bot.press(shown, "More")
        assert labels(panel) == ["✎ Edit"]
        for part in (
            "cannot change part of a picture",
            "no upscaler",
            "cannot extend a picture",
            "cannot redraw a picture at a larger size",
        ):
            assert panel["content"].count(part) == 1


async def test_unusual_prices_are_said_first(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 5") as bot:
        shown = await single(bot)
        panel = await bot.press(shown, "More")
        (line,) = [line for line in panel["content"].split("\n") if "more fast time than a grid" in line]
        assert "Upscale 4× about" in line and "Zoom" not in line
        await bot.answer("relax")
        assert "fast time" not in (await bot.press(shown, "More"))["content"]


async def test_the_panel_tells_what_the_picture_was_made_from(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        near = await bot.done(await bot.press(grid, "V3"))
        alone = await bot.done(await bot.press(near, "U2"))
        zoomed, _ = await made(bot, await bot.press(alone, "More"), "Zoom 2×")
        alone = await bot.done(await bot.press(zoomed, "U1"))
        lines = (await bot.press(alone, "More"))["content"].split("\n")
        assert [line for line in lines if line.endswith(f"/{near['id']}, zoomed out 2×")] == [lines[2]]
        assert lines[2].startswith("-# Made from picture 2 of https://discord.com/channels/")
        assert lines[3].startswith("-# from near picture 3 of https://") and lines[3].endswith(f"/{grid['id']}")


async def test_a_place_that_the_reader_may_not_see_is_not_linked(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        near = await bot.done(await bot.press(grid, "V3"))
        async with bot.parts.services.db.transaction() as tx:  # as if it had been asked for in a channel that is gone
            await tx.execute(
                "UPDATE job SET channel = '123456789012345678' WHERE id = :id", {"id": (await bot.job(grid)).id}
            )
        alone = await bot.done(await bot.press(near, "U2"))
        panel = await bot.press(alone, "More")
        assert (
            "near picture 3 of a job whose message you cannot open" in panel["content"]
            and grid["id"] not in panel["content"]
        )
        assert grid["id"] not in (await bot.press(near, "ⓘ"))["content"]


async def zoom(bot, panel, prompt, *, as_="alice"):
    """Opens the form of Custom zoom and sends it; what answers, and what the form was filled with."""
    opened = await bot.control.press(as_=as_, message=panel["id"], label="Custom zoom")
    (field,) = opened["response"]["modal"]["fields"]
    answered = await bot.control.submit(as_=as_, interaction=opened["interaction"], values={"prompt": prompt})
    return bot.message(answered), field["value"]


@pytest.mark.parametrize(
    ("prompt", "size", "width", "strength", "typed"),
    [
        ("a red boat --seed 7 --zoom 2", (256, 256), 128, ONWARD, "a red boat --seed 7"),
        ("a red boat —zoom 1.6 --seed 7", (256, 256), 160, ONWARD, "a red boat --seed 7"),
        ("a harbour --zoom 2", (256, 256), 128, ANEW, "a harbour"),
        ("a red boat --zoom 1 --ar 3:2", (320, 224), 224, ONWARD, "a red boat --ar 3:2"),
        ("a red boat --ar 3:2", (320, 224), 112, ONWARD, "a red boat --ar 3:2"),
    ],
)
async def test_a_custom_zoom_takes_a_factor_a_shape_and_other_words(tmp_path, prompt, size, width, strength, typed):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        panel = await bot.press(await single(bot), "More")
        answered, filled = await zoom(bot, panel, prompt)
        assert filled == "a red boat --seed 7 --zoom 2"
        job = await bot.job(answered)
        assert ((job.request.width, job.request.height), job.request.canvas.width) == (size, width)
        assert (job.request.strength, job.typed, job.kind) == (strength, typed, Kind.EDIT)
        assert "Ignored" not in answered["content"]


@pytest.mark.parametrize(
    ("prompt", "said", "filled"),
    [
        ("a red boat --zoom 9", "at most 4", None),
        ("a red boat --zoom 1", "another shape", None),
        ("a red boat --zoom far", "has no value", None),
        ("a red boat --zoom 1.2.3", "not `1.2.3`", None),
        ("a red boat --zoom 2 --zoom 3", "given twice", None),
        ("a red boat --zoom 2 --stepps 3", "`--steps`", "a red boat --steps 3 --zoom 2"),
    ],
)
async def test_a_custom_zoom_that_cannot_be_is_corrected_in_its_form_and_still_zooms_that_picture(
    tmp_path, prompt, said, filled
):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        panel = await bot.press(await single(bot), "More")
        refused, _ = await zoom(bot, panel, prompt)
        assert refused["ephemeral"] and said in refused["content"] and labels(refused) == ["Fix and run"]
        opened = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
        assert opened["response"]["modal"]["fields"][0]["value"] == (filled or prompt)
        values = {"prompt": "a red boat --zoom 2"}
        answered = await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
        job = await bot.job(bot.message(answered))
        assert (job.kind, job.request.canvas, job.source.index) == (Kind.EDIT, CENTRE, 1)


@pytest.mark.parametrize(
    ("label", "kind", "buttons"),
    [
        ("Upscale", Kind.UPSCALE, ["Run it in relax"]),
        ("Vary Strong", Kind.VARIATION, ["Run it in relax", "Fix and run"]),
        ("⬅️", Kind.EDIT, ["Run it in relax", "Fix and run"]),
        ("Zoom 2×", Kind.EDIT, ["Run it in relax", "Fix and run"]),
        ("Upscale Creative", Kind.UPSCALE, ["Run it in relax"]),
    ],
)
async def test_a_press_without_fast_time_keeps_picture_and_action(tmp_path, label, kind, buttons):
    async with sandboxed_bot(tmp_path, UPSCALER, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        first = await bot.imagine("a red boat")
        await bot.until(first, deleted=True)
        await bot.answer("fast")
        (grid,) = await bot.posted()
        shown = await bot.done(await bot.press(grid, "U2"))
        place = shown if label in SINGLE else await bot.press(shown, "More")
        refused = await bot.press(place, label)
        assert labels(refused) == buttons
        if len(buttons) > 1:
            opened = await bot.control.press(as_="alice", message=refused["id"], label="Fix and run")
            values = {"prompt": "a blue boat --relax"}
            await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
            fixed = await newest(bot)
            assert (fixed.kind, fixed.source.index, fixed.typed) == (kind, 1, "a blue boat --relax")
            assert kind is not Kind.EDIT or (fixed.request.canvas is not None and fixed.request.strength == ANEW)
        relaxed = await bot.job(await bot.press(refused, "Run it in relax"))
        assert (relaxed.kind, relaxed.source.index, relaxed.lane) == (kind, 1, Lane.RELAX)


async def test_u_pressed_again_links_to_the_picture_that_is_there(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        shown = await bot.done(await bot.press(grid, "U2"))
        again = await bot.press(grid, "U2", as_="dave")
        assert again["ephemeral"] and again["content"].endswith(f"/{shown['channel_id']}/{shown['id']}")
        other = await bot.done(await bot.press(grid, "U3", as_="dave"))
        assert other["attachments"]
        await bot.control.delete(as_="bob", message=shown["id"])  # a moderator
        anew = await bot.done(await bot.press(grid, "U2", as_="dave"))
        assert anew["attachments"] and anew["id"] != shown["id"]


async def test_u_in_another_place_posts_the_picture_there(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        shown = await bot.done(await bot.press(grid, "U2"))
        async with bot.parts.services.db.transaction() as tx:
            await tx.execute("UPDATE job SET channel = '1' WHERE message = :id", {"id": shown["id"]})
        assert not (await bot.press(grid, "U2", as_="dave"))["ephemeral"]


async def test_an_upscale_that_is_too_much_says_what_helps(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER, DARKROOM_MAX_WORK="0.2") as bot:
        shown = await single(bot, "a red boat --steps 2 --count 1", button="U1")
        refused = await bot.press(shown, "Upscale")
        assert "too much for one job" in refused["content"] and "--steps" not in refused["content"]


async def test_info_of_what_was_only_made_larger_names_no_numbers_that_made_nothing(tmp_path):
    async with sandboxed_bot(tmp_path, UPSCALER) as bot:
        larger, _ = await made(bot, await single(bot), "Upscale")
        about = (await bot.press(larger, "ⓘ"))["content"]
        assert "512×512\nfast lane\n" in about and "cfg" not in about and "Euler" not in about
