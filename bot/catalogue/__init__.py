"""Which models and LoRAs there are: files, folders and hub repositories. Loads no weights; knows nothing of jobs."""
