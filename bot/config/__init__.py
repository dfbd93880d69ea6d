"""The bot's settings: from the environment and .env, checked. Knows nothing of what they are for."""
