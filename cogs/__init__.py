"""Discord's surface: one feature a file. A command parses, submits, answers, watches; errors go up."""
