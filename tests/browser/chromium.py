"""Finds and starts Chromium (Debian's package; playwright has no browser of its own here). Knows no page."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def path() -> str | None:
    """Where Chromium is: DARKROOM_CHROMIUM, or what the search path has."""
    return os.environ.get("DARKROOM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


needed = pytest.mark.skipif(
    path() is None, reason="Chromium is missing: apt-get install chromium, or set DARKROOM_CHROMIUM"
)


@asynccontextmanager
async def started() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path(), args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
