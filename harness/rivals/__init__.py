"""What stands beside the cells: answers without memory, or with a short one, learned from the same training
part.

Which of them there are follows from the shape of the data alone; a task adds its own. They take seconds and
are kept on disk.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Rival, Task, named
from .contexts import context_rivals
from .kept import kept
from .order_free import order_free_rivals
from .windows import window_rivals


def rivals(data: Data, task: Task | None = None) -> list[Rival]:
    """All rivals that fit the data's shape, then the task's own; read from disk where they were computed
    before.
    """
    own = [] if task is None else [repr(task), inspect.getsource(sys.modules[type(task).__module__])]
    return kept("\n".join([version(), hashed(data), *own]), lambda: [*by_shape(data), *by_task(data, task)])


def by_task(data: Data, task: Task | None) -> Sequence[Rival]:
    if task is None:
        return ()
    with named(task.name):
        found = list(task.rivals(data))
        if bad := [r for r in found if not isinstance(r, Rival)]:
            raise ValueError(f"rivals(data) gave {bad[0]!r:.60}; it must give harness.task.Rival each")
    return found


def by_shape(data: Data) -> list[Rival]:
    if data.shape == MANY_TO_ONE:
        return order_free_rivals(data)
    if data.shape == TO_SEQUENCE or (data.vocabulary is not None and data.classes is not None):
        return context_rivals(data)
    return window_rivals(data) if data.vocabulary is None else []


def version() -> str:
    """The text of this package: what was computed by other code is not found again."""
    return "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))


def hashed(data: Data) -> str:
    """A hash of both parts."""
    whole = hashlib.sha256(f"{data.shape} {data.classes} {data.vocabulary}".encode())
    for part in (data.train, data.test):
        for array in (part.x, part.lengths, part.y, part.scored):
            if array is not None:
                whole.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()
