"""What mends a refused prompt: a form that opens it for correction, and the ids of the buttons that run it again.

The prompt stands in the refusal's own message, so its buttons work after any restart. A job's button that was refused,
`job:<id>:v:1`, is mended by `job:<id>:fix-v:1`, its form of that id, and `job:<id>:run-v:1:relax`: what was pressed is
what is run. Knows no handlers.
"""

from collections.abc import Mapping
from dataclasses import replace

import discord

from bot.messages import AGAIN, FIX, IN_RELAX, ComponentId, Field, Form, Mends
from bot.text import from_code_block
from core.prompt_reading import MAX_TYPED

FIX_SIGN, RUN_SIGN = "fix-", "run-"
_FIELD = "prompt"
#: What mends a command: its words become a new grid.
PLAIN = Mends(fix=ComponentId(verb=FIX), relax=ComponentId(verb=IN_RELAX), again=ComponentId(verb=AGAIN))
#: The same below one that was to run in relax.
_RELAXED = replace(PLAIN, fix=ComponentId(verb=FIX, argument=IN_RELAX), again=ComponentId(verb=IN_RELAX))


def form(form_id: ComponentId, typed: str, title: str = "Fix and run") -> Form:
    """Opens `typed` for correction; `written` reads what comes back."""
    words = Field(
        name=_FIELD,
        label="Prompt",
        description="Words first, then --parameters.",
        value=typed[:MAX_TYPED],
        long=True,
        max_length=MAX_TYPED,
    )
    return Form(id=form_id, title=title, fields=(words,))


def written(fields: Mapping[str, str]) -> str:
    """The corrected prompt."""
    return fields.get(_FIELD, "")


def refused_prompt(message: discord.Message | None) -> str:
    """What stands in the refusal's own message."""
    embeds = message.embeds if message else ()
    return from_code_block(embeds[0].description or "") if embeds else ""


def plain_verb(verb: str) -> str:
    """Of a job's button, or of one that mends it: what is to be done."""
    return verb.removeprefix(FIX_SIGN).removeprefix(RUN_SIGN)


def mends_of_words(refused: ComponentId) -> Mends:
    """What mends a refused press or form that is about no job: what was to run in relax stays there."""
    return _RELAXED if IN_RELAX in (refused.verb, refused.argument) else PLAIN


def mends_of(refused: ComponentId, *, repeatable: bool) -> Mends:
    """What mends a refused press about a job, or a refused form about one.

    `repeatable`: the press has no words of its own, so that relax is the same press once more.
    """
    verb = plain_verb(refused.verb)
    again = refused if repeatable and refused.verb == verb else replace(refused, verb=RUN_SIGN + verb)
    return Mends(fix=replace(refused, verb=FIX_SIGN + verb), relax=replace(again, relax=True), again=again)
