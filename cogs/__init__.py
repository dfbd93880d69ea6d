"""Discord's surface: one family of commands a file. A command parses, submits, answers, watches; errors go up."""
