"""The rules for a lost worker: who is suspected, who runs alone next time. Pure.

An attempt counts only when the worker died while computing that job alone. A worker that dies with several jobs proves
nothing about any of them, so each of those runs alone the next time: a poisonous job then harms only itself. A job that
rested in the worker's memory computed nothing, so it is never among them.
"""

from collections.abc import Sequence

from bot.scheduling.attempt import Attempt, Lost

#: A far worker's lost connection is no death. But one that is lost this often with the same job alone is.
DISCONNECTS = 5


def outcomes_after_loss(
    attempts: Sequence[Attempt], *, died: bool, meant: bool, disconnects: int = 0
) -> dict[str, Lost]:
    """What each of the lost worker's jobs gets. `died`: its process ended or hung; `meant`: we told it to go.

    `disconnects`: how often the connection was lost before while the only job here ran alone.
    """
    suspects = computing(attempts)
    if meant:
        return {attempt.id: Lost(solo=attempt.job.solo, why="The worker was stopped.") for attempt in attempts}
    alone = len(suspects) == 1
    strike = alone and (died or disconnects >= DISCONNECTS)
    return {
        attempt.id: Lost(
            strike=strike and attempt in suspects,
            solo=attempt in suspects or attempt.job.solo,
            why="The worker was lost.",
        )
        for attempt in attempts
    }


def computing(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that the worker may have been computing."""
    return [attempt for attempt in attempts if attempt.ordered and not attempt.resting]
