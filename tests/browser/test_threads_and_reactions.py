"""Threads and reactions on the page: of people and of the bot."""

import asyncio

import pytest
from playwright.async_api import Page

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture, said
from tests.harness.control_client import Json

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def asked(pages: PageFixture, channel: Json, name: str, who: str = "alice") -> None:
    await pages.control.command(as_=who, channel=channel["name"], name=name)


def names(page: Page) -> "asyncio.Future[list[str]]":
    return page.locator("#channels [data-channel]").evaluate_all("all => all.map(one => one.dataset.channel)")  # type: ignore[return-value]


async def test_thread_below_a_message_of_the_bot_is_named_there_and_opened_by_a_press(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await asked(pages, channel, "batch")
    card = page.locator("article.message", has_text="Six boats").locator(".thread-card")
    await card.get_by_role("button", name="the batch").click()
    await said(page, "one of six").wait_for()
    assert await page.locator("#channel-name").inner_text() == "the batch"
    shown = await names(page)
    assert shown.index("the batch") == shown.index(channel["name"]) + 1


async def test_thread_of_its_own_is_told_in_its_channel_and_a_private_one_to_its_members(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("bob", channel)
    await asked(pages, channel, "rooms", who="bob")
    await page.locator("article.message", has_text="began a thread").get_by_role("button", name="open room").click()
    await said(page, "for all").wait_for()
    assert {"open room", "bob's room"} <= set(await names(page))
    await page.get_by_role("combobox", name="You are").select_option(label="dave")
    await page.locator("#who-avatar", has_text="DA").wait_for()
    shown = await names(page)
    assert "open room" in shown and "bob's room" not in shown


async def test_bot_hears_reactions_added_and_removed_even_by_one_who_came_back(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    bot = (await pages.control.state())["application"]["name"]
    await pages.control.change("channels", channel["id"], permissions={bot: {"allow": ["manage_messages"]}})
    page = await pages.open("bob", channel)
    await asked(pages, channel, "vote")
    message = page.locator("article.message", has_text="Vote")
    star = message.get_by_role("button", name="⭐, 1")
    assert await star.get_attribute("aria-pressed") == "false"  # the bot's own
    await star.click()
    await said(page, "bob added ⭐").wait_for()
    assert await message.get_by_role("button", name="⭐, 2").get_attribute("aria-pressed") == "true"
    await page.reload()
    mine = message.get_by_role("button", name="⭐, 2")
    await mine.wait_for()
    assert await mine.get_attribute("aria-pressed") == "true"
    await mine.click()
    await said(page, "bob removed ⭐").wait_for()
    await message.get_by_role("button", name="Add a reaction").click()
    await page.get_by_role("button", name="❌").click()  # the bot clears its message then
    await message.locator(".reaction").first.wait_for(state="detached")
