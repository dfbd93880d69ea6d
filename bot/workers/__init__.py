"""The server that workers dial, and the local worker's process. Knows nothing of jobs."""

from bot.workers import tcp_listener
from bot.workers.connection import WorkerConnection, models_in
from bot.workers.local_process import PLAIN_COMMAND, worker_environment, worker_options
from bot.workers.server import SILENT_SECONDS, WorkerServer

__all__ = [
    "PLAIN_COMMAND",
    "SILENT_SECONDS",
    "WorkerConnection",
    "WorkerServer",
    "models_in",
    "tcp_listener",
    "worker_environment",
    "worker_options",
]
