"""A job's messages on Discord: what they show, how they are reached, when they change. Knows no commands."""
