"""What the loop can be told: the bot's orders, and two from within the process. Knows nothing else."""

from core.events import Cancel, Submit


class Drop:
    """The connection is gone: nobody waits for these jobs any more."""


class Stop:
    """Leave the loop."""


Order = Submit | Cancel | Drop | Stop
