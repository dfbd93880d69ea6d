"""One browser, one sandbox and one scripted bot for each file of tests; a channel of its own for each test."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture, scripted_bot
from tests.harness.running_sandbox import running_sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium.started() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pages(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PageFixture]:
    data = tmp_path_factory.mktemp("sandbox")
    async with (
        running_sandbox(data) as running,
        scripted_bot(running.url),
        aiohttp.ClientSession() as session,
    ):
        yield PageFixture(running=running, browser=browser, session=session)


@pytest_asyncio.fixture(loop_scope="module")
async def pages(shared_pages: PageFixture) -> AsyncIterator[PageFixture]:
    """The shared one, cleared: windows blank, and no page may have complained."""
    shared_pages.complaints.clear()
    yield shared_pages
    await shared_pages.clear()
    assert shared_pages.complaints == []
