"""Opens a network from a folder in transformers' format: safetensors alone, nothing fetched. Knows no insides."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from worker.errors import CannotOpen


def open_network(network_class: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Ready to compute. Raises CannotOpen where weights are missing, or OSError or ValueError when there is none."""
    with _quietly():
        network, told = network_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    if missing := sorted(told["missing_keys"]):
        # The library would fill them up at random.
        raise CannotOpen(f"{folder} lacks {len(missing)} of its weights ({missing[0]} is the first). Fetch it again.")
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def _quietly() -> Iterator[None]:
    """No tables of weights that a checkpoint holds for other readings of it: one file may serve several."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
