"""python -m worker: orders in, events out; python -m worker doctor: what is missing. Logs go to stderr."""

import logging
import os
import sys
from collections.abc import Sequence

from core.errors import ConfigError
from worker.settings import read


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    try:
        settings = read(arguments, os.environ)
        logging.basicConfig(
            stream=sys.stderr, level=settings.log, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        if settings.command == "doctor":
            from worker.doctor import report

            return report(settings)
        try:
            from worker.main import serve
        except ImportError as error:
            raise ConfigError(f"The worker's libraries are missing ({error}): `make run` installs them.") from error
        return serve(settings)
    except ConfigError as error:
        print(error.sentence, file=sys.stderr)
        return os.EX_CONFIG  # it can never work as it is configured, and need not be started again as it is


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
