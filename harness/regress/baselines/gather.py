"""The facts of many cells, measured in processes of their own: a cell that breaks its process leaves the
others intact.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cellbench import cells

from ...measure import worker

PROCESSES = 2
PATIENCE_S = 300.0  # for one cell; most take one or two seconds
Found = dict[str, Any]  # by cell its facts, or a line that says why there are none


def zoo() -> list[str]:
    """The cells in the folder of the zoo; those of other installed packages have their baselines elsewhere."""
    return sorted(
        p.stem for p in (Path(cells.__file__).parent / "zoo").glob("*.py") if not p.stem.startswith("_")
    )


def gather(names: Sequence[str]) -> Found:
    """The facts of these cells."""
    found: Found = {}
    threads = [
        threading.Thread(target=_some, args=(names[k::PROCESSES], found), daemon=True)
        for k in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(file=sys.stderr)  # ends the line of names
    return {name: found.get(name, "not measured") for name in names}


def _some(names: Sequence[str], found: Found) -> None:
    def keep(message: tuple[str, Any]) -> None:
        found.update([message])
        print(message[0], end=" ", file=sys.stderr, flush=True)

    while left := [name for name in names if name not in found]:
        outcome = worker.call(_measure, left, on_message=keep, timeout_s=PATIENCE_S)
        if stopped := [name for name in left if name not in found]:
            found[stopped[0]] = f"{outcome.status}: {outcome.reason}"


def _measure(emit: Callable[[Any], None], names: Sequence[str]) -> None:
    """Runs in the worker. Emits (name, facts) of each."""
    from .facts import facts

    for name in names:
        emit((name, facts(name)))
