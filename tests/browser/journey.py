"""The steps of the main journey: the whole program as a process, and what a person does on its page. Checks nothing."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from tests.harness.running_sandbox import ROOT

#: On two busy cores, model loading included.
PATIENCE_MS = 180_000
STOP_SECONDS = 40


@asynccontextmanager
async def program(data: Path, **environment: str) -> AsyncIterator[str]:
    """`python -m sandbox --with-bot` with the shipped model; its page's address. Nothing of the caller's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DARKROOM_", "DISCORD_"))}
    settings = {"DARKROOM_DATA": str(data), "DISCORD_TOKEN": "", "DARKROOM_LOG": "warning", "PYTHONUNBUFFERED": "1"}
    # The worker usually gives way to everything else; here somebody waits for it.
    settings["DARKROOM_NICE"] = "0"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--with-bot", "--port", "0", "--data", str(data / "sandbox")),
        cwd=ROOT,
        env=inherited | settings | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    reading = None
    try:
        url = await asyncio.wait_for(_address(process), 60)
        reading = asyncio.create_task(_pass_on(process))
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        if reading:
            await reading


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := re.search(r"(http://\S+?)/?\s", line.decode()):
            return found[1]
    raise AssertionError("the program ended before it told its address")


async def _pass_on(process: asyncio.subprocess.Process) -> None:
    """Reads on, so that the program never waits for a full pipe; a failing test shows what it said."""
    assert process.stdout is not None
    async for line in process.stdout:
        print(line.decode(), end="")


async def arrive(page: Page, url: str, *, who: str = "alice") -> None:
    """Opens the page and waits until the bot is there with its commands."""
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{url}/?as={who}&channel=general")
    await page.get_by_text("Darkroom is online").wait_for()
    await page.wait_for_function(
        "async () => (await (await fetch('/control/state')).json()).commands.some(one => one.name === 'imagine')"
    )
    await page.reload()
    await page.get_by_text("Darkroom is online").wait_for()


async def imagine(page: Page, prompt: str) -> Locator:
    """Types the command as a person does; the message that answers it."""
    entry = page.get_by_role("combobox", name="Message or command")
    await entry.click()
    await page.keyboard.type(f"/imagine {prompt}")
    await page.keyboard.press("Enter")
    words = prompt.split(" --", maxsplit=1)[0]
    return await pinned(page, page.locator("article.message", has=page.locator("strong", has_text=words)).last)


async def pinned(page: Page, found: Locator) -> Locator:
    """The one message that is found now, whatever comes after it."""
    await found.wait_for()
    return page.locator(f"article[data-message='{await found.get_attribute('data-message')}']")


async def developing(message: Locator) -> str:
    """Waits until a picture is there before the buttons are; what the message says then."""
    await message.locator(".print img").last.wait_for()
    text = await message.locator(".part-text").inner_text()
    return "" if await message.get_by_role("button", name="U1").count() else text


async def finished(page: Page) -> Locator:
    """Waits for the grid and its buttons. A job of more than a minute ends in a message of its own."""
    button = page.get_by_role("button", name="U1", exact=True)
    message = await pinned(page, page.locator("article.message", has=button).last)
    await message.locator(".print img").last.wait_for()
    # While one preview fades into the next there are two of them.
    await expect(message.locator(".print img[alt='developing.jpg']")).to_have_count(0, timeout=PATIENCE_MS)
    return message


async def picture_of(page: Page, message: Locator) -> bytes:
    """The bytes of the picture that a message shows."""
    await message.locator(".print img").last.wait_for()
    address = await message.locator(".print img").last.get_attribute("src")
    response = await page.request.get(f"{page.url.split('/?')[0]}{address}")
    assert response.ok
    return await response.body()
