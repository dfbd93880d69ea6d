"""What the worker cannot do: exceptions whose text is the sentence that somebody reads. Knows no causes."""

from core.errors import DarkroomError


class CannotLoad(DarkroomError):
    """The model cannot be used; the sentence says why and what to do."""


class NotHere(CannotLoad):
    """Its files are not here, or not all of them."""


class NoRoom(CannotLoad):
    """It would lie much better without this worker's other models."""


class CannotOpen(Exception):
    """A network that lies beside a model cannot be used; the text is a sentence that says why and what to do."""


class CannotCompute(Exception):
    """This job can never work here; the text is the sentence its reader sees."""
