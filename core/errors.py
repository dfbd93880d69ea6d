"""One tree of errors. Each carries the sentence that its reader sees; raised deep, caught once at the edge."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: So many mistakes of a prompt are told at once.
_MOST_TOLD = 6


class DarkroomError(Exception):
    """Something a person has to be told. `sentence` says what was wrong and what would be right."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class ConfigError(DarkroomError):
    """The program cannot start like this; the sentence names the setting and its cure."""


class AlreadyRunning(DarkroomError):
    """Another process holds this data folder."""


class Cure(StrEnum):
    """What helps a refused wish that has a prompt."""

    WORDS = "words"  # another prompt
    RELAX = "relax"  # the same in the relax lane; or a smaller one
    LATER = "later"  # the same a little later
    NONE = "none"  # nothing that its answer could offer


class Refused(DarkroomError):
    """A member's wish that cannot be granted now. Nothing was queued and nothing was charged.

    `prompt`, when there is one, is what was typed: the answer then keeps it, with a button for the `cure`.
    """

    cure = Cure.WORDS

    def __init__(self, sentence: str, *, prompt: str | None = None, cure: Cure | None = None) -> None:
        super().__init__(sentence)
        self.prompt = prompt
        self.cure = cure or self.cure


@dataclass(frozen=True, slots=True)
class Edit:
    """Of a prompt: what stands from `start` to `end` (character indices) becomes `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong with a prompt. `word` is the offending word, `start` its place (a character index).

    `edits` mend it; none where only its author knows what was meant.
    """

    sentence: str
    word: str
    start: int
    edits: tuple[Edit, ...] = ()


class PromptError(Refused):
    """The prompt does not parse. `mistakes`, at least one, in the order of their places."""

    def __init__(self, mistakes: Sequence[Mistake], *, prompt: str) -> None:
        super().__init__(_told(mistakes), prompt=prompt)
        self.mistakes = tuple(mistakes)
        self.typed = prompt

    def corrected(self) -> str:
        """The prompt with everything mended that can only have been meant in one way."""
        text = self.typed
        edits = sorted((edit for mistake in self.mistakes for edit in mistake.edits), key=lambda edit: -edit.start)
        end = len(text)
        for edit in edits:
            if edit.end <= end:  # of two that overlap, the one that stands later
                text = text[: edit.start] + edit.text + text[edit.end :]
                end = edit.start
        return text


def _told(mistakes: Sequence[Mistake]) -> str:
    """One sentence, or a list of them."""
    sentences = list(dict.fromkeys(mistake.sentence for mistake in mistakes))
    if len(sentences) == 1:
        return sentences[0]
    more = len(sentences) - _MOST_TOLD
    lines = [f"- {sentence}" for sentence in sentences[:_MOST_TOLD]]
    return "\n".join(["This prompt has several mistakes:", *lines, *([f"- and {more} more"] if more > 0 else [])])


class NotAllowed(Refused):
    """A rule of the owner or of the server forbids it. `rule` names which."""

    cure = Cure.NONE

    def __init__(self, sentence: str, *, rule: str, prompt: str | None = None, cure: Cure | None = None) -> None:
        super().__init__(sentence, prompt=prompt, cure=cure)
        self.rule = rule


class QueueFull(Refused):
    """The member's or the server's cap is reached."""

    cure = Cure.LATER


class QuotaSpent(Refused):
    """The plan's fast time does not cover this job. `renews_at`: seconds since the epoch."""

    cure = Cure.RELAX

    def __init__(self, sentence: str, *, renews_at: float, prompt: str | None = None) -> None:
        super().__init__(sentence, prompt=prompt)
        self.renews_at = renews_at


class DiskFull(Refused):
    """There is no room to keep another result."""

    cure = Cure.LATER


class PicturesAway(Refused):
    """Kept pictures cannot be read just now: their disk or folder is away, or refuses. It passes; nothing is lost."""

    cure = Cure.LATER


class NotYours(Refused):
    """Someone else's job."""

    cure = Cure.NONE


class Gone(Refused):
    """The job or picture that a button names is not there any more."""

    cure = Cure.NONE


class FrameError(DarkroomError):
    """A frame on the worker's wire that cannot be read; the connection is closed."""
