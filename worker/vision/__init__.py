"""What looks at pictures: describes them, checks them, embeds them, enlarges them. Each file is one of these."""

from collections.abc import Iterator
from contextlib import contextmanager


class CannotOpen(Exception):
    """A network that lies beside a model cannot be used; the text is a sentence that says why and what to do."""


@contextmanager
def quietly() -> Iterator[None]:
    """No tables of weights that a checkpoint holds for other readings of it: one file may serve several."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
