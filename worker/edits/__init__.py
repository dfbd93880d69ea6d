"""Edits: what becomes of a job's pictures, masks and canvas before the loop takes it, and of its pixels afterwards.

The engine's whole contract is one generator:

    work = prepare(order, Desk(family=…, tools=loaded.tools, text=…))
    next(work)          # one short piece: a picture decoded, an encode, a tile. Again, between the loop's steps …
                        # … until StopIteration, whose value is `Prepared`; CannotCompute comes before the device's work

`Prepared.starts` become rows (`rows.new_row`, in this order, with `strength` in the plan); each decoded row goes
through `Prepared.finish(place, pixels)`, and what comes out (not None) is picture `starts[place].index`. A job without
starts is over at once: its `pictures` or `words` are the result. A plain grid takes the same way, with nothing to
prepare but its words. The family must be adapted (`Family.adapt`) before each piece, for LoRAs change encoders too.
"""

from worker.edits.prepare import check_from_words, prepare, takes_steps
from worker.edits.prepared_job import Desk, Finish, Prepared, Start

__all__ = ["Desk", "Finish", "Prepared", "Start", "check_from_words", "prepare", "takes_steps"]
