"""One browser, one sandbox and one scripted bot for each file of tests; a channel of its own for each test."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.page_fixture import Stage, scripted_bot
from tests.harness.sandbox import running_sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium.started() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    data = tmp_path_factory.mktemp("sandbox")
    async with (
        running_sandbox(data) as running,
        scripted_bot(running.url),
        aiohttp.ClientSession() as session,
    ):
        yield Stage(running=running, browser=browser, session=session)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(theatre: Stage) -> AsyncIterator[Stage]:
    """The stage, cleared: windows blank, and no page may have complained."""
    theatre.complaints.clear()
    yield theatre
    await theatre.clear()
    assert theatre.complaints == []
