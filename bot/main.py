"""The composition root: opens all, wires all, runs all, closes all. Decides nothing about jobs."""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bot import database, health, log_setup
from bot.admission import Admission
from bot.catalogue import ModelRegistry
from bot.config import Config
from bot.event_bus import EventBus
from bot.image_store import ImageStore
from bot.moderation import Moderation
from bot.resources import Clock, Resources
from bot.scheduling import CostEstimator, Scheduler
from bot.services import Services
from bot.storage_retry import PASSING
from bot.workers import SILENT_SECONDS, WorkerServer
from core.cost import AccountPlan
from core.errors import AlreadyRunning, ConfigError, DarkroomError
from core.events import PHASE_DEADLINE_SECONDS, Phase
from storage.database import FILE
from storage.history import History
from storage.image_retention import ImageRetention
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.outbox import Outbox
from storage.reports import Reports
from storage.search import SearchIndex
from storage.settings import Settings

log = logging.getLogger(__name__)

#: Of the seconds that a stop may take, these are for posting what is done and for closing.
_POSTING_SECONDS, _CLOSING_SECONDS = 3.0, 3.0
EXIT_OK, EXIT_FAILED, EXIT_CONFIG, EXIT_RUNNING, EXIT_DISCORD = 0, 1, 2, 3, 4
_USE = "python bot.py, python bot.py doctor, python bot.py health, or python bot.py models"
_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id() -> str:
    """A job's id: unguessable, fits a nonce and a button's custom id."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(16))


def new_seed() -> int:
    """For a prompt that names none."""
    return random.randrange(2**32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs below Discord's surface."""

    services: Services
    worker_server: WorkerServer

    async def run(self) -> None:
        """Until cancelled. The scheduler is there before the first worker connects."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.services.scheduler.run())
            tasks.create_task(self.worker_server.run())
            tasks.create_task(self.services.model_registry.run())

    async def drain(self, seconds: float) -> None:
        """Refuses what is new, ends or puts back what runs."""
        self.services.admission.close("Darkroom is restarting. Try again in a minute; what is in the queue stays.")
        await self.services.scheduler.drain(seconds)


def plan_of(config: Config) -> AccountPlan:
    """The one plan that everybody has."""
    return AccountPlan(
        name="default",
        fast_ms_per_period=round(config.fast_minutes * 60_000),
        running=config.running,
        waiting=config.waiting,
        max_work=round(config.max_work * 1e6),
    )


@asynccontextmanager
async def build(
    config: Config,
    *,
    clock: Clock = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    new_id: Callable[[], str] = new_id,
    new_seed: Callable[[], int] = new_seed,
    deadlines: Mapping[Phase, float] = PHASE_DEADLINE_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> AsyncIterator[Parts]:
    """All parts but the client of Discord, wired; takes back what an earlier start left running.

    Raises ConfigError, AlreadyRunning.
    """
    async with _resources(config, clock, monotonic, new_id, new_seed) as resources:
        costs = CostEstimator(config, resources.settings, resources.model_registry)
        worker_server = WorkerServer(
            config,
            model=resources.model_registry.launch,
            catalogue=resources.model_registry.order,
            clock=clock,
            monotonic=monotonic,
            deadlines=deadlines,
            silent_seconds=silent_seconds,
        )
        resources.model_registry.changed = worker_server.tell_catalogue
        owners = set(config.owners)
        moderation = Moderation(config, owners)
        scheduler = Scheduler(resources, costs, worker_server, boot=new_id())
        admission = Admission(resources, costs, moderation, scheduler)
        services = Services.over(
            resources, moderation=moderation, scheduler=scheduler, admission=admission, owners=owners
        )
        await scheduler.begin()
        yield Parts(services=services, worker_server=worker_server)


@asynccontextmanager
async def _resources(
    config: Config,
    clock: Clock,
    monotonic: Clock,
    new_id: Callable[[], str],
    new_seed: Callable[[], int],
) -> AsyncIterator[Resources]:
    async with database.database(config.data, clock=clock) as db:
        ledger, settings = Ledger(db), Settings(db)
        model_registry = ModelRegistry(config, settings, clock=clock)
        await model_registry.begin()
        jobs = Jobs(db, ledger, relax_share=config.relax_share)
        yield Resources(
            config=config,
            clock=clock,
            monotonic=monotonic,
            new_id=new_id,
            new_seed=new_seed,
            db=db,
            jobs=jobs,
            ledger=ledger,
            outbox=Outbox(db),
            history=History(db),
            search=SearchIndex(db),
            reports=Reports(db),
            settings=settings,
            images=ImageStore(
                config.data / "pictures",
                db,
                ImageRetention(db),
                jobs,
                limit_bytes=round(config.disk_gb * 1e9),
                free_bytes=config.disk_free_mb * 1_000_000,
            ),
            model_registry=model_registry,
            bus=EventBus(),
            plan=plan_of(config),
        )


async def serve(config: Config) -> None:
    """The bot, from start to SIGTERM. Raises DarkroomError for whatever a person has to mend."""
    from bot.interactions import DarkroomBot, point_at

    for note in config.notes:
        log.warning("%s", note)
    config.need_token()
    point_at(config.api_url)
    with _signals() as stop:
        async with build(config) as parts, DarkroomBot(parts.services) as bot, asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(parts.run(), name="parts"),
                tasks.create_task(_keep_up(bot.background), name="background"),
                tasks.create_task(health.keep_writing(config.data, lambda: _signs(parts, bot)), name="health"),
                tasks.create_task(_connect(bot, config), name="discord"),
            ]
            await stop.wait()
            # Whatever hangs: all that counts is in the database, so an end by force loses nothing.
            deadline = asyncio.get_running_loop().call_later(config.stop_seconds, os._exit, EXIT_FAILED)
            await _stop(parts, bot, config.stop_seconds)
            await bot.close()
            for task in running:
                task.cancel()
        deadline.cancel()
    log.info("The bot has stopped.")


async def _connect(bot: Any, config: Config) -> None:
    """Logs in and stays connected. Raises DarkroomError when Discord does not want that."""
    import discord

    from bot.interactions import Unreachable, log_in, until_reachable

    await until_reachable(config.api_url)
    await log_in(bot, config.token)
    try:
        await bot.connect()
    except (discord.ConnectionClosed, discord.PrivilegedIntentsRequired) as error:
        raise Unreachable(
            f"Discord ended the connection ({error}). Start again when its status page reports no problem."
        ) from error


async def _keep_up(background: Callable[[], Awaitable[None]]) -> None:
    """Keeps messages up to date for as long as the bot lives, also when disk or database fail for a while."""
    again = True
    while again:
        again = False
        try:
            await background()
        except* PASSING as errors:
            log.error("Messages could not be kept up to date (%s).", errors.exceptions[0])
            again = True
        await asyncio.sleep(1.0)


async def _stop(parts: Parts, bot: Any, seconds: float) -> None:
    log.info("The bot is stopping; running jobs have %.0f s to finish, the others wait for the next start.", seconds)
    await parts.drain(max(0.0, seconds - _POSTING_SECONDS - _CLOSING_SECONDS))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_POSTING_SECONDS):
            await bot.editor.show_requeued()
            # The outbox is the truth; nobody tells when it is empty.
            while await parts.services.outbox.undelivered(parts.services.clock()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def _signs(parts: Parts, bot: Any) -> dict[str, Any]:
    state = parts.services.scheduler.worker_state()
    return {"connected": bot.is_ready(), "worker": "paused" if state.paused else str(state.status)}


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process at once, which loses nothing."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(EXIT_FAILED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _named(error: BaseException, config: Config | None) -> BaseException:
    """A database that broke while the bot ran is said as at a start."""
    if config is not None and isinstance(error, sqlite3.DatabaseError) and database.is_damaged(error):
        return ConfigError(database.why(config.data / FILE, error))
    return error


def _first(error: BaseException) -> BaseException:
    """The first error of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _complain(sentence: str) -> None:
    print(f"darkroom: {sentence}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """The process: `python bot.py [doctor | health | models …]`. Returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words in (["--help"], ["-h"]):
        print(f"Usage: {_USE}.")
        return EXIT_OK
    if words not in ([], ["doctor"], ["health"]) and words[:1] != ["models"]:
        _complain(f"usage: {_USE}")
        return EXIT_CONFIG
    config: Config | None = None
    try:
        config = Config.from_env()
        log_setup.set_up(config.log, config.secrets())
        if words:
            return _asked(config, words)
        asyncio.run(serve(config))
    except BaseException as error:
        return _exit_code(_named(_first(error), config))
    return EXIT_OK


def _asked(config: Config, words: list[str]) -> int:
    """What prints its answer and ends. Whoever reads it may stop doing so, as `head` does."""
    try:
        code = _answer(config, words)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, or Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def _answer(config: Config, words: list[str]) -> int:
    if words == ["health"]:
        well, sentence = health.check(config.data, time.time())
        print(sentence)
        return EXIT_OK if well else EXIT_FAILED
    if words == ["doctor"]:
        from bot.doctor import examine

        return asyncio.run(examine(config))
    from bot.catalogue import cli

    return cli.run(config, words[1:])


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return EXIT_OK
    if not isinstance(error, DarkroomError):
        log.critical("The bot stopped because of an error of its own.", exc_info=error)
        return EXIT_FAILED
    _complain(error.sentence)
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    return EXIT_RUNNING if isinstance(error, AlreadyRunning) else EXIT_DISCORD


__all__ = ["Parts", "build", "main", "serve"]
