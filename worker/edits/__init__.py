"""Edits: what becomes of a job's pictures, masks and canvas before the loop takes it, and of its pixels afterwards.

The engine's whole contract is one generator:

    work = prepare(order, PrepareContext(family=…, companions=…, text=…))
    next(work)          # one short piece: a picture decoded, an encode, a tile. Again, between the loop's steps …
                        # … until StopIteration, whose value is `Prepared`; CannotCompute comes before the device's work

`Prepared.starts` become rows (`batch.new_row`, in this order, with `strength` in the schedule); each decoded row goes
through `Prepared.finish(place, pixels)`, and what comes out (not None) is picture `starts[place].index`. A job without
starts is over at once: its `pictures` or `words` are the result. A plain grid takes the same way, with nothing to
prepare but its words. The family must be adapted (`Family.adapt`) before each piece, for LoRAs change encoders too.
"""

from worker.edits.inputs import needed_companions, wanted_companions
from worker.edits.padding import grid_of
from worker.edits.preparation import check_text_only, prepare, takes_steps
from worker.edits.prepared_job import PrepareContext, Prepared, RowStart

__all__ = [
    "PrepareContext",
    "Prepared",
    "RowStart",
    "check_text_only",
    "grid_of",
    "needed_companions",
    "prepare",
    "takes_steps",
    "wanted_companions",
]
