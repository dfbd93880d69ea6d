"""How the pictures of a job lie beside each other, while they develop and when they are done. Pure: knows no pixels."""

import math


def columns(count: int) -> int:
    """Pictures beside each other: up to three in one row, 2×2 for four, beyond that as near a square as holds them."""
    return count if count <= 3 else math.ceil(math.sqrt(count))
