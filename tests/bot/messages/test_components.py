"""Buttons hold an id and a verb; discord.py must never forget their classes."""

import asyncio

import discord
import pytest
from discord import ui

from bot.messages.components import AskButton, JobButton, refusal_view, view_of
from bot.messages.job_card import Button, JobView, Verb, render_job
from core.job import State
from tests.bot.samples import a_job


@pytest.mark.parametrize(
    ("button", "custom_id"),
    [
        (Button(job="abc", verb=Verb.VARY, index=2, label="V3"), "job:abc:v:2"),
        (Button(job="abc", verb=Verb.AGAIN, emoji="🔄"), "job:abc:again"),
        (Button(job="abc", verb=Verb.VARY, index=0, relax=True, label="x"), "job:abc:v:0:relax"),
        (Button(job="abc", verb=Verb.AGAIN, relax=True, label="x"), "job:abc:again:relax"),
    ],
)
async def test_a_custom_id_says_all_that_a_press_needs(button, custom_id):
    assert button.custom_id == custom_id
    match = JobButton.__discord_ui_compiled_template__.fullmatch(custom_id)
    again = await JobButton.from_custom_id(None, JobButton(button).item, match)
    assert again.pressed.custom_id == custom_id


@pytest.mark.parametrize(
    "custom_id", ["job:ABC:v:1", "job:abc:x:1", "job:abc:v:100", "job::v", "job:abc:v:1;drop", "ask:me"]
)
def test_foreign_custom_ids_are_nobodys(custom_id):
    assert JobButton.__discord_ui_compiled_template__.fullmatch(custom_id) is None
    assert AskButton.__discord_ui_compiled_template__.fullmatch(custom_id) is None


def test_every_view_is_fresh_endless_and_holds_only_dynamic_items():
    card = render_job(JobView(job=a_job(state=State.DONE)))
    relax = Button(job="abc", verb=Verb.VARY, index=0, relax=True, label="Run it in relax")
    for view in (
        view_of(card),
        refusal_view(relax=relax, relax_prompt=True),
        refusal_view(relax=None, relax_prompt=True),
    ):
        assert view.timeout is None
        assert all(isinstance(item, ui.DynamicItem) for item in view.children)
    assert view_of(card) is not view_of(card)


async def test_why_views_are_never_mixed_or_reused():
    """The trap itself, so that a change of discord.py is noticed: a mixed view that stops takes the class along."""
    client = discord.Client(intents=discord.Intents.none())
    client.add_dynamic_items(JobButton)
    store = client._connection._view_store
    card = render_job(JobView(job=a_job(state=State.DONE)))
    fresh = view_of(card)
    store.add_view(fresh, 1)
    fresh.stop()
    assert JobButton in store._dynamic_items.values()
    for _ in range(3):  # edits with fresh views, as ours
        store.add_view(view_of(card), 1)
    assert JobButton in store._dynamic_items.values()
    mixed = view_of(card)
    mixed.add_item(ui.Button(label="other", custom_id="other"))
    store.add_view(mixed, 1)
    mixed.stop()
    await asyncio.sleep(0)
    forgotten = JobButton not in store._dynamic_items.values()
    assert forgotten, "discord.py does not forget dynamic items any more: the rule of fresh, unmixed views can go"
