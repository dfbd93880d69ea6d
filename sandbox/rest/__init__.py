"""Discord's REST routes, one file per resource. Knows nothing of the control interface."""

from sandbox.rest.server import add_routes

__all__ = ["add_routes"]
