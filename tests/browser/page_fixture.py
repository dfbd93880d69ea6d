"""What a page's test needs: a sandbox, its scripted bot, browser pages, and the bot's own REST calls."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image
from playwright.async_api import Browser, Locator, Page

from tests.harness.control_client import ControlClient, Json
from tests.harness.running_sandbox import ROOT, TOKEN, RunningSandbox

DESKTOP = (1280, 800)
PHONE = (360, 740)
# A busy machine may be slow; a test that fails waits this long, one that passes does not.
WAIT_MS = 30_000
GAP = "(e => e.scrollHeight - e.scrollTop - e.clientHeight)(document.querySelector('#scroller'))"
AT_BOTTOM = f"() => {GAP} < 4"


def picture(colour: str, size: tuple[int, int] = (256, 256)) -> bytes:
    """A PNG of one colour."""
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


def said(page: Page, words: str) -> Locator:
    """Words in the list of messages (the page also says new ones to screen readers, outside it)."""
    return page.locator("#messages").get_by_text(words)


@dataclass(slots=True, kw_only=True)
class PageFixture:
    """`open` gives pages; `post` and `edit` are what the bot sends without being asked."""

    running: RunningSandbox
    browser: Browser
    session: aiohttp.ClientSession
    complaints: list[str] = field(default_factory=list)
    _channels: int = 0
    _used: list[Page] = field(default_factory=list)
    _blank: list[Page] = field(default_factory=list)

    @property
    def control(self) -> ControlClient:
        return self.running.control

    async def new_channel(self) -> Json:
        """A channel of the test's own."""
        self._channels += 1
        return await self.control.create("channels", name=f"channel-{self._channels}")

    async def open(self, who: str, channel: Json, size: tuple[int, int] = DESKTOP) -> Page:
        """A window of one person; what its console complains of is kept."""
        page = self._blank.pop() if self._blank else await self._window()
        self._used.append(page)
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.goto(f"{self.running.url}/?as={who}&channel={channel['name']}")
        await page.locator(f"[data-channel='{channel['name']}'][aria-current]").wait_for(state="attached")
        return page

    async def _window(self) -> Page:
        """With storage of its own. Windows are used again, for each costs Chromium a second of work."""
        context = await self.browser.new_context(reduced_motion="reduce")
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        return page

    async def clear(self) -> None:
        """Makes the windows blank and forgetful."""
        while self._used:
            page = self._used.pop()
            await page.evaluate("sessionStorage.clear()")
            await page.goto("about:blank")
            self._blank.append(page)

    async def post(self, channel: Json, payload: Json, **files: bytes) -> Json:
        return await self._send("POST", f"/channels/{channel['id']}/messages", payload, files)

    async def edit(self, message: Json, payload: Json, **files: bytes) -> Json:
        return await self._send("PATCH", f"/channels/{message['channel_id']}/messages/{message['id']}", payload, files)

    async def _send(self, method: str, path: str, payload: Json, files: dict[str, bytes]) -> Json:
        form = aiohttp.FormData()
        form.add_field("payload_json", json.dumps(payload), content_type="application/json")
        for number, (name, data) in enumerate(files.items()):
            form.add_field(f"files[{number}]", data, filename=f"{name}.png", content_type="image/png")
        headers = {"Authorization": f"Bot {TOKEN}"}
        async with self.session.request(
            method, f"{self.running.url}/api/v10{path}", data=form, headers=headers
        ) as answer:
            body: Any = await answer.json()
            assert answer.status < 300, body
            return dict(body)


@asynccontextmanager
async def scripted_bot(url: str) -> AsyncIterator[None]:
    """The bot as a process, ready: connected, its commands registered."""
    arguments = ["-m", "tests.browser.scripted_bot", url]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line.strip() == b"ready", "the scripted bot ended before it was ready"
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
