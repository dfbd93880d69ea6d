"""What looks at pictures: describes them, checks them, embeds them, enlarges them. Each file is one of these."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

#: What a network is tried out with.
GREY = np.full((64, 64, 3), 128, dtype=np.uint8)


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


def read_whole(kind: Any, folder: Path, dtype: Any) -> Any:
    """A network of transformers with all of its weights. Raises CannotOpen, or whatever the library does.

    What a file lacks would be drawn at random.
    """
    with quietly():
        network, told = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    if missing := sorted(told["missing_keys"]):
        raise CannotOpen(f"{folder} lacks {len(missing)} of its weights ({missing[0]} is the first). Fetch it again.")
    return network
