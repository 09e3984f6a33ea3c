"""The shapes of tasks, by which a page groups what was learned."""

from __future__ import annotations

import pandas as pd

from ..task import MANY_TO_MANY, MANY_TO_ONE, ONE_TO_MANY, SHAPES, TO_SEQUENCE
from .frame import unique
from .standings import of_task

METRIC = "shape."  # of a training; what follows is the shape
OTHER = "shape unknown"
TARGETS = {
    MANY_TO_ONE: "One target a sequence.",
    MANY_TO_MANY: "One target a step.",
    ONE_TO_MANY: "One target a step, from a condition and the targets before it.",
    TO_SEQUENCE: "Targets of another length, by an encoder and a decoder.",
    OTHER: "The results do not say which.",
}
# results of before the metric, and tasks without data, name the task alone
BUILT_IN = {
    MANY_TO_ONE: (
        *("adding", "digits", "mnist", "mnist1d", "pen_digits", "recall", "sentiment", "splice"),
        *("spoken_digits", "temporal_order"),
    ),
    MANY_TO_MANY: (
        *("abc_tunes", "chaotic_map", "chorales", "copy", "linear_system", "next_character", "oscillator"),
        *("parity", "pendulum"),
    ),
    ONE_TO_MANY: ("abc_from_header", "pen_strokes"),
    TO_SEQUENCE: ("grapheme_to_phoneme", "translation"),
}
BY_OPTION = ("parity",)  # whose options change the shape


def grouped(ready: pd.DataFrame, tasks: list[str]) -> dict[str, list[str]]:
    """The tasks of each shape that there is, by name; of one shape alone they stay in their order."""
    shapes = {task: shape_of(ready, task) for task in tasks}
    if len(set(shapes.values())) > 1:
        tasks = sorted(tasks)
    return {shape: some for shape in (*SHAPES, OTHER) if (some := [t for t in tasks if shapes[t] == shape])}


def shape_of(ready: pd.DataFrame, task: str) -> str:
    """What the trainings have recorded, else what is known of the task's name."""
    metrics = unique(of_task(ready, task)["metric"])
    return next((shape for shape in SHAPES if f"{METRIC}{shape}" in metrics), of_name(task))


def of_name(task: str) -> str:
    """The shape of the built-in task of this name, or OTHER."""
    name, _, options = task.partition(":")
    known = [shape for shape, names in BUILT_IN.items() if name in names]
    return OTHER if not known or (options and name in BY_OPTION) else known[0]
