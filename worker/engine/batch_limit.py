"""How many rows one forward may hold: as many as the device is said to take, fewer after it was full, then more again.

Knows nothing of what rows are.
"""

import logging

from worker.device import Device, free_cache

log = logging.getLogger("darkroom.batch")

#: After this many forwards without trouble a limit that was halved for want of memory may double again.
FORWARDS_BEFORE_GROWTH = 200


class BatchLimit:
    """`rows`: how many a forward may have now."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.rows = device.max_rows
        self._successes = 0

    def halve(self, rows: int) -> None:
        """So many did not fit: from now on half of them."""
        self.rows, self._successes = max(1, rows // 2), 0
        free_cache(self._device)
        log.warning("Memory is full with %d rows a forward; going on with %d.", rows, self.rows)

    def record_success(self) -> None:
        """A forward went well."""
        if self.rows < self._device.max_rows:
            self._successes += 1
            if self._successes >= FORWARDS_BEFORE_GROWTH:
                self.rows, self._successes = min(self._device.max_rows, self.rows * 2), 0

    def reset(self) -> None:
        """It was one job alone that was too large: the others may have the whole limit again."""
        free_cache(self._device)
        self.rows = self._device.max_rows
