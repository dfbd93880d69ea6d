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
from core.events import PROTOCOL, Hello, LoadFailed, ModelInfo, Phase, Ready
from worker import VERSION
from worker.checkpoints import CatalogueLoader, LoadedCheckpoint, ModelsFolder, load
from worker.compiling import ModelCompiler, set_torch_cache_folders
from worker.device import Device, choose_device, configure_torch, use_device
from worker.engine import Engine, GpuMeter, LoadedModel, ModelCache
from worker.families import LoraFiles
from worker.interfaces import PipelineModel
from worker.memory import NOTHING_RESERVED, ReservedMemory
from worker.process_exit import die_with_parent, exit_if_orphaned, exit_now
from worker.settings import Settings
from worker.transport import BotConnection, Compiled, HeartbeatThread, Inbox
from worker.vision import NO_COMPANIONS, CompanionPaths

log = logging.getLogger("darkroom.worker")

FLUSH_SECONDS = 15.0


@dataclass(slots=True, kw_only=True)
class WorkerContext:
    """What the engine's thread is made of."""

    settings: Settings
    device: Device
    connection: BotConnection
    heartbeat: HeartbeatThread = field(default_factory=HeartbeatThread)
    inbox: Inbox


def serve(settings: Settings) -> NoReturn:
    """Works until the connection ends (`local`) or until told to stop. Raises ConfigError before it has begun."""
    assert settings.address is not None
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    if settings.local:
        die_with_parent()
        exit_if_orphaned()
    os.nice(settings.nice)
    device = choose_device(settings.device, settings.dtype, settings.rows, settings.gpu_mb)
    configure_torch(device, settings.threads)

    def hello(proof: str) -> Hello:
        return Hello(
            protocol=PROTOCOL, version=VERSION, proof=proof, name=socket.gethostname(), pid=os.getpid(),
            device=device.name, memory_mb=device.memory_mb, max_rows=device.max_rows,
        )  # fmt: skip

    inbox = Inbox()
    connection = BotConnection(settings.address, settings.key, hello, inbox)
    context = WorkerContext(settings=settings, device=device, connection=connection, inbox=inbox)
    context.heartbeat.watch(inbox.jobs, int)
    context.heartbeat.start(connection.send)
    threading.Thread(target=_run_engine, args=(context,), name="engine", daemon=True).start()
    try:
        connection.run(once=settings.local)
    except (OSError, DarkroomError) as error:
        log.error("%s", error)
        exit_now(1)
    exit_now(0)


def _run_engine(context: WorkerContext) -> None:
    """The engine's thread. Without it the process is of no use, so it takes the process along."""
    try:
        load_and_run(context)
    except DarkroomError as error:
        log.error("%s", error.sentence)
        context.connection.announce(LoadFailed(sentence=error.sentence))
        context.connection.flush(FLUSH_SECONDS)
        exit_now(os.EX_CONFIG)
    except BaseException:
        log.exception("The engine stopped.")
    exit_now(1)


def load_and_run(context: WorkerContext) -> None:
    """Loads the model, says so, and runs the loop. Raises DarkroomError where there is no model to serve with."""
    settings, device, heartbeat = context.settings, context.device, context.heartbeat
    use_device(device)
    meter = GpuMeter.for_device(device.torch_device)
    idle_event = threading.Event()
    model_compiler = model_compiler_of(settings, device, idle_event, context.inbox)
    folder = ModelsFolder(path=settings.data / "models", min_free_mb=settings.disk_free_mb)

    def load_and_compile(
        model: str, device: Device, progress: Callable[[], None], *, loras: LoraFiles, vae: str = "",
        companions: CompanionPaths = NO_COMPANIONS, reserved: ReservedMemory = NOTHING_RESERVED, name: str = "",
    ) -> LoadedCheckpoint:  # fmt: skip
        reserved = replace(reserved, compiler=model_compiler is not None)
        loaded = load(
            model, device, progress, loras=loras, weights=settings.weights, vae=vae, companions=companions,
            reserved=reserved, name=name, folder=folder,
        )  # fmt: skip
        if model_compiler is None or isinstance(loaded.family, PipelineModel):
            return loaded
        return replace(loaded, compiled_model=model_compiler(loaded.family.parts, loaded.plan))

    loader = CatalogueLoader(settings.model, device, load_and_compile, lambda: heartbeat.progress(Phase.LOADING))
    cache = ModelCache(loader, device, model_budget_mb(device))
    began = monotonic()
    log.info("Loading %s on %s in %s.", settings.model, device.name, device.dtype_name)
    with heartbeat.in_phase(Phase.LOADING):
        if loader.needs_catalogue:
            loader.set_catalogue(context.inbox.first_catalogue())
            heartbeat.progress(Phase.LOADING)
        elif context.inbox.catalogue is not None:
            loader.set_catalogue(context.inbox.catalogue)
        greeting: Ready | LoadFailed
        try:
            info = _load_first(context, loader, cache, meter)
            load_ms = round((monotonic() - began) * 1000)
            log.info("%s (%s) is loaded after %d ms.", info.name, info.digest, load_ms)
            greeting = Ready(model=info, load_ms=load_ms)
        except DarkroomError as error:
            greeting = LoadFailed(sentence=error.sentence, stays=True)
            _check_others(context, loader, error)
        engine = Engine(cache, device, meter, heartbeat, context.connection.send, context.inbox, idle_event=idle_event)
    context.connection.announce(greeting)
    engine.run()


def _load_first(context: WorkerContext, loader: CatalogueLoader, cache: ModelCache, meter: GpuMeter) -> ModelInfo:
    """The model that the worker was started with goes into the cache. Raises DarkroomError."""
    with meter.measure() as measured:
        measured.overhead("load")
        loaded = loader.load_first()
        if context.inbox.catalogue is not None:  # it came meanwhile, and may call the model by another name
            loader.set_catalogue(context.inbox.catalogue)
            loaded = loader.named_by_catalogue(loaded)
    context.heartbeat.progress(Phase.LOADING)
    with meter.measure() as measured:
        measured.overhead("warmup")
        cache.add(LoadedModel.of(loaded, context.device))
    return loaded.info


def _check_others(context: WorkerContext, loader: CatalogueLoader, error: DarkroomError) -> None:
    """Raises the error again where there is no other model to stay for; a later job may bring the first one in."""
    loader.set_catalogue(context.inbox.first_catalogue())
    if not loader.has_others:
        raise error
    log.error("%s The other models of the catalogue are served.", error.sentence)


def model_compiler_of(
    settings: Settings, device: Device, idle_event: threading.Event, inbox: Inbox
) -> ModelCompiler | None:
    """None where nothing is compiled."""
    if not settings.compiles_on(device.torch_device.type):
        return None
    root = settings.data / "compiled"
    set_torch_cache_folders(root)
    return ModelCompiler(root=root, idle=idle_event, wake_loop=lambda: inbox.put(Compiled()))


def model_budget_mb(device: Device) -> int:
    """A GPU's memory but for what forwards and decodes need; of the host's, others need a half."""
    return int(device.memory_mb * (0.7 if device.torch_device.type == "cuda" else 0.5))


def _stop(signum: int, frame: FrameType | None) -> None:
    exit_now(0)
