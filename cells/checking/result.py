"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One array: its largest error relative to the reference's largest entry, and what is allowed."""

    name: str
    error: float
    tolerance: float
    ok: bool


@dataclass(frozen=True)
class First:
    """The first deviation. step: of the output, from 0, or None where all outputs agree; array: the first row
    that deviates.

    gate: the gate whose row block of the gradient `block` is off most; None where no such gradient deviates
    or there is none.
    """

    step: int | None
    array: str
    gate: str | None
    error: float
    tolerance: float
    block: str | None = None

    def __str__(self) -> str:
        at = f"{self.array} at step {self.step}" if self.step is not None else self.array
        gate = f"; in {self.block} gate {self.gate} is off most" if self.gate else ""
        return f"{at}, off by {self.error:.2g} of the largest entry, {self.tolerance:.2g} allowed{gate}"


@dataclass(frozen=True)
class Result:
    """`diagnosis` is one line; `notes` say what was understood and what could not be compared."""

    thing: str
    cell: str
    ok: bool
    diagnosis: str
    rows: tuple[Row, ...]
    first: First | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wide = max([len(row.name) for row in self.rows] + [5])
        lines = [
            f"{self.thing} against {self.cell}: {'right' if self.ok else 'deviates'}",
            f"  {self.diagnosis}",
        ]
        lines += [f"  first deviation: {self.first}"] if self.first else []
        lines += ["", f"  {'array':{wide}}  {'error':>8}  {'allowed':>8}"]
        lines += [
            f"  {r.name:{wide}}  {r.error:8.1e}  {r.tolerance:8.1e}  {'ok' if r.ok else 'deviates'}"
            for r in self.rows
        ]
        return "\n".join([*lines, *([""] if self.notes else []), *(f"  {note}" for note in self.notes)])
