"""The page when the sandbox goes away and comes back."""

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture, said, scripted_bot
from tests.harness.running_sandbox import running_sandbox

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def test_page_catches_up_after_a_restart_of_the_sandbox(browser: Browser, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with running_sandbox(tmp_path / "world") as running:
            pages = PageFixture(running=running, browser=browser, session=session)
            port = int(running.url.rsplit(":", 1)[1])
            channel = await pages.new_channel()
            gone = await pages.post(channel, {"content": "soon gone"})
            page = await pages.open("alice", channel)
            await said(page, "soon gone").wait_for()
        await page.get_by_text("The connection to the sandbox is lost").wait_for()
        async with running_sandbox(tmp_path / "world", port=port) as running:
            pages = PageFixture(running=running, browser=browser, session=session)
            await pages.control.delete(as_="alice", message=gone["id"])
            await pages.post(channel, {"content": "while you were away"})
            await said(page, "while you were away").wait_for()
            await said(page, "soon gone").wait_for(state="detached")
            await page.get_by_text("The connection to the sandbox is lost").wait_for(state="hidden")
            await pages.post(channel, {"content": "live again"})
            await said(page, "live again").wait_for()
        await page.context.close()


async def test_word_that_the_bot_is_offline_goes_when_it_is_back(browser: Browser, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session, running_sandbox(tmp_path / "world") as running:
        pages = PageFixture(running=running, browser=browser, session=session)
        await pages.control.limits(ack_ms=100)
        channel = await pages.new_channel()
        row = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Count", "custom_id": "count"}]}
        await pages.post(channel, {"content": "counted", "components": [row]})
        page = await pages.open("alice", channel)
        await page.get_by_role("button", name="Count").click()
        note = page.locator("article.message").get_by_text("Darkroom is offline.")
        await note.wait_for()
        await pages.control.limits(ack_ms=3000)
        async with scripted_bot(running.url):
            await note.wait_for(state="detached")
            await page.get_by_role("button", name="Count").click()
            await said(page, "counted one").wait_for()
        await page.context.close()
