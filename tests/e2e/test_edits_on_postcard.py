"""The buttons below a picture, pressed in the sandbox with the real worker and the shipped model.

One picture is the start of all of them, so that it is drawn once.
"""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from tests.harness.sandboxed_bot import sandboxed_bot

pytestmark = pytest.mark.e2e

WORKER = {"DARKROOM_WORKER_COMMAND": f"{sys.executable} -m worker", "DARKROOM_DEVICE": "cpu"}
RIM = 24  # pixels: as far as a wider canvas reaches into a picture of 256


async def until_done(bot, message):
    return await bot.control.wait(
        as_="alice", channel=message["channel_id"], message=message["id"], button="ⓘ", timeout_ms=120_000
    )


async def made(bot, message, label):
    """The job that a press makes, done, and its first picture."""
    return await shown(bot, await until_done(bot, await bot.press(message, label)))


async def shown(bot, message):
    job = await bot.job(message)
    png = await bot.parts.services.images.read(job.id, 0)
    return job, np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32)


def small(pixels, size):
    return np.asarray(Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS), dtype=np.float32)


def apart(one, other):
    """The mean difference of two pictures, of 255."""
    return float(np.abs(one - other).mean())


async def test_each_button_below_a_picture_makes_of_it_what_it_says(tmp_path):
    async with sandboxed_bot(tmp_path, **WORKER) as bot:
        grid = await until_done(bot, await bot.imagine("a red boat on the sea --seed 7 --steps 8 --count 1"))
        _, picture = await shown(bot, grid)
        alone = await until_done(bot, await bot.press(grid, "U1"))
        panel = await bot.press(alone, "More")

        job, larger = await made(bot, alone, "Upscale")
        assert larger.shape == (512, 512, 3) and not job.request.upscale.creative
        assert apart(small(larger, (256, 256)), picture) < 4, "nothing is added"
        _, redrawn = await made(bot, panel, "Upscale Creative")
        assert redrawn.shape == (512, 512, 3)
        assert apart(small(larger, (256, 256)), picture) < apart(small(redrawn, (256, 256)), picture) < 20

        subtle, strong = [(await made(bot, alone, f"Vary {how}"))[1] for how in ("Subtle", "Strong")]
        assert 0 < apart(subtle, picture) < apart(strong, picture) < 60

        _, zoomed = await made(bot, panel, "Zoom 2×")
        assert zoomed.shape == picture.shape
        inner, kept = small(picture, (128, 128)), slice(64 + RIM, 192 - RIM)
        assert apart(zoomed[kept, kept], inner[RIM:-RIM, RIM:-RIM]) < 1, "the picture stays, smaller"
        assert zoomed[:40].std() > 1, "and what is around it is drawn"

        _, panned = await made(bot, panel, "➡️")
        assert panned.shape == (256, 384, 3)
        assert apart(panned[:, : 256 - RIM], picture[:, :-RIM]) == 0, "not a pixel of it changes"
        assert panned[:, 280:].std() > 1

        opened = await bot.control.press(as_="alice", message=panel["id"], label="Custom zoom")
        values = {"prompt": "a red boat on the sea --steps 8 --zoom 1 --ar 3:2"}
        sent = await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
        _, wide = await shown(bot, await until_done(bot, bot.message(sent)))
        assert wide.shape == (224, 320, 3)
        inner = small(picture, (224, 224))
        assert apart(wide[:, 48 + RIM : 272 - RIM], inner[:, RIM:-RIM]) < 1

        lattice = await bot.press(panel, "Vary Region")
        (select,) = lattice["components"][0]["components"]
        areas = ["5", "6", "9", "10"]  # the middle
        await bot.control.press(as_="alice", message=lattice["id"], custom_id=select["custom_id"], values=areas)
        opened = await bot.control.press(as_="alice", message=lattice["id"], label="With other words")
        values = {"prompt": "a yellow star --steps 8"}
        sent = await bot.control.submit(as_="alice", interaction=opened["interaction"], values=values)
        _, changed = await shown(bot, await until_done(bot, bot.message(sent)))
        middle = slice(64, 192)
        assert apart(changed[middle, middle], picture[middle, middle]) > 10
        changed[middle, middle] = picture[middle, middle]
        assert apart(changed, picture) == 0, "outside the chosen areas not a pixel changes"
