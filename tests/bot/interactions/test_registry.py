"""Components become discord.py's, and discord.py never forgets their class; two features cannot claim one verb."""

import asyncio

import discord
import pytest
from discord import ui

from bot.interactions import Press, refused_prompt
from bot.interactions.registry import ComponentItem, Registry, view_of
from bot.messages import Button, Card, ComponentId, JobCards, JobView, Option, Select, Style, refusal_of
from cogs import crop, job_buttons, job_info, vary
from core.errors import Cure, DiskFull, Gone, Mistake, NotAllowed, PicturesAway, PromptError, QueueFull, QuotaSpent
from core.job import State
from tests.harness.bot_samples import a_job

CARDS = JobCards((*job_buttons.BUTTONS, *crop.BUTTONS, *vary.BUTTONS, *job_info.BUTTONS))
SPENT = QuotaSpent("Your fast time does not cover this.", renews_at=0.0, prompt="a red boat")


def grid() -> Card:
    return CARDS.render(JobView(job=a_job(state=State.DONE)))


def menu() -> Card:
    options = (Option(value="a", label="A", chosen=True), Option(value="b", label="B"))
    return Card(content="Choose.", rows=((Select(id=ComponentId(verb="style"), options=options),),))


def test_every_view_is_fresh_endless_and_holds_only_dynamic_items():
    for card in (grid(), menu(), refusal_of(SPENT, refused_prompt.PLAIN).card):
        view = view_of(card)
        assert view.timeout is None and len(view.children) == sum(map(len, card.rows))
        assert all(isinstance(item, ui.DynamicItem) for item in view.children)
        assert view_of(card) is not view


def test_a_refusal_for_want_of_fast_time_offers_the_same_press_in_relax():
    registry, pressed = Registry(JobCards()), ComponentId(job="abc", verb="v", index=2)
    assert offered(registry, pressed) == ["job:abc:v:2:relax", "ask:fix"]
    assert offered(registry, pressed, repeatable=False) == ["ask:relax", "ask:fix"]
    assert offered(registry, ComponentId(verb="prompt")) == ["ask:relax", "ask:fix"]


def test_what_mends_a_press_that_takes_other_words_is_about_that_press():
    async def mend(press: Press, words: str) -> None:
        raise AssertionError

    registry, pressed = Registry(JobCards()), ComponentId(job="abc", verb="v", index=2)
    registry.add_job_mender(mend, "v")
    assert offered(registry, pressed) == ["job:abc:v:2:relax", "job:abc:fix-v:2"]
    form = ComponentId(job="abc", verb="fix-v", index=2)
    assert offered(registry, form, repeatable=False) == ["job:abc:run-v:2:relax", "job:abc:fix-v:2"]
    run = ComponentId(job="abc", verb="run-v", index=2, relax=True)
    assert offered(registry, run) == ["job:abc:run-v:2:relax", "job:abc:fix-v:2:relax"]


@pytest.mark.parametrize(
    ("refused", "plain", "about_v"),
    [
        (
            PromptError([Mistake(sentence="No such word.", word="", start=0)], prompt="a boat"),
            ["ask:fix"],
            ["job:abc:fix-v:2"],
        ),
        (
            NotAllowed("Not that word.", rule="DARKROOM_BLOCKED", prompt="x", cure=Cure.WORDS),
            ["ask:fix"],
            ["job:abc:fix-v:2"],
        ),
        (NotAllowed("Not in this channel.", rule="DARKROOM_CHANNELS", prompt="a boat"), [], []),
        (QueueFull("Many wait.", prompt="a boat"), ["ask:again"], ["job:abc:v:2"]),
        (DiskFull("No room.", prompt="a boat"), ["ask:again"], ["job:abc:v:2"]),
        (PicturesAway("Not just now.", prompt="a boat"), ["ask:again"], ["job:abc:v:2"]),
        (Gone("There is no such picture.", prompt="a boat"), [], []),
        (Gone("The model is not here.", prompt="a boat", cure=Cure.WORDS), ["ask:fix"], ["job:abc:fix-v:2"]),
        (SPENT, ["ask:relax", "ask:fix"], ["job:abc:v:2:relax", "job:abc:fix-v:2"]),
    ],
)
def test_a_refusal_offers_what_cures_it_and_nothing_else(refused, plain, about_v):
    async def mend(press: Press, words: str) -> None:
        raise AssertionError

    async def handle(press: Press) -> None:
        raise AssertionError

    registry = Registry(JobCards())
    registry.add_job_mender(mend, "v")
    registry.add_job_button(handle, crop.U, words=False)
    assert offered(registry, None, refused) == plain
    assert offered(registry, ComponentId(job="abc", verb="v", index=2), refused) == about_v
    about_u = [one.replace("-v:", "-u:").replace(":v:", ":u:") for one in about_v if ":fix-" not in one]
    assert offered(registry, ComponentId(job="abc", verb="u", index=2), refused) == about_u, "U takes no words"
    assert [button.style for button in buttons_of(registry, None, refused)][:1] in ([], [Style.MAIN])


def buttons_of(registry, pressed, refused, *, repeatable=True):
    mends = registry.mends(pressed, repeatable=repeatable) or refused_prompt.PLAIN
    return [button for row in refusal_of(refused, mends).card.rows for button in row]


def offered(registry, pressed, refused=SPENT, *, repeatable=True):
    """The ids below a refusal."""
    return [str(button.id) for button in buttons_of(registry, pressed, refused, repeatable=repeatable)]


async def test_a_verb_has_one_handler():
    async def handle(press: Press) -> None:
        raise AssertionError

    registry = Registry(JobCards())
    registry.add_job_component(handle, "zoom")
    registry.add_component(handle, "zoom")
    registry.add_job_form(handle, "zoom")
    with pytest.raises(ValueError, match="Two features declare the verb 'zoom'"):
        registry.add_job_component(handle, "zoom")


async def test_why_views_are_never_mixed_or_reused():
    """The trap itself, so that a change of discord.py is noticed: a mixed view that stops takes the class along."""
    client = discord.Client(intents=discord.Intents.none())
    client.add_dynamic_items(ComponentItem)
    store = client._connection._view_store
    fresh = view_of(grid())
    store.add_view(fresh, 1)
    fresh.stop()
    assert ComponentItem in store._dynamic_items.values()
    for _ in range(3):  # edits with fresh views, as ours
        store.add_view(view_of(grid()), 1)
    assert ComponentItem in store._dynamic_items.values()
    mixed = view_of(Card(content="", rows=((Button(id=ComponentId(verb="x"), label="x"),),)))
    mixed.add_item(ui.Button(label="other", custom_id="other"))
    store.add_view(mixed, 1)
    mixed.stop()
    await asyncio.sleep(0)
    forgotten = ComponentItem not in store._dynamic_items.values()
    assert forgotten, "discord.py does not forget dynamic items any more: the rule of fresh, unmixed views can go"


async def test_buttons_of_one_declaration_have_one_verb():
    async def handle(press: Press) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="too many values"):
        Registry(JobCards()).add_job_button(handle, crop.U, vary.VARY)
