"""A call that starts processes stands below a script's guard, for they import the script once more."""

from __future__ import annotations

import multiprocessing

from .function import GateError


def refuse_inside(call: str) -> None:
    """Raises GateError in a process that was started to time something."""
    if multiprocessing.parent_process() is not None:
        raise GateError(
            f'{call} is called by a file that it imports; put the call below: if __name__ == "__main__":'
        )
