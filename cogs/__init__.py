"""Discord's surface: one family of commands a file."""
