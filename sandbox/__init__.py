"""A Discord on this machine: REST, gateway and a page, strict enough to trust. Knows nothing of the bot."""
