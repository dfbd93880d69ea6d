"""U below a grid: posts one of its pictures by itself, or says where it stands already.

Knows no way to make a picture larger: see upscale.py.
"""

import asyncio
from dataclasses import replace

from bot.interactions import DarkroomBot, Press, picture_actions, submission
from bot.messages import Card, JobButton, Verb
from bot.text import link
from core.job import SINGLES, Job, Kind, Source, State
from core.parameters import MAX_SEED
from core.pasted_prompt import clean

#: A first answer waits no longer to hear whether a message is still there.
_LOOK_SECONDS = 1.0

U = JobButton(verb=Verb.UPSCALE, kinds=frozenset(Kind) - SINGLES, states=frozenset({State.DONE}), row=0, label="U",
              each=True)  # fmt: skip
BUTTONS = (U,)


async def _post(press: Press) -> None:
    job = await press.job()
    with submission.carrying(picture_actions.words_under(press, job)):
        picture = await picture_actions.picture_of(press)
        if there := await _there_already(press, picture.source):
            await press.reply(Card(content=f"That picture is here already: {there}"))
            return
        request = picture.job.request
        request = replace(request, count=1, seed=(request.seed + picture.index) % (MAX_SEED + 1))
        making = picture_actions.Making(kind=Kind.CROP, request=request, source=picture.source)
        await picture_actions.run(press, job, making)


async def _there_already(press: Press, source: Source) -> str | None:
    """Where the picture stands by itself in this channel, asked for by anybody; None where nobody can say."""
    crop = await press.services.jobs.crop_of(source, str(press.interaction.channel_id))
    return link(crop) if crop is not None and await _stands(press, crop) else None


async def _stands(press: Press, crop: Job) -> bool:
    """Whether its message was seen there just now."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return await press.client.message_api.is_there(crop.where)
    except TimeoutError:
        return False


async def _with_words(press: Press, words: str) -> None:
    typed = clean(words)
    with submission.carrying(typed):
        read = submission.read(press.services, typed)
        making = picture_actions.Making(kind=Kind.GRID, request=read.request, notes=(picture_actions.NO_WORDS,))
        await picture_actions.run_with_words(press, typed, read, making)


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    bot.registry.add_job_button(_post, U, words=False)
    bot.registry.add_job_mender(_with_words, Verb.UPSCALE)
