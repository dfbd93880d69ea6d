"""The worker's end of the wire: the connection, its orders, its heartbeat. Knows nothing of pictures."""

from worker.transport.bot_connection import Address, BotConnection
from worker.transport.heartbeat import HeartbeatThread
from worker.transport.inbox import Compiled, ConnectionLost, Inbox, InboxItem, LoadEnded, Stop
from worker.transport.progress_reporter import ProgressReporter

__all__ = [
    "Address",
    "BotConnection",
    "Compiled",
    "ConnectionLost",
    "HeartbeatThread",
    "Inbox",
    "InboxItem",
    "LoadEnded",
    "ProgressReporter",
    "Stop",
]
