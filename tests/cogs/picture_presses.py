"""What the tests of pictures' buttons do again and again: a picture by itself, and what a press makes of it."""

#: A worker whose model has an upscaler.
UPSCALER = "--step-ms 5 --can upscale"


async def single(bot, prompt="a red boat --seed 7", *, as_="alice", button="U2"):
    """A picture by itself."""
    grid = await bot.done(await bot.imagine(prompt, as_=as_))
    return await bot.done(await bot.press(grid, button, as_=as_))


async def made(bot, message, label, *, as_="alice"):
    """The finished message of the job that a press makes, and its job."""
    shown = await bot.done(await bot.press(message, label, as_=as_), as_=as_)
    return shown, await bot.job(shown)


async def newest(bot):
    (row,) = await bot.parts.services.db.read("SELECT id FROM job ORDER BY seq DESC LIMIT 1")
    return await bot.parts.services.jobs.get(row["id"])


async def knows_its_model(bot):
    """Whether a worker has said what it can do: right after a start nobody knows."""
    return bot.parts.services.model.digest
