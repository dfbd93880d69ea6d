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
        return FailureKind.ERROR, "The model's numbers overflowed. The bot's owner finds the cure in the log."
    return FailureKind.ERROR, "The picture could not be computed. The worker's log says why; a new try may help."


def not_loaded(model: str) -> str:
    """For everybody to read: why not, with paths and settings, is for whoever runs the worker."""
    return f"The model {quoted(model)} could not be loaded. The bot's owner finds why in the log."
