"""What checkpoints look like on disk: names, headers, configs. Loads no weights."""
