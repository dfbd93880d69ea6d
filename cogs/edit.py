"""✎ Edit behind More: what is to be done to the picture, and with which words, in one form.

What can be done is what other files declare with words of their own (`registry.with_words`).
"""

from bot.interactions import DarkroomBot, PanelButton, Press, picture_actions, refused_prompt
from bot.messages import Choice, Form, Option, job_component

_EDIT = "edit"
EDIT = PanelButton(verb=_EDIT, row=3, order=1, label="✎ Edit", name="Edit")
_ACTION = "action"


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    registry = bot.registry

    async def open_form(press: Press) -> None:
        picture, job = await picture_actions.picture_of(press), await press.job()
        fitting = [one for one in registry.with_words if one.fits(picture.drawn)]
        options = tuple(Option(value=one.verb, label=one.name) for one in fitting)
        about = job_component(job.id, _EDIT, press.id.index)
        words = refused_prompt.form(about, picture_actions.words_under(press, job)).fields
        action = Choice(name=_ACTION, label="What to do", options=options)
        await press.open(Form(id=about, title="Edit", fields=(action, *words)))

    async def sent(press: Press) -> None:
        await registry.do(press, press.fields.get(_ACTION, ""), refused_prompt.written(press.fields))

    registry.add_panel_button(open_form, EDIT)
    registry.add_job_form(sent, _EDIT)
