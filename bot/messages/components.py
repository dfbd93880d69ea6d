"""Components of messages as data, and the one codec of their custom ids. Knows no handlers, no jobs and no discord.

A component holds a verb and what it is about; everything else is in the job's row or in the message, so that it works
after any restart. Ids that stand in posted messages stay readable for ever.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

#: Discord's longest custom id.
MAX_CUSTOM_ID = 100

#: What every id of ours looks like from afar; `parse` tells them apart.
ANY_ID = rf"(?:job|ask):.{{1,{MAX_CUSTOM_ID - 4}}}"
_JOB = re.compile(
    r"job:(?P<job>[0-9a-z]{1,20}):(?P<verb>[a-z][a-z0-9-]{0,31})(?::(?P<index>[0-9]{1,2}))?(?P<relax>:relax)?"
    r"(?::=(?P<argument>[a-z0-9]{1,16}))?"
)
_OTHER = re.compile(r"ask:(?P<verb>[a-z][a-z0-9-]{0,31})(?::(?P<argument>[\w.-]{1,60}))?", re.ASCII)


class Verb(StrEnum):
    """What the components do that every job has; features may declare others."""

    UPSCALE = "u"
    VARY = "v"
    AGAIN = "again"
    INFO = "info"
    CANCEL = "cancel"
    DELETE = "delete"


class Style(StrEnum):
    """The colour of a button."""

    QUIET = "secondary"
    MAIN = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentId:
    """`job:<job>:<verb>[:<index>][:relax][:=<argument>]`, or `ask:<verb>[:<argument>]` for what is about no job.

    `index` is a picture, 0-based. `relax`: the same again in the relax lane. `argument`: what else is meant.
    """

    verb: str
    job: str | None = None
    index: int | None = None
    relax: bool = False
    argument: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for one that could not be read again, so that no such component is ever posted."""
        if self.parse_fields(str(self)) != (self.job, self.verb, self.index, self.relax, self.argument):
            raise ValueError(
                f"{self} is not a custom id of ours: a verb is lower-case letters, digits and hyphens, at most 32; an "
                "argument at most 60 letters, digits, dots, hyphens and underscores, or where there is a job 16 "
                "lower-case letters and digits."
            )

    def __str__(self) -> str:
        if self.job is None:
            return ":".join(("ask", self.verb, *((self.argument,) if self.argument else ())))
        index = () if self.index is None else (str(self.index),)
        more = (*(("relax",) if self.relax else ()), *((f"={self.argument}",) if self.argument else ()))
        return ":".join(("job", self.job, self.verb, *index, *more))

    @classmethod
    def parse(cls, custom_id: str) -> Self | None:
        """None for what is none of ours."""
        found = cls.parse_fields(custom_id)
        if found is None:
            return None
        job, verb, index, relax, argument = found
        return cls(verb=verb, job=job, index=index, relax=relax, argument=argument)

    @staticmethod
    def parse_fields(custom_id: str) -> tuple[str | None, str, int | None, bool, str] | None:
        """(job, verb, index, relax, argument); None for what is none of ours."""
        if match := _JOB.fullmatch(custom_id):
            index = None if match["index"] is None else int(match["index"])
            return match["job"], match["verb"], index, match["relax"] is not None, match["argument"] or ""
        if match := _OTHER.fullmatch(custom_id):
            return None, match["verb"], None, False, match["argument"] or ""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button that works for ever."""

    id: ComponentId
    label: str | None = None
    emoji: str | None = None
    style: Style = Style.QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of a select: `value` is what a press carries."""

    value: str
    label: str
    description: str | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A menu that works for ever; it fills a row of its own. 1 to 25 options."""

    id: ComponentId
    options: tuple[Option, ...]
    placeholder: str | None = None
    least: int = 1
    most: int = 1


Component = Button | Select


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a message shows: text and rows of components. The files come from elsewhere."""

    content: str
    rows: tuple[tuple[Component, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One text field of a form. `long`: several lines."""

    name: str
    label: str
    description: str | None = None
    value: str = ""
    long: bool = False
    required: bool = True
    max_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A field of a form in which one of up to 25 options is chosen; its value is the option's."""

    name: str
    label: str
    options: tuple[Option, ...]
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form that a press opens; submitting it carries `id`, so that it works after a restart in between."""

    id: ComponentId
    title: str
    fields: tuple[Field | Choice, ...]


def job_component(job: str, verb: str, index: int | None = None, argument: str = "") -> ComponentId:
    """The id of a job's component."""
    return ComponentId(verb=verb, job=job, index=index, argument=argument)
