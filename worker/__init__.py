"""The generation process: takes orders, makes pictures. Knows nothing of Discord or of the database."""

#: Goes up whenever the same request would give other pictures; written into each job's row.
ENGINE = "5"
VERSION = "0.1.0"
