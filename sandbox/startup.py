"""Opens what a sandbox stands on, its address and its world, or says why that cannot be. Knows no routes."""

import errno
import json
import socket
import sqlite3

from sandbox.errors import CannotStart
from sandbox.sandbox import Config, Sandbox

_OTHER_PORT = "DARKROOM_PORT in .env, or --port"
_OTHER_FOLDER = "DARKROOM_DATA in .env, or --data"
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        raise CannotStart(_why_not_listening(host, port, error)) from error
    return listener


def _why_not_listening(host: str, port: int, error: OSError | UnicodeError) -> str:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or error
    if number in (errno.EADDRINUSE, errno.EACCES):
        return f"Cannot listen on {host}:{port} ({reason}). Choose another port: {_OTHER_PORT}."
    return f"Cannot listen on {host}:{port} ({reason}). Choose another --host; 127.0.0.1 is this machine alone."


def open_sandbox(config: Config) -> Sandbox:
    """The sandbox with what an earlier run left in its folder. Raises CannotStart."""
    try:
        return Sandbox(config)
    except (OSError, sqlite3.Error, json.JSONDecodeError) as error:
        raise CannotStart(_why_not_opened(config, error)) from error


def _why_not_opened(config: Config, error: Exception) -> str:
    data, code = config.data, getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _LOCKED:
        return f"Another sandbox uses {data}. Stop it, or give this one another folder: {_OTHER_FOLDER}."
    if code in _DAMAGED or isinstance(error, ValueError):
        return f"{data / 'world.sqlite3'} is damaged ({error}). Move it away: the next start makes a new world."
    reason = getattr(error, "strerror", None) or error
    return (
        f"The sandbox cannot keep its world in {data} ({reason}). "
        f"Give this user that folder, or choose another: {_OTHER_FOLDER}."
    )
