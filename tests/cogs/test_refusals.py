"""What a wish that cannot be granted is answered: privately, with its cure, and with the prompt at hand."""

import asyncio
import contextlib
import sqlite3

import pytest

from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import eventually, labels, running_bot, sandboxed_bot


async def fix(bot, refused, prompt, *, as_="alice"):
    """Presses Fix and run, corrects the prompt, and returns the answer's message and what the modal was filled with."""
    modal = await bot.control.press(as_=as_, message=refused["id"], label="Fix and run")
    (field,) = modal["response"]["modal"]["fields"]
    answered = await bot.control.submit(as_=as_, interaction=modal["interaction"], values={"prompt": prompt})
    return bot.message(answered), field["value"]


async def test_a_mistake_is_answered_privately_and_can_be_fixed_and_run(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        refused = await bot.answer("imagine", prompt="a red boat --stepps 3 --no `x`, ```y```", as_="dave")
        assert refused["ephemeral"] and "`--stepps`" in refused["content"] and "`--steps`" in refused["content"]
        assert labels(refused) == ["Fix and run"]
        assert refused["id"] not in {m["id"] for m in await bot.control.messages(as_="bob", channel="general")}
        answered, filled = await fix(bot, refused, "a red boat --steps 3", as_="dave")
        assert filled == "a red boat --steps 3 --no `x`, ```y```"  # what was surely meant stands there
        assert (await bot.job(await bot.done(answered))).typed == "a red boat --steps 3"


async def test_a_prompt_of_blanks_alone_can_be_fixed_and_run_too(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        refused = await bot.answer("imagine", prompt="   ")
        assert refused["ephemeral"] and "no words" in refused["content"]
        assert labels(refused) == ["Fix and run"] and not refused["embeds"]
        answered, filled = await fix(bot, refused, "a red boat")
        assert not filled and (await bot.job(answered)).typed == "a red boat"


async def test_a_fixed_prompt_that_is_still_wrong_is_refused_again(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        refused = await bot.answer("imagine", prompt="a red boat --stepps 3")
        again, _ = await fix(bot, refused, "a red boat --steps 300")
        assert again["ephemeral"] and "1 to 100" in again["content"]
        answered, filled = await fix(bot, again, "a red boat --steps 3")
        assert filled == "a red boat --steps 100" and not answered["ephemeral"]


async def test_midjourneys_parameters_are_passed_over_with_one_small_line(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine("a red boat --weird 20 --v 7")
        assert (
            "\n-# Ignored: `--weird` (`--chaos` comes nearest); `--v` (`--model` chooses what draws).\n"
            in first["content"]
        )


async def test_more_steps_than_there_are_are_said_in_one_small_line(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine("a red boat --quality 4 --steps 100 --v 7")
        assert "(`--model` chooses what draws).\n-# 400 steps were asked for; the limit is 100.\n" in first["content"]
        assert "100 steps" in first["content"]


async def test_a_blocked_word_is_named_and_can_be_fixed(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_BLOCKED="forbidden") as bot:
        refused = await bot.answer("imagine", prompt="a FORBIDDEN boat")
        assert refused["ephemeral"] and "“forbidden”" in refused["content"].casefold()
        answered, filled = await fix(bot, refused, "an allowed boat")
        assert filled == "a FORBIDDEN boat" and not answered["ephemeral"]


async def test_a_blocked_word_behind_a_parameter_that_is_passed_over_is_refused_too(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_BLOCKED="forbidden") as bot:
        refused = await bot.answer("imagine", prompt="a red boat --sref forbidden thing")
        assert refused["ephemeral"] and labels(refused) == ["Fix and run"]


async def test_the_small_line_names_what_was_passed_over_and_none_of_its_words(tmp_path):
    many = "--weird 1 --v 7 --iw 1 --niji 6 --style x --hd --draft --video --loop --vibe"
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine("a red boat --sref https://a.example/1.png some words")
        assert "\n-# Ignored: `--sref` (describe the look in words).\n" in first["content"]
        second = await bot.imagine(f"a red boat {many}")
        (line,) = (line for line in second["content"].splitlines() if line.startswith("-# Ignored: "))
        assert "`--v`, `--niji`, `--style` (`--model` chooses what draws)" in line
        assert line.endswith("`--video` (here are still pictures only), ….") and "--loop" not in line


async def test_spent_fast_time_says_when_it_renews_and_offers_relax(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60", DARKROOM_FAST_MINUTES="0.4") as bot:
        await bot.imagine("a red boat --steps 20")
        refused = await bot.answer("imagine", prompt="a red boat")
        assert refused["ephemeral"] and ":R>" in refused["content"]
        assert labels(refused) == ["Run it in relax", "Fix and run"]
        answered = await bot.press(refused, "Run it in relax")
        assert not answered["ephemeral"] and "relax" in answered["content"]


async def test_a_press_without_fast_time_can_be_repeated_in_relax(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        await bot.answer("relax")
        first = await bot.imagine("a red boat")
        await bot.until(first, deleted=True)
        await bot.answer("fast")
        (grid,) = await bot.posted()
        refused = await bot.press(grid, "V2")
        assert labels(refused) == ["Run it in relax", "Fix and run"]
        answered = await bot.press(refused, "Run it in relax")
        job = await bot.job(answered)
        assert (job.kind, job.source.index, job.lane) == ("variation", 1, "relax")
        single = await bot.done(await bot.press(grid, "U1"))  # a crop costs nothing
        assert single["attachments"]


async def test_a_prompt_run_in_relax_by_its_button_may_have_said_fast(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        refused = await bot.answer("imagine", prompt="a red boat --fast")
        assert "relax" in (await bot.press(refused, "Run it in relax"))["content"]


async def test_two_presses_on_run_it_in_relax_make_one_job(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_FAST_MINUTES="0") as bot:
        refused = await bot.answer("imagine", prompt="a red boat")
        again = await bot.answer("imagine", prompt="a red boat")
        both = await asyncio.gather(*[bot.press(refused, "Run it in relax") for _ in range(2)])
        assert sorted(answer["ephemeral"] for answer in both) == [False, True]
        assert "already under way: https://discord.com/channels" in next(a for a in both if a["ephemeral"])["content"]
        other = await bot.press(again, "Run it in relax")
        assert not other["ephemeral"], "the same words refused a second time are a wish of their own"


async def test_the_waiting_cap_is_a_sentence_with_the_prompt_kept(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60", DARKROOM_WAITING="1") as bot:
        first = await bot.imagine("a red boat")
        refused = await bot.answer("imagine", prompt="a blue boat")
        assert refused["ephemeral"] and "waiting" in refused["content"] and labels(refused) == ["Try again"]
        assert "a blue boat" in refused["embeds"][0]["description"]
        assert "which is the limit" in (await bot.press(refused, "Try again"))["content"]
        await bot.control.press(as_="alice", message=first["id"], label="Cancel")
        await bot.until(first, button="ⓘ")
        assert (await bot.job(await bot.press(refused, "Try again"))).typed == "a blue boat"


async def test_a_job_that_is_too_large_is_refused_with_what_helps(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_MAX_WORK="1") as bot:
        refused = await bot.answer("imagine", prompt="a red boat --steps 100")
        assert "--steps" in refused["content"] and "Fix and run" in labels(refused)


async def test_a_nearly_full_disk_stops_new_jobs_with_a_sentence(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_DISK_FREE_MB="900000000") as bot:
        refused = await bot.answer("imagine", prompt="a red boat")
        assert refused["ephemeral"] and "disk" in refused["content"] and labels(refused) == ["Try again"]


async def test_other_channels_are_pointed_to_the_right_one(tmp_path):
    elsewhere = [str(10**17 + n) for n in range(90)]
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            right = (await bot.control.create("channels", name="pictures"))["id"]
        served = ",".join([*elsewhere, right])
        async with running_bot(sandbox, tmp_path / "data", DARKROOM_CHANNELS=served) as bot:
            refused = await bot.answer("imagine", prompt="a red boat", as_="dave")
            assert refused["ephemeral"] and refused["content"].endswith(f"Try <#{right}>.")


async def test_two_presses_at_once_make_one_job(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        both = await asyncio.gather(bot.press(grid, "V2"), bot.press(grid, "V2"))
        assert sorted(answer["ephemeral"] for answer in both) == [False, True]
        assert "already under way: https://discord.com/channels" in next(a for a in both if a["ephemeral"])["content"]
        parent = {"parent": (await bot.job(grid)).id}
        children = await bot.parts.services.db.read("SELECT id FROM job WHERE source_job = :parent", parent)
        assert len(children) == 1


async def test_two_people_press_the_same_button_and_each_gets_theirs(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        grid = await bot.done(await bot.imagine("a red boat"))
        both = await asyncio.gather(bot.press(grid, "V2", as_="bob"), bot.press(grid, "V2", as_="dave"))
        assert [answer["ephemeral"] for answer in both] == [False, False]


@pytest.mark.parametrize(
    "prompt",
    [
        "a boat** @everyone <@&1> <@2> **",
        "[click](https://evil.example) https://evil.example discord.gg/evil",
        "```\ncode\n``` `x` ||spoiler|| ~~gone~~ __line__ # title",
        "<t:0:R> </imagine:1> <#1> <:a:1> :smile:",
        "\\** -# small",
    ],
)
async def test_nothing_in_a_prompt_pings_links_or_leaves_the_bold(tmp_path, prompt):
    async with sandboxed_bot(tmp_path) as bot:
        first = await bot.imagine(prompt)
        line = first["content"].split("\n")[0]
        assert not first["mention_everyone"] and not first["mentions"] and "<@&" not in line.split(" · <@")[0]
        shown = line.removeprefix("**").rsplit("** · <@", 1)[0]
        bare = [c for i, c in enumerate(shown) if c in "*_~`|[]<>/" and (i == 0 or shown[i - 1] != "\\")]
        assert bare == [], shown


async def test_an_unexpected_error_is_a_calm_sentence_with_a_word_that_is_also_in_the_log(
    tmp_path, caplog, monkeypatch
):
    async with sandboxed_bot(tmp_path) as bot:

        async def broken(*_args):
            raise ZeroDivisionError("token secret")

        monkeypatch.setattr(bot.client.services.jobs, "get", broken)
        grid = await bot.imagine("a red boat")
        said = await bot.press(grid, "Cancel")
        word = said["content"].split("`")[1]
        assert said["ephemeral"] and "Something went wrong" in said["content"] and "secret" not in said["content"]
        assert word in caplog.text and "ZeroDivisionError" in caplog.text


def damage(folder):
    """What SQLite says of a database with a damaged page."""
    path = folder / "damaged.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000));")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            connection.execute("SELECT * FROM t").fetchall()
        except sqlite3.DatabaseError as error:
            return error
    raise AssertionError


async def test_a_damaged_page_is_named_to_the_member_and_its_cure_to_the_owner(tmp_path, caplog, monkeypatch):
    error = damage(tmp_path)
    async with sandboxed_bot(tmp_path) as bot:

        async def broken(*_args):
            raise error

        grid = await bot.imagine("a red boat")
        monkeypatch.setattr(bot.client.services.jobs, "get", broken)
        said = await bot.press(grid, "Cancel")
        assert said["ephemeral"] and "My database is damaged" in said["content"]
        assert "darkroom.sqlite3 is damaged" in caplog.text and "Put a backup in its place" in caplog.text
        monkeypatch.undo()


async def test_a_database_that_does_not_answer_just_now_is_no_mistake_of_ours(tmp_path, monkeypatch):
    async with sandboxed_bot(tmp_path) as bot:

        async def locked(*_args):
            raise sqlite3.OperationalError("database is locked")

        grid = await bot.imagine("a red boat")
        monkeypatch.setattr(bot.client.services.jobs, "get", locked)
        assert "does not answer just now" in (await bot.press(grid, "Cancel"))["content"]
        monkeypatch.undo()


@pytest.mark.parametrize("label", ["U2", "V2"])
async def test_a_pruned_picture_of_other_weights_is_refused_at_its_button_and_again_makes_new_ones(tmp_path, label):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            grid = await bot.done(await bot.imagine("a red boat"))
            near = await bot.done(await bot.press(grid, "V1"))
        async with running_bot(sandbox, tmp_path / "data", f"--digest {'1' * 64}") as bot:
            services = bot.parts.services

            async def loaded():
                return services.model.digest

            await eventually(loaded)
            kept = await bot.press(grid, "U1")
            assert not kept["ephemeral"], "what is kept is shown, whatever made it"
            await services.images.forget(await bot.job(grid))
            refused = await bot.press(grid, label)
            assert refused["ephemeral"] and "cannot be drawn again" in refused["content"]
            assert labels(refused) == [], "no other words bring it back"
            for shown in (grid, near):
                assert (await bot.done(await bot.press(shown, "🔄")))["attachments"]


async def test_a_grid_that_waited_for_a_model_that_is_gone_says_so_once_and_again_makes_it(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data", "--load-seconds 60", DARKROOM_MODEL="owner/mine") as bot:
            first = await bot.imagine("a red boat")
        async with running_bot(sandbox, tmp_path / "data") as bot:
            failed = await bot.done(first)
            assert "a model that is no longer here" in failed["content"] and failed["content"].count("charged") == 1
            assert (await bot.done(await bot.press(failed, "🔄")))["attachments"]


async def test_v_of_a_grid_whose_model_is_gone_is_refused_with_the_prompt_kept(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        mine = {"DARKROOM_MODEL": "owner/mine"}
        async with running_bot(sandbox, tmp_path / "data", "--model-name mine", **mine) as bot:
            grid = await bot.done(await bot.imagine("a red boat"))
        async with running_bot(sandbox, tmp_path / "data") as bot:
            refused = await bot.press(grid, "V1")
            assert refused["ephemeral"] and "a model that is no longer here" in refused["content"]
            assert labels(refused) == ["Fix and run"]
