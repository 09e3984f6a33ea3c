"""What stands beside the cells: answers without memory, or with a short one, from the same training part.

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
from .cache import cached
from .contexts import context_rivals
from .order_free import order_free_rivals
from .windows import window_rivals


def rivals(data: Data, task: Task | None = None) -> list[Rival]:
    """All rivals that fit the data's shape, then the task's own; from disk where they were computed before.

    Raises PackageMissing without scikit-learn where they must be computed.
    """
    source = [] if task is None else [repr(task), inspect.getsource(sys.modules[type(task).__module__])]
    key = "\n".join([version(), hashed(data), *source])
    return cached(key, lambda: [*by_shape(data), *by_task(data, task)])


def by_task(data: Data, task: Task | None) -> Sequence[Rival]:
    """The task's own. Raises ValueError naming the task, also where they are no rivals."""
    if task is None:
        return ()
    with named(task.name):
        rivals = list(task.rivals(data))
        if bad := [r for r in rivals if not isinstance(r, Rival)]:
            raise ValueError(f"rivals(data) gave {bad[0]!r:.60}; it must give harness.task.Rival each")
    return rivals


def by_shape(data: Data) -> list[Rival]:
    """Those of any task with data of this shape; none for values from tokens with a target a step."""
    if data.shape == MANY_TO_ONE:
        return order_free_rivals(data)
    if data.shape == TO_SEQUENCE or (data.vocabulary is not None and data.classes is not None):
        return context_rivals(data)
    return window_rivals(data) if data.vocabulary is None else []


def version() -> str:
    """The text of this package, so that rivals computed by other code are not found again."""
    return "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))


def hashed(data: Data) -> str:
    """A hash of both parts."""
    digest = hashlib.sha256(f"{data.shape} {data.classes} {data.vocabulary}".encode())
    for part in (data.train, data.test):
        for array in (part.x, part.lengths, part.y, part.scored):
            if array is not None:
                digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
