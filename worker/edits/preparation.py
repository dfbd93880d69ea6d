"""Where every job is prepared: reads what it brings, refuses what cannot be, and hands it to whoever knows its kind."""

from collections.abc import Generator

from core.events import Submit
from core.job import Kind
from worker.edits.img2img import prepare_pictures
from worker.edits.inputs import read_inputs
from worker.edits.prepared_job import PrepareContext, Prepared
from worker.edits.upscale import prepare_upscale
from worker.errors import CannotCompute


def takes_steps(order: Submit) -> bool:
    """False for what is over when it is prepared: words, and pictures that a network beside the model enlarges."""
    upscale = order.request.upscale
    return order.kind is not Kind.DESCRIBE and (upscale is None or upscale.creative)


def check_text_only(order: Submit) -> None:
    """For models that draw from words alone: raises CannotCompute for an order that brings pictures or changes them."""
    request = order.request
    if order.source or order.pictures or request.canvas is not None or request.strength < 1 or request.chaos:
        raise CannotCompute(
            "This model makes pictures from words alone: it cannot start from a picture, follow one or change one, "
            "and does not support chaos."
        )


def prepare(order: Submit, context: PrepareContext) -> Generator[None, None, Prepared]:
    """Prepares one job, a short piece at a time: first what it brings, then the device's work.

    Raises CannotCompute: in the first piece what its numbers tell, and before the device's what its pictures do.
    """
    inputs = yield from read_inputs(order, context.companions)
    if order.kind is Kind.DESCRIBE:
        assert inputs.source is not None and context.companions.describer is not None  # read_inputs() saw to it
        return Prepared(words=context.companions.describer.describe(inputs.source))
    if order.request.upscale is not None:
        return (yield from prepare_upscale(order, inputs, context))
    return (yield from prepare_pictures(order, inputs, context))
