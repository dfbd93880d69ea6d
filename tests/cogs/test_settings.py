"""/settings and /prefer as people use them: what is saved holds where a prompt says nothing."""

import pytest

from tests.harness.control_client import Json
from tests.harness.sandboxed_bot import SandboxedBot, sandboxed_bot


def buttons(message: Json) -> dict[str, str]:
    """Labels of its buttons, with their styles (1 = chosen)."""
    found = [part for row in message["components"] for part in row["components"] if part["type"] == 2]
    return {button["label"]: button["style"] for button in found}


async def choose(bot: SandboxedBot, panel: Json, select: str, value: str) -> Json:
    answered = await bot.control.press(
        as_="alice", message=panel["id"], custom_id=f"ask:settings-{select}", values=[value]
    )
    found: Json = answered["response"]["message"]
    return found


async def press(bot: SandboxedBot, panel: Json, label: str) -> Json:
    """The panel as it is then."""
    found: Json = (await bot.control.press(as_="alice", message=panel["id"], label=label))["response"]["message"]
    return found


async def set_suffix(bot: SandboxedBot, panel: Json, text: str) -> Json:
    form = await bot.control.press(as_="alice", message=panel["id"], label="Suffix")
    answered = await bot.control.submit(as_="alice", interaction=form["interaction"], values={"suffix": text})
    found: Json = answered["response"]["message"]
    return found


async def test_everything_that_the_panel_shows_is_set_there_and_holds_for_the_next_prompt(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        panel = await bot.answer("settings")
        assert panel["ephemeral"] and "Your settings" in panel["content"] and buttons(panel)["Fast"] == 1
        panel = await press(bot, panel, "Relax")
        assert buttons(panel)["Relax"] == 1 and "**Lane** relax" in panel["content"]
        panel = await choose(bot, panel, "style", "250")
        assert "high (`--stylize 250`)" in panel["content"]
        panel = await choose(bot, panel, "model", "postcard")
        panel = await set_suffix(bot, panel, "--ar 3:2  --no fog")
        assert "--ar 3:2 --no fog" in panel["content"]
        job = await bot.job(await bot.imagine("a red boat"))
        assert job.typed == "a red boat --ar 3:2 --no fog --model postcard --stylize 250"
        assert (job.lane, job.request.negative) == ("relax", "fog")
        assert (await bot.job(await bot.imagine("a red boat --no rain"))).request.negative == "rain"
        panel = await press(bot, panel, "Raw")
        assert "left out (raw)" in panel["content"] and buttons(panel)["Raw"] == 1
        panel = await press(bot, panel, "Reset")
        assert "Suffix" not in panel["content"] and buttons(panel)["Fast"] == 1
        assert (await bot.job(await bot.imagine("a red boat"))).typed == "a red boat"


async def test_settings_are_each_members_own(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        await bot.answer("prefer suffix", new_value="--no fog")
        assert (await bot.job(await bot.imagine("a boat", as_="bob"))).request.negative == ""


@pytest.mark.parametrize(
    ("suffix", "told"),
    [
        ("orange::-1", "takes parameters only"),
        ("--stepps 3", "`--steps`"),
        ("--model zzz", "There is no model `zzz`"),
        ("--no " + "x" * 496, "up to 500 characters"),
    ],
)
async def test_a_suffix_that_would_spoil_every_prompt_is_refused(tmp_path, suffix, told):
    async with sandboxed_bot(tmp_path) as bot:
        panel = await bot.answer("settings")
        form = await bot.control.press(as_="alice", message=panel["id"], label="Suffix")
        if len(suffix) <= 500:
            refused = await bot.answer("prefer suffix", new_value=suffix)
            assert refused["ephemeral"] and told in refused["content"] and not refused["components"]
        assert form["response"]["modal"]["fields"][0]["max_length"] == 500


async def test_an_option_of_ones_own_stands_for_words_and_parameters(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        said = await bot.answer("prefer option set", option="--Film", value="35 mm photograph --cfg 6")
        assert said["ephemeral"] and "`--film`" in said["content"]
        listed = await bot.answer("prefer option list")
        assert "`--film` 35 mm photograph --cfg 6" in listed["content"]
        job = await bot.job(await bot.imagine("a boat --film at sea --ar 3:2"))
        assert job.request.prompt == "a boat 35 mm photograph at sea" and job.request.guidance == 6
        assert job.typed == "a boat 35 mm photograph at sea --ar 3:2 --cfg 6"
        assert "deleted" in (await bot.answer("prefer option set", option="film"))["content"]
        assert "`--film` is not a parameter here" in (await bot.answer("imagine", prompt="a boat --film"))["content"]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [("ar", "wide", "a parameter already"), ("film", "a --stepps 3", "`--steps`"), ("film", "", "You have no option")],
)
async def test_an_option_that_cannot_be_is_refused_with_its_cure(tmp_path, option, value, told):
    async with sandboxed_bot(tmp_path) as bot:
        values = {"option": option, **({"value": value} if value else {})}
        refused = await bot.answer("prefer option set", **values)
        assert refused["ephemeral"] and told in refused["content"]


async def test_a_saved_model_that_is_gone_is_named_with_where_it_comes_from_and_can_be_changed(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        alice = (await bot.job(await bot.imagine("a boat"))).user
        await bot.parts.services.settings.set_member(alice, "model", "gone")
        refused = await bot.answer("imagine", prompt="a boat")
        assert "There is no model `gone`" in refused["content"] and "`/settings`" in refused["content"]
        panel = await bot.answer("settings")
        assert "no longer here" in panel["content"]
        await choose(bot, panel, "model", "usual")
        assert (await bot.job(await bot.imagine("a boat"))).typed == "a boat"
        assert "at your settings" in (await bot.answer("info"))["content"]
