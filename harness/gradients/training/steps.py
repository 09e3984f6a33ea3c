"""An optimiser's steps: measured after its own hooks, in closures, and in the innermost of nested steps."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from .measured import norms_of, total
from .reach import Reach
from .seen import Seen
from .updates import Row
from .watch import Watch

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Step:
    """A call of step that has not returned: its frame, its parameters, and its row once that is made."""

    frame: FrameType
    optimiser: Any
    params: list[nn.Parameter]
    evaluations: int = 0
    row: Row | None = None
    inside: bool = False  # another step inside this one makes the row
    seen: dict[int, Seen] = field(default_factory=dict)  # what was seen of the gradients before the row
    counted: list[tuple[Reach, int]] = field(default_factory=list)


class Steps:
    """Hooks every optimiser that steps a parameter of the model."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.open: list[Step] = []
        self.last: dict[int, tuple[Any, str, Any]] = {}  # id -> optimiser, label, the handle of its hook
        self.wrapped: list[tuple[type, Callable]] = []

    def before(self, optimiser: Any, *_: Any) -> None:
        """The first hook of a step: ours goes behind the optimiser's own, which may change gradients."""
        if not self.watch.of(optimiser):
            return
        self.hook_bases(type(optimiser))
        known = self.last.get(id(optimiser))
        if known:
            known[2].remove()
        label = known[1] if known else self.label(optimiser)
        self.last[id(optimiser)] = (optimiser, label, optimiser.register_step_pre_hook(self.at))

    def label(self, optimiser: Any) -> str:
        name = type(optimiser).__name__
        number = 1 + sum(type(other).__name__ == name for other, *_ in self.last.values())
        return name if number == 1 else f"{name} {number}"

    def at(self, optimiser: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        """The last hook of a step. With a closure, the gradients come when it is called."""
        frames = set(stack())
        self.open = [step for step in self.open if step.frame in frames]
        step = Step(sys._getframe(1), optimiser, self.watch.of(optimiser))
        ids = set(map(id, step.params))
        for outer in self.open:
            if ids & set(map(id, outer.params)):
                self.give_up(outer)
        self.open.append(step)
        if callable(kwargs.get("closure")):
            return args, kwargs | {"closure": self.around(kwargs["closure"], step)}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self.around(args[1], step), *args[2:]), kwargs
        self.close(step)
        return None

    def around(self, closure: Callable, step: Step) -> Callable:
        @functools.wraps(closure)
        def evaluated(*args: Any, **kwargs: Any) -> Any:
            result = closure(*args, **kwargs)
            step.evaluations += 1
            if step.row is None and not step.inside:
                self.close(step)
            elif step.row is not None:
                self.again(step)
            return result

        return evaluated

    def close(self, step: Step) -> None:
        """The row of a step, of what the optimiser has before it moves the parameters."""
        watch, optimiser = self.watch, step.optimiser
        scale, found = getattr(optimiser, "grad_scale", None), getattr(optimiser, "found_inf", None)
        skipped = "skipped" if found is not None and float(found) else ""
        step.seen = {id(p): replace(watch.seen[id(p)]) for p in step.params if id(p) in watch.seen}
        factor = 1.0 if scale is None else 1 / float(scale)  # a fused optimiser unscales inside its kernel
        step.row = watch.row(step.params, self.last[id(optimiser)][1], skipped, factor)
        watch.rows.append(step.row)
        watch.owned.update(map(id, step.params))
        norms = norms_of(step.params)
        for p in step.params:
            reach = watch.gradients.parameters[watch.names[id(p)]]
            reach.reached |= p.grad is not None
            step.counted.append((reach, int(norms[id(p)] != 0)))
            reach.stepped, reach.nonzero = reach.stepped + 1, reach.nonzero + step.counted[-1][1]

    def again(self, step: Step) -> None:
        """The closure was called again in the same step: the row is the update, its norms are the first's."""
        assert step.row is not None
        norm = total(norms_of(step.params).values())
        words = (
            f"the norms are of the first of {step.evaluations} evaluations, the last had {norm:.3g}:"
            f" {type(step.optimiser).__name__} calls its closure several times a step"
        )
        at = next(k for k, row in enumerate(self.watch.rows) if row is step.row)
        note = step.row.note if step.row.evaluations == 1 and step.row.note else words
        step.row = self.watch.rows[at] = replace(step.row, evaluations=step.evaluations, note=note)
        for p in step.params:
            self.watch.seen.pop(id(p), None)

    def give_up(self, outer: Step) -> None:
        """A step inside another is nearer to what moves the parameters; the outer one's row is taken back."""
        outer.inside = True
        if outer.row is None:
            return
        self.watch.rows[:] = [row for row in self.watch.rows if row is not outer.row]
        self.watch.seen = outer.seen | self.watch.seen
        for reach, nonzero in outer.counted:
            reach.stepped, reach.nonzero = reach.stepped - 1, reach.nonzero - nonzero
        outer.row = None

    def after(self, optimiser: Any, *_: Any) -> None:
        """A step has returned; one that never called its closure has its row here."""
        for step in [s for s in self.open if s.frame is sys._getframe(1)]:
            if step.row is None and not step.inside:
                self.close(step)
            self.open.remove(step)

    def hook_bases(self, kind: type) -> None:
        """Hooks the step of every class that this one may call by super(), as torch does once it is used."""
        from torch.optim import Optimizer

        for base in kind.__mro__[:-1]:
            step = vars(base).get("step")
            if callable(step) and base is not Optimizer and not getattr(step, "hooked", False):
                self.wrapped.append((base, step))
                hooked: Any = Optimizer.profile_hook_step(step)
                hooked.hooked = True
                base.step = hooked  # type: ignore[attr-defined]

    def around_unscale(self, unscale: Callable) -> Callable:
        """Of GradScaler._unscale_grads_, which every unscaling goes through."""

        @functools.wraps(unscale)
        def watched(scaler: Any, optimiser: Any, inverse: Any, *rest: Any, **more: Any) -> Any:
            result = unscale(scaler, optimiser, inverse, *rest, **more)
            self.watch.unscale(self.watch.of(optimiser), float(inverse))
            return result

        return watched

    def around_scaler(self, scaled_step: Callable) -> Callable:
        """Of GradScaler.step, which leaves a step out where a gradient is not finite."""

        @functools.wraps(scaled_step)
        def watched(scaler: Any, optimiser: Any, *args: Any, **kwargs: Any) -> Any:
            params, count = self.watch.of(optimiser), len(self.watch.rows)
            result = scaled_step(scaler, optimiser, *args, **kwargs)
            if params and len(self.watch.rows) == count:
                known = self.last.get(id(optimiser))
                label = known[1] if known else self.label(optimiser)
                self.watch.owned.update(map(id, params))
                self.watch.rows.append(self.watch.row(params, label, "skipped"))
            return result

        return watched

    def end(self) -> None:
        """Takes every hook out."""
        for _, _, handle in self.last.values():
            handle.remove()
        for kind, step in self.wrapped:
            kind.step = step  # type: ignore[attr-defined]
        self.open = []


def stack() -> Iterator[FrameType]:
    """The frames of the calls that have not returned, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        yield frame
        frame = frame.f_back
