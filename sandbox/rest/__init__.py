"""Discord's REST routes, one file per resource. Knows nothing of the control interface."""
