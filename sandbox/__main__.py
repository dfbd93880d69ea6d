"""python -m sandbox: a Ctrl-C while the libraries load ends it quietly. All else is in sandbox/cli.py."""

import sys

if __name__ == "__main__":
    try:
        from sandbox.cli import run

        code = run()
    except KeyboardInterrupt:
        code = 0
    sys.exit(code)
