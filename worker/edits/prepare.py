"""Where every job is prepared: reads what it brings, refuses what cannot be, and hands it to whoever knows its kind."""

from collections.abc import Generator

from core.events import Submit
from core.job import Kind
from worker.edits.brought import read
from worker.edits.enlarge import enlarge
from worker.edits.pictures import prepare_pictures
from worker.edits.plan import Desk, Prepared


def prepare(order: Submit, desk: Desk) -> Generator[None, None, Prepared]:
    """Prepares one job, a short piece of device work at a time. Raises CannotCompute before the first."""
    brought = read(order, desk.tools)
    if order.kind is Kind.DESCRIBE:
        assert brought.source is not None and desk.tools.describer is not None  # read() saw to it
        return Prepared(words=desk.tools.describer.describe(brought.source))
    if order.request.upscale is not None:
        return (yield from enlarge(order, brought, desk))
    return (yield from prepare_pictures(order, brought, desk))
