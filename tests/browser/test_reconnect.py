"""The page when the sandbox goes away and comes back."""

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture, said
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
        await page.get_by_text("The line to the sandbox is down").wait_for()
        async with running_sandbox(tmp_path / "world", port=port) as running:
            pages = PageFixture(running=running, browser=browser, session=session)
            await pages.control.delete(as_="alice", message=gone["id"])
            await pages.post(channel, {"content": "while you were away"})
            await said(page, "while you were away").wait_for()
            await said(page, "soon gone").wait_for(state="detached")
            await page.get_by_text("The line to the sandbox is down").wait_for(state="hidden")
            await pages.post(channel, {"content": "live again"})
            await said(page, "live again").wait_for()
        await page.context.close()
