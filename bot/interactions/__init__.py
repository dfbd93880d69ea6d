"""The client of Discord: commands, presses and modals find their handlers, errors become sentences."""
