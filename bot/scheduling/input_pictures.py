"""The pictures that an order brings beside its source, by what its request says of them. Knows no workers.

So far these are masks of numbered areas, which are drawn from the request alone: nothing has to be kept for them.
"""

from bot import lattice_image
from bot.thread_pool import ThreadPool
from core import lattice
from core.errors import Gone
from core.job import Input, Request

_drawing = ThreadPool("mask", 1)


async def pictures_of(request: Request) -> tuple[bytes, ...]:
    """One for each of its inputs, in order. Raises Gone for one that nobody has."""
    return tuple([await _picture(one, (request.width, request.height)) for one in request.inputs])


async def _picture(one: Input, size: tuple[int, int]) -> bytes:
    if not one.of.startswith(lattice.PREFIX):
        raise Gone("A picture that this needs is not here any more.")
    areas = lattice.areas_of(one.of.removeprefix(lattice.PREFIX))
    return await _drawing.run(lattice_image.mask, size, areas)
