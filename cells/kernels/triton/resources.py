"""What a kernel takes of a GPU, as its compiler says: whether a form fits, without a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...cell import GatedCell
from ..questions import answers_to
from . import printer
from .form import GRID, STEPWISE, Form, candidates

Ask = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]
KERNELS = {"forward": {"KEEPING": True}, "backward": {"TRACING": False}}
# multiprocessors of a usual device, and the shared memory that a program may have there, in bytes
TARGETS = {
    "sm_80": (108, 166_912),
    "sm_86": (84, 101_376),
    "sm_89": (128, 101_376),
    "sm_90": (132, 232_448),
    "sm_100": (148, 232_448),
    "sm_120": (170, 101_376),
}
SYSTEM_BYTES = 1024  # of the shared memory of a program, taken by the driver from sm_90 on


@dataclass(frozen=True)
class Resources:
    """registers of a thread, bytes spilled from them, shared bytes; barriers and instructions of a step.

    Or why there are none: `failed`, and whether its compiler `died`, of an assertion of its own or an abort.
    """

    registers: int = 0
    spilled_bytes: int = 0
    shared_bytes: int = 0
    barriers: int = 0
    instructions: int = 0
    failed: str | None = None
    died: bool = False

    def __str__(self) -> str:
        return (
            f"{self.registers} registers, {self.spilled_bytes:,} bytes spilled, {self.shared_bytes:,} shared,"
            f" {self.barriers} barriers a step"
        )

    def starts(self, target: str) -> bool:
        """Whether the target runs it, slowly perhaps."""
        return not self.failed and self.shared_bytes <= limit(target)

    def unfit(self, target: str) -> str | None:
        """None, or the reason why the kernel does not fit the target."""
        if not self.starts(target):
            return self.failed or _too_large(self.shared_bytes, target)
        if self.spilled_bytes:
            return f"{self.spilled_bytes:,} bytes do not fit into registers"
        return None


@dataclass(frozen=True)
class Chosen:
    """The form of a cell on a target with what its kernels take, or None; and why not those before.

    `died` are those of them at which the compiler died.
    """

    form: Form | None
    kernels: dict[str, Resources]
    refused: dict[str, str]
    died: Sequence[str] = ()

    def __str__(self) -> str:
        kernels = [f"{name} {taken}" for name, taken in self.kernels.items()]
        refused = [f"not {form}: {reason}" for form, reason in self.refused.items() if form != str(self.form)]
        return "; ".join([str(self.form or "no form"), *kernels, *refused])


def choose(
    cell: GatedCell,
    hidden: int,
    batch: int,
    dtype: str,
    target: str,
    ask: Ask | None = None,
    processors: int | None = None,
) -> Chosen:
    """The first form whose two kernels fit, and else a launch a step although it spills.

    `ask` answers in the compiler's place. processors are the device's multiprocessors; of a usual device of
    the target where none are given.
    """
    processors = processors or TARGETS[target][0]
    refused: dict[str, str] = {}
    died: list[str] = []
    spilling: Chosen | None = None
    for form in candidates(cell, hidden, batch, processors, dtype):
        # what is said without compiling, which takes the longer the less it fits
        if reason := ruled_out(form, cell, hidden, batch, dtype, target, processors):
            refused[str(form)] = reason
            continue
        kernels = resources(cell, hidden, dtype, form, target, ask)
        reasons = [f"{name}: {reason}" for name, r in kernels.items() if (reason := r.unfit(target))]
        if not reasons:
            return Chosen(form, kernels, refused)
        refused[str(form)] = "; ".join(reasons)
        died += [str(form)] if any(r.died for r in kernels.values()) else []
        if form.kind == STEPWISE and all(r.starts(target) for r in kernels.values()):
            spilling = spilling or Chosen(form, kernels, refused)
    return spilling or Chosen(None, {}, refused, died)


def ruled_out(
    form: Form, cell: GatedCell, hidden: int, batch: int, dtype: str, target: str, processors: int
) -> str | None:
    """None, or why the form cannot be, whatever the compiler makes of it."""
    weights = form.weight_bytes(cell, hidden, dtype)
    if weights > limit(target):
        return f"for its weights {_too_large(weights, target)}"
    crowded = form.crowded(cell, hidden, batch, processors)
    return crowded or form.too_long(cell, hidden) or form.too_wide(cell, hidden, batch)


def limit(target: str) -> int:
    """Bytes of shared memory that a program may have."""
    return TARGETS[target][1] - (SYSTEM_BYTES if _capability(target) >= 90 else 0)


def _capability(target: str) -> int:
    return int(target.removeprefix("sm_"))


def _too_large(size: int, target: str) -> str:
    return f"it needs {size:,} bytes of shared memory, and {target} has {limit(target):,}"


def missing() -> str | None:
    """None, or why nothing can be compiled here."""
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:  # a folder of that name is none
        return "triton is not installed; pip install 'cellbench[triton]' brings it, on Linux"
    try:
        import triton  # noqa: F401
    except Exception as error:  # where half of it is there, or of another machine: anything
        return f"triton cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
    return None


def version() -> str:
    """Triton's, whatever its distribution is called, such as pytorch-triton."""
    import triton

    return str(triton.__version__)


def resources(
    cell: GatedCell, hidden: int, dtype: str, form: Form, target: str, ask: Ask | None = None
) -> dict[str, Resources]:
    """What the kernels of a form take, by name."""
    answers = (ask or answered)(jobs(cell, hidden, dtype, form, target))
    return {
        name: Resources(failed=answer["error"], died=answer.get("died", False))
        if "error" in answer
        else Resources(**answer)
        for name, answer in zip(KERNELS, answers, strict=True)
    }


def jobs(cell: GatedCell, hidden: int, dtype: str, form: Form, target: str) -> list[dict[str, Any]]:
    """What the compiler is asked for each kernel."""
    real = printer.real_of(dtype)
    return [
        {
            "stem": printer.stem(cell, real),
            "text": printer.text(cell, real, form.layout(cell, hidden)),
            "kernel": name,
            "constants": form.constants(cell, hidden, dtype) | more | _ending(name, form),
            "dtype": dtype,
            "warps": form.warps,
            "target": _capability(target),
        }
        for name, more in KERNELS.items()
    ]


def _ending(kernel: str, form: Form) -> dict[str, bool]:
    """Of a spread form's backward: the launches of a step, which most of them are."""
    return {"ENDING": form.kind == GRID} if form.kind in (GRID, STEPWISE) and kernel == "backward" else {}


def answered(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The compiler's answers in order; where it dies, that is the answer to the job that it was at."""
    command = (f"{__package__}.compiler",)
    return answers_to(command, jobs, "the compiler", lambda text: {"error": text, "died": True})
