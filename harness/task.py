"""The contract of a task: sequences to learn from and to test on, a loss, and what trivial answers reach.

A task is a dataclass; its fields are its options (`tasks=[adding:steps=200]`). Its data has one of four
shapes:

many to one           one target a sequence
many to many          one target a step
one to many           one target a step, from a condition and the targets before it
sequence to sequence  targets of another length, by an encoder and a decoder
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from cellbench.cells import find

from .extras import PackageMissing

PACKAGE = f"{__package__}.tasks"


class DataAbsent(ValueError):
    """The task's data is not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Sequences:
    """One part of a task's data.

    x        (N, T, I) float32, or (N, T) tokens, zero beyond each length
    lengths  (N,), at least 1
    y        targets: (N,) classes or (N, K) values for many to one; (N, T) or (N, T, K) with one a step;
             (N, U) classes for sequence to sequence
    scored   (N, T) or (N, U): which targets count, where a sequence has several

    Arrays of other widths are taken too (float64, int32). Raises ValueError where the arrays do not fit each
    other, and for values that are not finite.
    """

    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    scored: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("x", "lengths", "y"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if not len(self.x) == len(self.lengths) == len(self.y):
            counts = f"{len(self.x)} sequences, {len(self.lengths)} lengths and {len(self.y)} targets"
            raise ValueError(f"a task's data has {counts}; there must be one of each a sequence")
        if len(self.x) == 0:
            raise ValueError("a task's data has no sequence; both parts need at least one")
        if self.x.ndim not in (2, 3):
            raise ValueError(f"x is {self.x.shape}; it must be (N, T, I), or (N, T) tokens of a vocabulary")
        if self.lengths.ndim != 1 or self.lengths.dtype != np.int64:
            raise ValueError(
                f"lengths are {self.lengths.shape} of {self.lengths.dtype}; they must be (N,) whole numbers"
            )
        if self.lengths.min() < 1 or self.lengths.max() > self.x.shape[1]:
            ends = f"{self.lengths.min()} to {self.lengths.max()}"
            raise ValueError(
                f"a task's lengths are {ends}; they must be 1 to {self.x.shape[1]}, the steps of x"
            )
        if self.scored is not None and self.scored.shape != self.y.shape[:2]:
            raise ValueError(
                f"scored is {self.scored.shape}; it must be {self.y.shape[:2]}, as the targets are"
            )
        if self.targets.size == 0:
            raise ValueError("no target counts: scored must be true somewhere")
        _finite("the inputs x", self.x)
        _finite("the targets y", self.targets)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def targets(self) -> np.ndarray:
        """All targets that count: (M,) classes, or (M, K) values."""
        return self.y if self.scored is None else self.y[self.scored]


def _numbers(name: str, given: object) -> np.ndarray:
    """As the model takes them: float32, or int64. Raises ValueError for what is neither."""
    array = np.asarray(given)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ValueError(
            f"{name} is {array.shape} of {array.dtype}; it must be an array of numbers, one row a sequence"
        )
    # x of three axes is values even where they are whole numbers; of two it is tokens
    tokens = array.dtype.kind != "f" and (name != "x" or array.ndim == 2)
    return np.asarray(array, np.int64 if tokens else np.float32)


def _finite(name: str, array: np.ndarray) -> None:
    """Raises ValueError with the first place of a value that is not."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"{name} have {len(bad)} values that are not finite in float32 (first at"
            f" {tuple(map(int, bad[0]))})"
        )


MANY_TO_ONE = "many to one"
MANY_TO_MANY = "many to many"
ONE_TO_MANY = "one to many"
TO_SEQUENCE = "sequence to sequence"
SHAPES = (MANY_TO_ONE, MANY_TO_MANY, ONE_TO_MANY, TO_SEQUENCE)


@dataclass(frozen=True)
class Rival:
    """What an answer without memory, or with a short one, reaches on the test part: computed, never typed.

    The loss is NaN where the answer is no distribution; `figures` are the task's own (Task.figures).
    """

    name: str
    loss: float
    accuracy: float | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:  # plain floats, which JSON can hold
        object.__setattr__(self, "loss", float(self.loss))
        object.__setattr__(self, "accuracy", None if self.accuracy is None else float(self.accuracy))
        object.__setattr__(self, "figures", {name: float(value) for name, value in self.figures.items()})


@dataclass(frozen=True)
class Data:
    """Both parts of a task. `target_loss` is the test loss at which it counts as learned.

    Where x are tokens, `vocabulary` says how many there are. `floor` is the expected test loss of the best
    answer there can be, where it is known: 0, or what the noise leaves. Raises ValueError for parts that do
    not fit the shape or each other.
    """

    train: Sequences
    test: Sequences
    classes: int | None  # None: a regression, with the mean squared error as loss
    target_loss: float
    shape: str = MANY_TO_ONE
    vocabulary: int | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"a task's shape is {self.shape!r}; it must be one of {', '.join(SHAPES)}")
        train, test = self.train, self.test
        if train.x.shape[2:] != test.x.shape[2:] or train.y.shape[2:] != test.y.shape[2:]:
            widths = f"x is {train.x.shape} and {test.x.shape}, y {train.y.shape} and {test.y.shape}"
            raise ValueError(f"the two parts differ: {widths}; inputs and targets must be as wide in both")
        for part in (train, test):
            self._check_steps(part)
            self._check_inputs(part)
            self._check_targets(part)

    def _check_steps(self, part: Sequences) -> None:
        """That a target a step has a step, and one within the sequence where it counts."""
        if self.shape == MANY_TO_ONE:
            return
        if part.scored is None:
            raise ValueError(f"a task of shape {self.shape!r} must say which targets count: scored")
        if self.shape == TO_SEQUENCE:
            return
        steps = part.x.shape[1]
        if part.y.shape[1] != steps:
            raise ValueError(
                f"the targets have {part.y.shape[1]} steps and x has {steps}; there must be one a step"
            )
        beyond = np.argwhere(part.scored & (np.arange(steps) >= part.lengths[:, None]))
        if len(beyond):
            n, t = map(int, beyond[0])
            raise ValueError(
                f"scored counts step {t} of sequence {n}, which has {part.lengths[n]} steps; it must not"
            )

    def _check_inputs(self, part: Sequences) -> None:
        if (self.vocabulary is None) != (part.x.ndim == 3):
            raise ValueError(f"x is {part.x.shape}; it must be (N, T, I), or (N, T) tokens of a vocabulary")
        if self.vocabulary is not None and not 0 <= part.x.min() <= part.x.max() < self.vocabulary:
            raise ValueError(
                f"tokens are {part.x.min()} to {part.x.max()}; they must be 0 to {self.vocabulary - 1}"
            )

    def _check_targets(self, part: Sequences) -> None:
        shape, form = ("(N,)", "(N, K)") if self.shape == MANY_TO_ONE else ("(N, T)", "(N, T, K)")
        if self.classes is None:
            wanted, kind, axes = f"{form} values, or classes must be given", "f", form.count(",") + 1
        else:
            wanted, kind, axes = f"{shape} whole numbers for {self.classes} classes", "i", form.count(",")
        if part.y.dtype.kind != kind or part.y.ndim != axes:
            raise ValueError(f"the targets y are {part.y.shape} of {part.y.dtype}; they must be {wanted}")
        if self.classes is not None and not 0 <= part.targets.min() <= part.targets.max() < self.classes:
            raise ValueError(
                f"targets are {part.targets.min()} to {part.targets.max()}; classes are 0 to"
                f" {self.classes - 1}"
            )

    @property
    def output_size(self) -> int:
        """Numbers that a model gives for each answer: one a class, or one a target value."""
        return self.classes or self.train.y.shape[-1]

    @property
    def trivial_loss(self) -> float:
        """Test loss of the best constant answer to the training part: nats, or the squared error."""
        if self.classes is None:
            return float(np.mean((self.test.targets - self.train.targets.mean(0)) ** 2))
        known = np.bincount(self.train.targets, minlength=self.classes)
        # one more of each class where the training part lacks one, whose loss would be infinite
        share = known / known.sum() if known.all() else (known + 1) / (known + 1).sum()
        return float(-np.mean(np.log(share[self.test.targets])))

    @property
    def chance_accuracy(self) -> float | None:
        """Test accuracy of always answering the most frequent class."""
        if self.classes is None:
            return None
        return float(np.mean(self.test.targets == np.bincount(self.train.targets).argmax()))


@dataclass(frozen=True)
class Truth:
    """What is known of a system that a cell has to identify; learn.system measures it of a trained cell.

    lyapunov     its largest Lyapunov exponent, nats a step
    lag_profile  (K,) by lag k: natural log of |d answer / d input k steps before|, Frobenius, mean over
                 trajectories
    autonomous   it has no input: a cell sees the system's last value, so that its own answer can be fed back
    """

    lyapunov: float
    lag_profile: np.ndarray
    autonomous: bool


@dataclass(frozen=True)
class Task:
    """Base of all tasks."""

    @property
    def name(self) -> str:
        """The task's public name: its file's name in harness/tasks, else its class's."""
        return find.public_name(self)

    def data(self, rng: np.random.Generator) -> Data:
        """Draws or reads the data. Raises DataAbsent where it is not on this machine."""
        raise NotImplementedError

    def rivals(self, data: Data) -> Sequence[Rival]:
        """What stands beside the cells in this task alone; harness.rivals computes what fits its shape."""
        return ()

    def truth(self, data: Data) -> Truth | None:
        """What is known of the system behind the data; None where there is none."""
        return None

    def figures(self, data: Data, answers: np.ndarray) -> dict[str, float]:
        """More figures than loss and accuracy, without a unit, of the answers to the test part.

        Answers are classes, or values. For sequence to sequence they are (N, U) greedy decodings. Each ends
        before its first `classes - 1`, the class that ends every target and is scored.
        """
        return {}


def names() -> list[str]:
    return find.names(PACKAGE, "cellbench.tasks")


def get(spec: str) -> Task:
    """The task that a spec names. Raises ValueError for an unknown task or option."""
    return find.member(spec, Task, PACKAGE, "cellbench.tasks")


def draw(spec: str, rng: np.random.Generator) -> Data:
    """The data of the task that a spec names.

    Raises DataAbsent, PackageMissing, or ValueError naming the task whose data cannot be had.
    """
    task = get(spec)
    with named(spec):
        data = task.data(rng)
    if not isinstance(data, Data):
        raise ValueError(
            f"task {spec!r}: data(rng) returned {type(data).__name__}; it must return harness.task.Data"
        )
    return data


@contextmanager
def named(task: str) -> Iterator[None]:
    """Turns what a task's own code raises into a ValueError that names the task.

    Absent data, absent packages and exhausted memory stay what they are: a case ends in another status there.
    """
    try:
        yield
    except (DataAbsent, PackageMissing, MemoryError):
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"task {task!r}: {reason}") from error
