"""The facts of many cells, from processes of their own: a cell that breaks one leaves the rest."""

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
ZooFacts = dict[str, Any]  # by cell its facts, or a line that says why there are none


def zoo() -> list[str]:
    """The cells in the zoo's folder; those of other packages have their baselines elsewhere."""
    return sorted(
        p.stem for p in (Path(cells.__file__).parent / "zoo").glob("*.py") if not p.stem.startswith("_")
    )


def gather(names: Sequence[str]) -> ZooFacts:
    """The facts of these cells."""
    facts: ZooFacts = {}
    threads = [
        threading.Thread(target=_some, args=(names[k::PROCESSES], facts), daemon=True)
        for k in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(file=sys.stderr)  # ends the line of names
    return {name: facts.get(name, "not measured") for name in names}


def _some(names: Sequence[str], facts: ZooFacts) -> None:
    def keep(message: tuple[str, Any]) -> None:
        facts.update([message])
        print(message[0], end=" ", file=sys.stderr, flush=True)

    while waiting := [name for name in names if name not in facts]:
        result = worker.call(_measure, waiting, on_message=keep, timeout_s=PATIENCE_S)
        if stopped := [name for name in waiting if name not in facts]:
            facts[stopped[0]] = f"{result.status}: {result.reason}"


def _measure(emit: Callable[[Any], None], names: Sequence[str]) -> None:
    """Runs in the worker. Emits (name, facts) of each."""
    from .facts import facts

    for name in names:
        emit((name, facts(name)))
