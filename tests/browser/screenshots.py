"""Takes the README's pictures of the sandbox's page: developing, and the finished grid. Needs Chromium.

python -m tests.browser.screenshots   (writes docs/images/developing.png and docs/images/grid.png)
"""

import asyncio
import tempfile
from pathlib import Path

from tests.browser import chromium, journey
from tests.harness.running_sandbox import ROOT

IMAGES = ROOT / "docs" / "images"
# On a fast machine too, there is time to see it develop; on a slow one too, the grid comes where the previews were.
PROMPT = "a red boat on the sea at sunset --steps 60"
SLOWLY = {"DARKROOM_THREADS": "1", "DARKROOM_NEW_MESSAGE_AFTER": "100000"}
# A preview from the middle: past noise, not yet the picture.
FAR_ENOUGH = "id => parseInt(/(\\d+) %/.exec(document.querySelector(`[data-message='${id}']`).innerText)?.[1]) >= 45"
SIZE = {"width": 1200, "height": 820}


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium.started() as browser, journey.program(Path(folder), **SLOWLY) as url:
            page = await browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            await journey.arrive(page, url)
            message = await journey.imagine(page, PROMPT)
            await journey.developing(message)
            await page.wait_for_function(FAR_ENOUGH, arg=await message.get_attribute("data-message"))
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
