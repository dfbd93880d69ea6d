"""What the page shows where nothing has been drawn yet."""

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import PHONE, PageFixture
from tests.harness.running_sandbox import running_sandbox

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def test_empty_channel_says_what_the_model_draws_where_that_is_known(browser: Browser, tmp_path: Path) -> None:
    for words in ("It draws postcards.\nThings: boat, cat", ""):
        async with aiohttp.ClientSession() as session, running_sandbox(tmp_path, draws=words) as running:
            pages = PageFixture(running=running, browser=browser, session=session)
            page = await pages.open("alice", {"name": "gallery"}, PHONE)
            await page.get_by_role("button", name="Type /imagine").wait_for()
            assert (await page.locator("#draws p").all_inner_texts()) == [line for line in words.split("\n") if line]
            assert await page.locator("#draws").is_visible() == bool(words)
            await page.context.close()
