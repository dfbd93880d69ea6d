"""The private message of a refusal: its sentence, the prompt it is about, and the buttons that mend it. Pure."""

from dataclasses import dataclass

from bot.messages.components import Button, Card, ComponentId, Style
from bot.text import code_block
from core.errors import DarkroomError, QuotaSpent, Refused
from core.prompt import MAX_TYPED

#: What the buttons of a refusal do; the refused prompt stands in the message, so they work after any restart.
FIX, IN_RELAX = "fix", "relax"
_RELAX_LABEL = "Run it in relax"


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
    # Only blanks were typed: there is nothing to show, and still something to correct.
    prompt = code_block(error.prompt[:MAX_TYPED]) if error.prompt else None
    return Refusal(card=Card(content=error.sentence, rows=(tuple(buttons),)), prompt=prompt)
