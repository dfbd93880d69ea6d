"""The page when the sandbox goes away and comes back."""

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import Stage, said
from tests.harness.sandbox import running_sandbox

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def test_page_catches_up_after_a_restart_of_the_sandbox(browser: Browser, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with running_sandbox(tmp_path / "world") as running:
            stage = Stage(running=running, browser=browser, session=session)
            port = int(running.url.rsplit(":", 1)[1])
            room = await stage.room()
            gone = await stage.post(room, {"content": "soon gone"})
            page = await stage.open("alice", room)
            await said(page, "soon gone").wait_for()
        await page.get_by_text("The connection to the sandbox is lost").wait_for()
        async with running_sandbox(tmp_path / "world", port=port) as running:
            stage = Stage(running=running, browser=browser, session=session)
            await stage.control.delete(as_="alice", message=gone["id"])
            await stage.post(room, {"content": "while you were away"})
            await said(page, "while you were away").wait_for()
            await said(page, "soon gone").wait_for(state="detached")
            await page.get_by_text("The connection to the sandbox is lost").wait_for(state="hidden")
            await stage.post(room, {"content": "live again"})
            await said(page, "live again").wait_for()
        await page.context.close()
