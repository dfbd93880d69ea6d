"""Wires the worker's parts together: one thread reads the wire, one runs the loop, one beats, one writes.

Each part does its own job; this one knows only who is given what, and how the process ends.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from types import FrameType
from typing import NoReturn

from core.errors import DarkroomError
from core.events import PROTOCOL, Hello, LoadFailed, Phase, Ready
from worker import VERSION
from worker.checkpoints.catalogue_loader import Opener
from worker.checkpoints.loader import Loaded, load
from worker.checkpoints.locator import Store
from worker.compiling.background_compiler import keep_caches
from worker.compiling.compiled_model import Booster
from worker.device import Device, choose, claim, prepare
from worker.engine.engine import Engine
from worker.engine.gpu_meter import Meter
from worker.engine.loaded_model import Held
from worker.engine.model_cache import Shelf
from worker.families.lora_switcher import LoraFiles
from worker.interfaces import Whole
from worker.memory.offload_plan import ALONE, Company
from worker.parent_process import die_with_parent
from worker.settings import Settings
from worker.transport.bot_connection import Link
from worker.transport.heartbeat import Pulse
from worker.transport.inbox import Compiled, Inbox
from worker.vision.companion_paths import NONE, Places

log = logging.getLogger("darkroom.worker")

EX_CONFIG = 78
LAST_WORD_SECONDS = 15.0


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the engine's thread is made of."""

    settings: Settings
    device: Device
    link: Link
    pulse: Pulse = field(default_factory=Pulse)
    inbox: Inbox


def serve(settings: Settings) -> NoReturn:
    """Works until the connection ends (`local`) or until told to stop. Raises ConfigError before it has begun."""
    assert settings.address is not None
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if settings.local:
        die_with_parent()
        leave_if_orphaned()
    os.nice(settings.nice)
    device = choose(settings.device, settings.dtype, settings.rows, settings.gpu_mb)
    prepare(device, settings.threads)

    def hello(proof: str) -> Hello:
        return Hello(
            protocol=PROTOCOL, version=VERSION, proof=proof, name=socket.gethostname(), pid=os.getpid(),
            device=device.name, memory_mb=device.memory_mb, max_rows=device.max_rows,
        )  # fmt: skip

    inbox = Inbox()
    link = Link(settings.address, settings.key, hello, inbox)
    parts = Parts(settings=settings, device=device, link=link, inbox=inbox)
    parts.pulse.watch(inbox.jobs, int)
    parts.pulse.start(link.say)
    threading.Thread(target=_generate, args=(parts,), name="engine", daemon=True).start()
    try:
        link.run(once=settings.local)
    except (OSError, DarkroomError) as error:
        log.error("%s", error)
        leave(1)
    leave(0)


def _generate(parts: Parts) -> None:
    """The engine's thread. Without it the process is of no use, so it takes the process along."""
    try:
        load_and_run(parts)
    except DarkroomError as error:
        log.error("%s", error.sentence)
        parts.link.announce(LoadFailed(sentence=error.sentence))
        parts.link.flush(LAST_WORD_SECONDS)
        leave(EX_CONFIG)
    except BaseException:
        log.exception("The engine stopped.")
    leave(1)


def load_and_run(parts: Parts) -> None:
    """Loads the model, says so, and runs the loop. Raises CannotLoad."""
    settings, device, pulse = parts.settings, parts.device, parts.pulse
    claim(device)
    meter = Meter.for_device(device.place)
    rest = threading.Event()
    booster = booster_of(settings, device, rest, parts.inbox)

    def load_boosted(
        model: str, device: Device, progress: Callable[[], None], *, loras: LoraFiles, vae: str = "",
        tools: Places = NONE, company: Company = ALONE, name: str = "",
    ) -> Loaded:  # fmt: skip
        company = replace(company, compiler=booster is not None)
        loaded = load(
            model, device, progress, loras=loras, weights=settings.weights, vae=vae, tools=tools, company=company,
            name=name, store=store_of(settings),
        )  # fmt: skip
        whole = isinstance(loaded.family, Whole)
        return loaded if booster is None or whole else replace(loaded, boost=booster(loaded.family.parts, loaded.plan))

    opener = Opener(settings.model, device, load_boosted, lambda: pulse.progress(Phase.LOADING))
    shelf = Shelf(opener, device, room_for_models_mb(device))
    began = monotonic()
    log.info("Loading %s on %s in %s.", settings.model, device.name, device.dtype_name)
    with pulse.doing(Phase.LOADING):
        if opener.needs_catalogue:
            opener.know(parts.inbox.first_catalogue())
            pulse.progress(Phase.LOADING)
        elif parts.inbox.catalogue is not None:
            opener.know(parts.inbox.catalogue)
        with meter.measure() as measured:
            measured.house("load")
            loaded = opener.first()
            if parts.inbox.catalogue is not None:  # it came meanwhile, and may call the model by another name
                opener.know(parts.inbox.catalogue)
                loaded = opener.named(loaded)
        pulse.progress(Phase.LOADING)
        with meter.measure() as measured:
            measured.house("warmup")
            shelf.put(Held.of(loaded, device))
        engine = Engine(shelf, device, meter, pulse, parts.link.say, parts.inbox, rest=rest)
    load_ms = round((monotonic() - began) * 1000)
    log.info("%s (%s) is loaded after %d ms.", loaded.info.name, loaded.info.digest, load_ms)
    parts.link.announce(Ready(model=loaded.info, load_ms=load_ms))
    engine.run()


def booster_of(settings: Settings, device: Device, rest: threading.Event, inbox: Inbox) -> Booster | None:
    """None where nothing is compiled."""
    if not settings.compiles_on(device.place.type):
        return None
    root = settings.data / "compiled"
    keep_caches(root)
    return Booster(root=root, idle=rest, nudge=lambda: inbox.put(Compiled()))


def store_of(settings: Settings) -> Store:
    """Where models of the hub belong: where the bot fetches them to, too, if both share a data folder."""
    return Store(folder=settings.data / "models", spare_mb=settings.disk_free_mb)


def room_for_models_mb(device: Device) -> int:
    """A GPU's memory but for what forwards and decodes need; of the host's, others need a half."""
    return int(device.memory_mb * (0.7 if device.place.type == "cuda" else 0.5))


def _leave(signum: int, frame: FrameType | None) -> None:
    leave(0)


def leave(code: int) -> NoReturn:
    """Ends the process now: nothing here needs saving, for the bot requeues what this worker held.

    No interpreter shutdown: it would wait for threads that are deep inside a forward.
    """
    logging.shutdown()
    os._exit(code)


def leave_if_orphaned() -> None:
    """A bot that died before `die_with_parent` sends no signal: its process number is not our parent's any more."""
    if os.environ.get("BOT_PID", str(os.getppid())) != str(os.getppid()):
        leave(0)
