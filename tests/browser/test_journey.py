"""The main journey, as somebody without a Discord account makes it: the real program, the shipped model, a browser."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.async_api import Browser

from tests.browser import chromium, journey

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]

PROMPT = "a red boat on the sea at sunset"
SMALL = (64, 64)


def nearest_quarter(grid: bytes, single: bytes) -> int:
    """Which picture of a 2 × 2 grid a single one looks most like, 0 to 3."""
    whole = Image.open(io.BytesIO(grid)).convert("RGB")
    one = Image.open(io.BytesIO(single)).convert("RGB").resize(SMALL)
    wide, tall = whole.width // 2, whole.height // 2
    places = [(x, y, x + wide, y + tall) for y in (0, tall) for x in (0, wide)]
    differences = [ImageChops.difference(whole.crop(place).resize(SMALL), one) for place in places]
    means = [sum(ImageStat.Stat(difference).mean) for difference in differences]
    return means.index(min(means))


@pytest.mark.timeout(400)
async def test_typed_command_develops_into_a_grid_and_u2_posts_its_second_picture(
    browser: Browser, tmp_path: Path
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    async with journey.program(tmp_path) as url:
        await journey.arrive(page, url)
        message = await journey.imagine(page, f"{PROMPT} --steps 40")  # long enough to be seen on a fast machine
        assert re.search(r"\d+ %", await journey.developing(message)), "no preview came before the grid"
        grid = await journey.finished(page)
        labels = await grid.locator(".part-components button").evaluate_all(
            "all => all.map(one => one.ariaLabel ?? one.innerText)"
        )
        assert labels == ["U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4", "ⓘ"]
        await grid.get_by_role("button", name="U2", exact=True).click()
        answer = page.locator("article.message", has=page.locator(".reference", has_text=PROMPT)).last
        single = await journey.picture_of(page, answer)
        assert nearest_quarter(await journey.picture_of(page, grid), single) == 1
        await context.close()
    assert complaints == []
