"""The worker's end of the wire: the connection, its orders, its heartbeat. Knows nothing of pictures."""
