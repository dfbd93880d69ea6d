"""The control interface for the page, tests and scripts. Knows nothing of the bot's side of REST."""
