"""`harness.time(f)`: how long one call of a function takes, over fresh processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cellbench.cells.display import Displayed

from ..measure.bootstrap import interval
from ..measure.timing import interleave
from ..measure.worker import call
from ..probe import NotOk
from .first import first_call
from .function import Function, GateError, Work, reference, timed, work
from .guard import refuse_inside

PROCESSES, SAMPLES = 3, 25
TIMEOUT_S = 300


@dataclass(frozen=True, repr=False)
class FunctionTime(Displayed):
    """Seconds of one call: the median over processes with a 95 % interval, and all samples.

    seconds   (samples, processes), in the order in which they were taken
    """

    axes = {"taken": ("seconds",)}

    function: str
    median_s: float
    low_s: float
    high_s: float
    seconds: np.ndarray

    def __str__(self) -> str:
        return f"{self.function}: {self.median_s:.4g} s ({self.low_s:.4g} .. {self.high_s:.4g})"


def time(
    f: Callable[..., Any] | str,
    *,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    setup: Callable[[], Any] | str | None = None,
    processes: int = PROCESSES,
) -> FunctionTime:
    """Seconds of one call of f, in several fresh processes; arguments and errors as `harness.compare` has.

    Two functions are told apart by `harness.compare`: processes that run the same code differ by percents.
    """
    refuse_inside("harness.time")
    if not isinstance(processes, int) or processes < 1:
        raise GateError(f"processes is {processes!r}; it must be a whole number of at least 1")
    columns: list[list[float]] = []
    refused: list[str] = []

    def keep(message: list[float] | str) -> None:
        columns.append(message) if isinstance(message, list) else refused.append(message)

    with TemporaryDirectory() as place:
        function, given = reference(f, Path(place)), work(args, kwargs, setup, folder=Path(place))
        for seed in range(processes):
            ended = call(time_function, function, given, seed, on_message=keep, timeout_s=TIMEOUT_S)
            if ended.status != "ok":
                raise GateError(f"{function.name} cannot be timed: {ended.reason}")
            if refused:
                raise GateError(f"{function.name} cannot be timed: {refused[0]}")
    seconds = np.array(columns).T
    if not (seconds > 0).all():
        raise GateError(f"{function.name} cannot be timed: a time was measured that is 0")
    logs = np.log(seconds).T
    middle = interval([list(row) for row in logs], np.random.default_rng(0))
    return FunctionTime(function.name, 1 + middle.estimate, 1 + middle.low, 1 + middle.high, seconds)


def time_function(emit: Callable[[Any], None], function: Function, work: Work, seed: int) -> None:
    """Runs in the worker: emits the seconds of SAMPLES samples, or why a call of it tells nothing."""
    f = function.load()
    try:
        first_call(f, *work.given())
    except NotOk as why:
        emit(why.reason)
        return
    one = {"f": timed(f, work)}
    emit(interleave(one, SAMPLES, np.random.default_rng(seed))["f"])
