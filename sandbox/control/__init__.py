"""The control interface for the page, tests and scripts. Knows nothing of the bot's side of REST."""

from sandbox.control.events import close_listeners
from sandbox.control.origin_check import check_sender
from sandbox.control.server import add_control

__all__ = ["add_control", "check_sender", "close_listeners"]
