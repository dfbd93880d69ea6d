"""Says before the first start what is missing or wrong, each with its cure, and where to invite the bot.

Changes nothing. The half that needs torch is the worker's own, in a process of its own: `python -m worker doctor`.
"""

import asyncio
import contextlib
import importlib.util
import os
import sqlite3
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bot import database
from bot.catalogue import Availability, catalogue_files, folder_watcher, locations
from bot.config import ROOT, Config
from bot.file_storage import free_bytes, nearest_folder
from bot.interactions import DISCORD
from bot.invite_link import invite_link
from bot.workers import PLAIN_COMMAND, tcp_listener, worker_environment, worker_options
from core.catalogue import POSTCARD
from core.catalogue_file import is_path, read
from core.errors import AlreadyRunning, ConfigError
from storage.database import FILE
from storage.ledger import Ledger

_MB = 1_000_000
_WORKER_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `ok` None: worth knowing."""

    ok: bool | None
    sentence: str

    def __str__(self) -> str:
        return f"{ {True: 'ok   ', False: 'WRONG', None: '·    '}[self.ok] } {self.sentence}"


_RUNS = Finding(True, "A bot is running on this data folder, so its database and its worker are left alone.")
_TRIABLE = Finding(True, "The bot starts a worker here.")


async def examine(config: Config) -> int:
    """Prints every finding; 0 when nothing is wrong, else 1."""
    wrong = 0
    async for finding in _findings(config):
        print(finding)
        wrong += finding.ok is False
    print("Everything is in place." if not wrong else f"{wrong} to fix.")
    return 1 if wrong else 0


async def _findings(config: Config) -> AsyncIterator[Finding]:
    for note in config.notes:
        yield Finding(None, note)
    yield _model(config)
    for sentence in folder_watcher.unusable(config.data / "models", config.data / "loras"):
        yield Finding(None, sentence)
    yield _folder(config.data)
    yield _room(config)
    database = await _database(config)
    yield database
    worker = _worker(config)
    yield worker
    if config.worker_listen is not None:
        yield await _port(*config.worker_listen, runs=database is _RUNS)
    if worker is _TRIABLE and database is not _RUNS:  # a second worker would take memory from the running one
        async for finding in _tried(config):
            yield finding
    async for finding in _discord(config):
        yield finding


def _model(config: Config) -> Finding:
    try:
        model = catalogue_files.default_of(config, read(catalogue_files.documents(config)))
    except ConfigError as error:
        return Finding(False, error.sentence)
    place = locations.examined(model, config.data)
    here = config.worker == "local"  # in a container of its own the bot has no weights, and needs none
    if here and model.name == POSTCARD.name and place.state is not Availability.HERE:
        return Finding(False, f"The shipped model in {place.path} is incomplete. Clone the whole repository again.")
    if here and is_path(model.path) and place.problems:
        return Finding(False, f"The model {model.name} cannot be used: {place.problems[0]}")
    if here and place.state is not Availability.HERE:
        fetch = f"`python bot.py models add {model.name if '/' not in config.model else config.model}` fetches it now"
        later = "the worker does so when it starts, if it can"
        return Finding(False, f"The model {model.name} is not here ({place.state}): {fetch}; {later}.")
    return Finding(True, f"The model is {model.name}, {model.native}×{model.native} pixels.")


def _folder(data: Path) -> Finding:
    if not os.access(nearest_folder(data), os.W_OK | os.X_OK):
        return Finding(False, f"{data} cannot be written to. Give this user access, or set DARKROOM_DATA to another.")
    return Finding(True, f"The data folder is {data}.")


def _room(config: Config) -> Finding:
    free = free_bytes(config.data) // _MB
    if free < config.disk_free_mb:
        return Finding(
            False,
            f"Only {free} MB are free, but DARKROOM_DISK_FREE_MB asks for {config.disk_free_mb}. Free some space.",
        )
    return Finding(True, f"{free} MB are free for pictures and the database.")


async def _database(config: Config) -> Finding:
    path = config.data / FILE
    if not path.exists():
        return Finding(None, "There is no database yet; the first start makes it.")
    try:
        async with database.database(config.data, clock=time.time) as db:
            wrong = await Ledger(db).audit()
    except AlreadyRunning:
        return _RUNS
    except ConfigError as error:
        return Finding(False, error.sentence)
    except sqlite3.Error as error:
        return Finding(False, database.why(path, error))
    if wrong:
        return Finding(
            False, f"The ledger does not add up: {'; '.join(wrong[:3])}. Keep a copy of the data and report it."
        )
    return Finding(True, "The database opens, and its ledger adds up.")


def _worker(config: Config) -> Finding:
    if config.worker == "none":
        if config.worker_listen is None:
            return Finding(None, "No worker is started here, and none can connect: DARKROOM_WORKER_LISTEN is empty.")
        return Finding(True, "No worker is started here; workers on other machines connect.")
    missing = [name for name in ("torch", "diffusers", "transformers") if importlib.util.find_spec(name) is None]
    if missing and not config.worker_command:
        return Finding(
            False,
            f"The worker needs {', '.join(missing)}. Run scripts/install.sh worker, or set DARKROOM_WORKER=none here.",
        )
    if config.worker_command:
        return Finding(None, "DARKROOM_WORKER_COMMAND starts the worker here; only a start shows whether it works.")
    return _TRIABLE


async def _port(host: str, port: int, *, runs: bool) -> Finding:
    """Whether workers can dial in there. `runs`: a bot that may have it is at work on this data folder."""
    try:
        await tcp_listener.attempt(host, port)
    except tcp_listener.Taken as error:
        if runs:
            return Finding(None, f"{host}:{port} is taken, most likely by the running bot.")
        return Finding(False, error.sentence)
    except ConfigError as error:
        return Finding(False, error.sentence)
    return Finding(True, f"Workers can connect to {host}:{port}.")


async def _tried(config: Config) -> AsyncIterator[Finding]:
    """What the worker's own doctor says. A model that lies on the hub is not fetched for it; Postcard stands in."""
    model, why = _at_hand(config)
    if why:
        yield Finding(None, why)
    command = [*PLAIN_COMMAND, "doctor", *worker_options(config, model)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=DEVNULL, cwd=ROOT, env=worker_environment()
    )
    try:
        async with asyncio.timeout(_WORKER_SECONDS):
            lines = (await process.communicate())[0].decode(errors="replace").splitlines()
    except TimeoutError:
        yield Finding(False, f"The worker did not answer within {_WORKER_SECONDS:.0f} s. Is the GPU or the disk stuck?")
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    signs = {"ok": True, "WITHOUT": None, "MISSING": False, "FAILED": False}
    found = [line.partition(" ") for line in lines if line.partition(" ")[0] in signs]
    for sign, _, sentence in found:
        yield Finding(signs[sign], f"Worker: {sentence.strip()}")
    if process.returncode and all(signs[sign] is not False for sign, _, _ in found):
        yield Finding(False, "The worker cannot run: `python -m worker doctor` shows why.")


def _at_hand(config: Config) -> tuple[str, str]:
    """Where the model is that the worker is tried with, and why it is not the usual one, if it is not."""
    instead = f"The worker is tried with {POSTCARD.name} instead"
    try:
        model = catalogue_files.default_of(config, read(catalogue_files.documents(config)))
    except ConfigError:
        return POSTCARD.name, f"{instead} of the usual model, which is not known."
    place = locations.examined(model, config.data)
    if place.state is not Availability.HERE:
        return POSTCARD.name, f"{instead} of {model.name}, which is not here."
    if not place.path.is_dir() and model.vae:  # the worker's doctor is told of no VAE
        return POSTCARD.name, f"{instead} of {model.name}, which has a VAE of its own elsewhere."
    return str(place.path), ""


async def _discord(config: Config) -> AsyncIterator[Finding]:
    if not config.token:
        yield Finding(
            None, "There is no DISCORD_TOKEN, so `make run` starts the sandbox. Put it into .env for Discord."
        )
        return
    try:
        application = await _application(config)
    except ConfigError as error:
        yield Finding(False, error.sentence)
        return
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        yield Finding(False, f"{config.api_url or DISCORD} does not answer ({error}). Check the network.")
        return
    yield Finding(True, f"Discord knows the bot as {application.get('name')}.")
    yield _public(config) if application.get("bot_public", True) else _PRIVATE
    yield Finding(None, f"Invite it with {invite_link(application['id'])}")


_PRIVATE = Finding(None, "The bot is private: only its owner can add it to servers.")


def _public(config: Config) -> Finding:
    """Anybody's servers would be as many quotas."""
    served = (
        "DARKROOM_GUILDS says which are served"
        if config.guilds is not None
        else "One that no owner manages is served only once an owner has approved it by a button"
    )
    cure = (
        "To keep others out, switch Public Bot off: its developer page → Bot (first Installation → Install Link: None)."
    )
    return Finding(None, f"It is a public application: anybody can add it to servers of their own. {served}. {cure}")


async def _application(config: Config) -> dict[str, Any]:
    headers = {"Authorization": f"Bot {config.token}", "User-Agent": "DiscordBot (darkroom, 0)"}
    timeout = aiohttp.ClientTimeout(total=15)
    url = f"{config.api_url or DISCORD}/api/v10/oauth2/applications/@me"
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
        session.get(url, headers=headers) as response,
    ):
        if response.status == 401:
            raise ConfigError("Discord does not accept DISCORD_TOKEN. Reset it on the bot's page and copy it again.")
        response.raise_for_status()
        found: dict[str, Any] = await response.json()
        return found
