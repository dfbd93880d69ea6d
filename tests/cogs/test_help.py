"""/help as people use it: pages behind a select in the answer itself, and examples that a button runs."""

import pytest

from cogs import help as help_cog
from core.catalogue import POSTCARD, Choices
from core.parameters import PARAMETERS
from core.prompt import Defaults, parse
from tests.harness.sandboxed_bot import sandboxed_bot

MAX_LABEL = 80


def examples(message):
    """The labels of its example buttons."""
    return [button["label"] for button in message["components"][0]["components"]]


async def test_a_page_is_chosen_in_the_answer_itself_and_an_example_runs(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        told = await bot.answer("help")
        assert told["ephemeral"] and "Pictures from words" in told["content"]
        turned = await bot.control.press(as_="alice", message=told["id"], custom_id="ask:help-page", values=["prompts"])
        page = turned["response"]["message"]
        assert page["id"] == told["id"] and "Fix and run" in page["content"]
        (example,) = examples(page)
        answered = await bot.press(page, example)
        assert not answered["ephemeral"]
        job = await bot.job(await bot.done(answered))
        assert job.typed == "a (red:1.3) boat on the sea"


async def test_two_clicks_on_an_example_are_one_job(tmp_path):
    async with sandboxed_bot(tmp_path, "--load-seconds 60") as bot:
        told = await bot.answer("help")
        await bot.press(told, examples(told)[0])
        second = await bot.press(told, examples(told)[0])
        assert second["ephemeral"] and "already under way" in second["content"]


async def test_an_example_of_a_page_that_is_gone_still_runs(tmp_path):
    async with sandboxed_bot(tmp_path) as bot:
        told = await bot.answer("help", page="lanes")
        assert examples(told)[0] == "▶ a red boat --relax"
        answered = await bot.press(told, examples(told)[0])
        assert (await bot.job(answered)).lane == "relax"


def test_every_parameter_stands_on_a_page() -> None:
    whole = "\n".join(page.text for page in help_cog.PAGES)
    assert all(parameter.example in whole for parameter in PARAMETERS)
    assert all(f"`--{alias}`" in whole for parameter in PARAMETERS for alias in parameter.aliases)


@pytest.mark.parametrize("page", help_cog.PAGES, ids=lambda page: page.name)
def test_a_page_fits_into_a_message_and_its_examples_are_prompts(page: help_cog.Page) -> None:
    assert len(page.text) <= 2000 and len(page.about) <= 100
    for example in page.examples:
        choices = Choices(default=POSTCARD.name, models={POSTCARD.name: POSTCARD})
        assert parse(example, choices=choices, defaults=Defaults(), seed=1).request.prompt
    for row in help_cog.card(page.name).rows:
        assert all(len(getattr(one, "label", None) or "") <= MAX_LABEL for one in row)


def test_a_page_that_is_not_there_any_more_is_the_first() -> None:
    assert help_cog.card("gone").content == help_cog.PAGES[0].text
