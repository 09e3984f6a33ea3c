"""`harness.compare(f, g)`: two functions timed against each other, with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cellbench.cells.display import Displayed

from ..measure.bootstrap import Interval
from ..measure.judge import Judge
from ..measure.pair import Pair, Timing, Trouble
from ..measure.verdict import Verdict
from .function import GateError, make, reference, work
from .guard import refuse_inside


@dataclass(frozen=True, repr=False)
class FunctionComparison(Displayed):
    """The verdict on function b against a; times are seconds of one call, the median in each process.

    verdict     FASTER, SLOWER, SAME or UNSURE
    effect      time of b over that of a, less 1, with a 95 % interval
    ratio       the same in each process, median over builds
    """

    axes = {"process": ("a_s", "b_s", "ratio")}
    drawn = ("a_s", "b_s")

    a: str
    b: str
    verdict: Verdict
    effect: Interval
    reason: str
    a_s: np.ndarray
    b_s: np.ndarray
    ratio: np.ndarray
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.b} against {self.a}: {self.verdict}, {self.effect}, {self.reason}"


def compare(
    f: Callable[..., Any] | str,
    g: Callable[..., Any] | str,
    *,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    setup: Callable[[], Any] | str | None = None,
    equal: Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
) -> FunctionComparison:
    """How much slower or faster g is than f, and whether that is sure.

    Both are timed in the same fresh processes. They stand by name in a module, or at the top of a notebook's
    cell; a notebook's bring the imports, functions and classes of that cell. They are called with args and
    kwargs, or with what `setup` returns. `equal(a, b)` may hold their results against each other first.

    Raises GateError, a ValueError, for what fresh processes cannot find, and for a function that fails.
    """
    refuse_inside("harness.compare")
    timings: list[Timing] = []

    def keep(name: str, stage: str, process: int, timing: Timing | Trouble) -> None:
        timings.extend([timing] if isinstance(timing, Timing) else [])

    with TemporaryDirectory() as place:
        folder = Path(place)
        sides = reference(f, folder), reference(g, folder)
        pair = Pair(
            f"{_name(g)} against {_name(f)}", make, (*sides, work(args, kwargs, setup, equal, folder))
        )
        [judgement] = Judge(np.random.default_rng(seed), keep=keep).judge([pair])
    if judgement.effect is None:
        raise GateError(f"{pair.name} cannot be timed: {judgement.reason}")
    a_s, b_s = (_medians(timings, arm) for arm in ("a", "b"))
    return FunctionComparison(
        *(_name(f), _name(g), judgement.verdict, judgement.effect, judgement.reason, a_s, b_s),
        ratio=np.array([np.expm1(np.median(timing.logs())) for timing in timings]),
        warnings=tuple(map(str, judgement.warnings)),
    )


def _name(function: Any) -> str:
    return function if isinstance(function, str) else str(getattr(function, "__qualname__", function))


def _medians(timings: Sequence[Timing], arm: str) -> np.ndarray:
    return np.array([np.median([v for build in timing.samples[arm] for v in build]) for timing in timings])
