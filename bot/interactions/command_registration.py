"""Tells Discord our commands: only when they changed, and without keeping those that are there from being served.

Knows nothing of what the commands do.
"""

import asyncio
import hashlib
import json
import logging
from typing import Any

from discord import AppCommandType, app_commands

from bot.messages import REQUEST_ERRORS, in_one_line, retry_after
from bot.storage_retry import PASSING
from core.backoff import backoff_seconds
from storage.settings import Settings

log = logging.getLogger(__name__)

_HASH = "commands:hash"
_OURS = frozenset({AppCommandType.chat_input, AppCommandType.user, AppCommandType.message})
#: The start waits so long for Discord to take the commands; a longer wait goes on beside it.
START_SECONDS = 10.0
FIRST_SECONDS, LONGEST_SECONDS = 60.0, 3600.0


class CommandRegistration:
    """Of one tree; what Discord was told last is kept in the settings."""

    def __init__(self, tree: app_commands.CommandTree[Any], settings: Settings) -> None:
        self._tree = tree
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def begin(self, application: str) -> None:
        """Registers what changed; returns when that is done, or when it takes too long for a start.

        `application`: what else decides whether Discord has them already, such as the application's id.
        """
        self._task = asyncio.create_task(self._until_registered(application), name="commands")
        done, _ = await asyncio.wait([self._task], timeout=START_SECONDS)
        for task in done:
            task.result()  # a mistake of ours ends the start

    async def end(self) -> None:
        """Stops trying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _until_registered(self, application: str) -> None:
        failures = 0
        while True:
            try:
                await self._register(application)
                return
            except (*REQUEST_ERRORS, *PASSING) as error:
                failures += 1
                wait = backoff_seconds(failures, first=FIRST_SECONDS, longest=LONGEST_SECONDS)
                wait = max(wait, retry_after(error) or 0.0)
                log.warning(
                    "The commands could not be registered (%s); those that Discord has are served. The next try is in "
                    "%.0f s.",
                    in_one_line(error),
                    wait,
                )
                await asyncio.sleep(wait)

    async def _register(self, application: str) -> None:
        """Registering is limited each day, so only when they changed."""
        commands = self._tree.get_commands()
        body = json.dumps([command.to_dict(self._tree) for command in commands], sort_keys=True)
        digest = hashlib.sha256(f"{application}{body}".encode()).hexdigest()
        if await self._settings.state(_HASH) == digest:
            # What others add there, such as an activity's entry point, is none of ours.
            theirs = {(one.name, one.type) for one in await self._tree.fetch_commands() if one.type in _OURS}
            if theirs == {(command.name, _type_of(command)) for command in commands}:
                return
        await self._tree.sync()
        await self._settings.put_state(_HASH, digest)
        log.info("The commands were registered with Discord.")


def _type_of(command: Any) -> AppCommandType:
    return command.type if isinstance(command, app_commands.ContextMenu) else AppCommandType.chat_input
