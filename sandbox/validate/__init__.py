"""The vendor's rules for what may be sent, as pure functions over bodies. Knows nothing of the world."""
