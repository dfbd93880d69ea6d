"""A result that its channel does not take, as tests bring it about and wait for it."""

from dataclasses import replace

from tests.harness.sandboxed_bot import eventually


def told_at_once(bot):
    """Who asked is told after the third try instead of after a minute."""
    bot.client.delivery._times = replace(bot.client.delivery._times, tell_after=0.0)


async def late(bot, job):
    async def told():
        delivery = await bot.parts.services.outbox.get(job.id)
        return delivery is not None and delivery.late_at is not None and delivery

    return await eventually(told)


async def hidden(bot, prompt, *, as_="dave"):
    """A running job of a channel that the bot cannot see any more; its token is over."""
    channel = await bot.control.create("channels", name="hidden")
    await bot.control.limits(token_seconds=0.2)
    first = await bot.imagine(prompt, as_=as_, channel="hidden")
    await bot.until(first, as_=as_, content_contains="%")
    await bot.control.change("channels", channel["id"], permissions={"darkroom": {"deny": ["view_channel"]}})
    return channel, await bot.job(first)
