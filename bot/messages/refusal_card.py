"""The private message of a refusal: its sentence, the prompt it is about, and the buttons that mend it. Pure."""

from dataclasses import dataclass

from bot.messages.components import Button, Card, ComponentId, Style
from bot.text import code_block
from core.errors import Cure, DarkroomError, PromptError, Refused
from core.prompt_reading import MAX_TYPED

#: What the buttons of a refusal do; the refused prompt stands in the message, so they work after any restart.
FIX, IN_RELAX, AGAIN = "fix", "relax", "again"
#: Below the mistakes of a prompt that is shown as it was probably meant.
CORRECTED = "-# Corrected below, as far as it was sure what you meant."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mends:
    """The buttons that run what was refused, as it was meant: with other words, in the relax lane, or once more.

    `fix`: None where no words are asked for.
    """

    fix: ComponentId | None
    relax: ComponentId
    again: ComponentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`prompt`: in a block of code, for an embed; None where there is none to show."""

    card: Card
    prompt: str | None = None


def refusal_of(error: DarkroomError, mends: Mends) -> Refusal:
    """The button that is the cure comes first. Without one the prompt stays at hand for another place or day."""
    if not isinstance(error, Refused) or error.prompt is None:
        return Refusal(card=Card(content=error.sentence))
    buttons = _buttons(error.cure, mends)
    # Only blanks were typed: there is nothing to show, and still something to correct. Where no words are asked for,
    # what was typed for the picture has nothing to do with it.
    typed, content = error.prompt, error.sentence
    if isinstance(error, PromptError) and error.corrected() != typed:
        typed, content = error.corrected(), f"{content}\n{CORRECTED}"
    prompt = code_block(typed[:MAX_TYPED]) if typed and mends.fix is not None else None
    return Refusal(card=Card(content=content, rows=(buttons,) if buttons else ()), prompt=prompt)


def _buttons(cure: Cure, mends: Mends) -> tuple[Button, ...]:
    again = Button(id=mends.again, label="Try again", style=Style.MAIN)
    relax = Button(id=mends.relax, label="Run it in relax", style=Style.MAIN)
    main = {Cure.RELAX: (relax,), Cure.LATER: (again,)}.get(cure, ())
    if mends.fix is None or cure not in (Cure.WORDS, Cure.RELAX):
        return main
    return (*main, Button(id=mends.fix, label="Fix and run", style=Style.QUIET if main else Style.MAIN))
