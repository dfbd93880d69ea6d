"""Takes the README's pictures of the sandbox's page: developing, and the finished grid. Needs Chromium.

python -m tests.browser.screenshots   (writes docs/images/developing.png and docs/images/grid.png)
"""

import asyncio
import tempfile
from pathlib import Path

from tests.browser import chromium, journey
from tests.harness.sandbox import ROOT

IMAGES = ROOT / "docs" / "images"
PROMPT = "a red boat on the sea at sunset"
SIZE = {"width": 1200, "height": 760}


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium.started() as browser, journey.program(Path(folder)) as url:
            page = await browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            await journey.arrive(page, url)
            message = await journey.imagine(page, PROMPT)
            await journey.developing(message)
            await settled(page)
            await page.screenshot(path=IMAGES / "developing.png")
            await journey.finished(page)
            await settled(page)
            await page.screenshot(path=IMAGES / "grid.png")
    for path in sorted(IMAGES.glob("*.png")):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KiB")


async def settled(page: "journey.Page") -> None:
    """Until no picture fades any more."""
    await page.wait_for_function("() => document.getAnimations().every(one => one.effect.target.tagName !== 'IMG')")


if __name__ == "__main__":
    asyncio.run(main())
