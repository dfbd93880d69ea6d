"""The private message of a refusal: its sentence, the prompt it is about, and the buttons that mend it. Pure."""

from dataclasses import dataclass

from bot.messages.components import Button, Card, ComponentId, Style
from bot.text import code_block
from core.errors import DarkroomError, PromptError, QuotaSpent, Refused
from core.prompt_reading import MAX_TYPED

#: What the buttons of a refusal do; the refused prompt stands in the message, so they work after any restart.
FIX, IN_RELAX = "fix", "relax"
_RELAX_LABEL = "Run it in relax"
#: Below the mistakes of a prompt that is shown as it was probably meant.
CORRECTED = "-# Corrected below, as far as it was sure what you meant."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mends:
    """The buttons that run what was refused, as it was meant: with other words, or in the relax lane."""

    fix: ComponentId
    relax: ComponentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`prompt`: in a block of code, for an embed; None where there is none to show."""

    card: Card
    prompt: str | None = None


def refusal_of(error: DarkroomError, mends: Mends) -> Refusal:
    """Where fast time is spent, it is offered again in relax."""
    if not isinstance(error, Refused) or error.prompt is None:
        return Refusal(card=Card(content=error.sentence))
    buttons = [Button(id=mends.fix, label="Fix and run", style=Style.MAIN)]
    if isinstance(error, QuotaSpent):
        buttons.append(Button(id=mends.relax, label=_RELAX_LABEL))
    typed, content = error.prompt, error.sentence
    if isinstance(error, PromptError) and error.corrected() != typed:
        typed, content = error.corrected(), f"{content}\n{CORRECTED}"
    # Only blanks were typed: there is nothing to show, and still something to correct.
    prompt = code_block(typed[:MAX_TYPED]) if typed else None
    return Refusal(card=Card(content=content, rows=(tuple(buttons),)), prompt=prompt)
