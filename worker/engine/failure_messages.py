"""What a member is told when an exception ends their job. Knows nothing of how it came to it."""

from core.events import FailureKind
from core.spelling import quoted
from worker.device import is_out_of_memory
from worker.errors import CannotCompute


def describe_failure(error: Exception, size: tuple[int, int]) -> tuple[FailureKind, str]:
    """The kind, and a sentence with its cure; `size`: (width, height) of one picture in pixels."""
    if isinstance(error, CannotCompute):
        return FailureKind.INVALID, str(error)
    if is_out_of_memory(error):
        width, height = size
        sentence = f"One picture of {width}×{height} does not fit into the GPU's memory. Try a smaller size."
        return FailureKind.OUT_OF_MEMORY, sentence
    if isinstance(error, ArithmeticError):
        return FailureKind.ERROR, "The model's numbers overflowed. The bot's owner can find the cure in the log."
    return FailureKind.ERROR, "The picture could not be computed. The worker's log says why; trying again may help."


def not_here(model: str) -> str:
    """Of one whose files are missing."""
    cure = "Choose another one with `--model`, or ask the bot's owner to fetch it."
    return f"The model {quoted(model)} is not here. {cure}"


def not_loaded(model: str) -> str:
    """For everybody to read: why not, with paths and settings, is for whoever runs the worker."""
    return f"The model {quoted(model)} could not be loaded. The bot's owner can find the reason in the log."


def companion_broken(companion: str, file: str, model: str) -> str:
    """Of what lies beside a model. The file's own name is no secret; where it lies is."""
    return (
        f"The {companion} {quoted(file)} of {quoted(model)} cannot be used and was switched off, at no cost to you: "
        "the bot's owner can find more in the log; most often the file has to be fetched again."
    )


def companion_lacks_memory(companion: str, file: str, model: str) -> str:
    """The same where memory is the reason."""
    return (
        f"The {companion} {quoted(file)} of {quoted(model)} does not fit in the GPU's memory and was switched off, at "
        "no cost to you: the bot's owner can find the cure in the log."
    )
