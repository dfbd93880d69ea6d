"""The generation process: orders in, events out. Never imports discord, never opens the database."""
