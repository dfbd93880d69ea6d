"""What a member has saved for their prompts: macros, a suffix, the choices of /settings. Keeps only what can be read.

Precedence: the prompt, then its macros, the suffix, the settings. Knows no command and no card.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.services import Services
from core import prompt_macros
from core.errors import PromptError, Refused
from core.prompt import Defaults, parse
from core.prompt_reading import Saved, read_saved
from core.spelling import quoted

SUFFIX, MACROS, MODEL, STYLIZE, RAW = "suffix", "macros", "model", "stylize", "raw"
MOST_CHARACTERS = 500
_FROM_SUFFIX = "your suffix (`/prefer suffix`)"
_FROM_SETTINGS = "your settings (`/settings`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSettings:
    """`saved`: parameters that hold where a prompt says nothing, the nearer to it first; `macros` by name."""

    saved: tuple[Saved, ...] = ()
    macros: Mapping[str, str] = field(default_factory=dict)


async def of(services: Services, user: str) -> SavedSettings:
    """Those of one member."""
    kept = await services.settings.member(user)
    saved = []
    if kept.get(SUFFIX):
        saved.append(Saved(text=kept[SUFFIX], origin=_FROM_SUFFIX))
    chosen = [f"--{name} {kept[name]}" for name in (MODEL, STYLIZE) if kept.get(name) is not None]
    if kept.get(RAW):
        chosen.append("--raw")
    if chosen:
        saved.append(Saved(text=" ".join(chosen), origin=_FROM_SETTINGS))
    return SavedSettings(saved=tuple(saved), macros=kept.get(MACROS, {}))


async def keep_suffix(services: Services, user: str, text: str) -> str:
    """Keeps it, forgets it where it is empty; returns what was kept. Raises Refused."""
    text = " ".join(text.split())
    _check_length("A suffix", text)
    if words := _check_parameters(services, text):
        raise Refused(
            f"A suffix takes parameters only, and {quoted(words)} is none. Say it as in `--ar 3:2 --no text`."
        )
    await services.settings.set_member(user, SUFFIX, text or None)
    return text


async def keep_macro(services: Services, user: str, name: str, value: str) -> str:
    """Keeps what `--name` stands for, forgets it where that is empty; returns the name. Raises Refused."""
    name, value = name.strip().removeprefix("--").lower(), " ".join(value.split())
    macros = dict((await services.settings.member(user)).get(MACROS, {}))
    if not value:
        if macros.pop(name, None) is None:
            raise Refused(f"You have no option {quoted(f'--{name}')}. `/prefer option list` shows yours.")
    else:
        if why := prompt_macros.why_not(name):
            raise Refused(why)
        if name not in macros and len(macros) >= prompt_macros.MOST_MACROS:
            raise Refused(f"You have {len(macros)} options, the most there can be. Leave out a value to delete one.")
        _check_length("An option", value)
        _check_parameters(services, prompt_macros.split(value)[1])
        macros[name] = value
    await services.settings.set_member(user, MACROS, macros or None)
    return name


def _check_length(what: str, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise Refused(f"{what} has up to {MOST_CHARACTERS} characters; this has {len(text)}.")


def _check_parameters(services: Services, text: str) -> str:
    """The words before them. Raises Refused for a mistake: every later prompt would have it."""
    saved = Saved(text=text, origin="")
    reading = read_saved(saved)
    choices = services.model_registry.choices
    try:
        reading.mistakes.raise_any()
        parse("a picture", choices=choices, defaults=Defaults(), seed=0, saved=(saved,))
    except PromptError as error:
        raise Refused(error.sentence) from None
    return reading.words
