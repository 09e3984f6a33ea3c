"""`python -m cellbench` is the command `cellbench`."""

from .harness.cli import main

if __name__ == "__main__":  # a worker imports this file, and is no command
    raise SystemExit(main())
