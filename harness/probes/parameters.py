"""How much does a cell cost: parameters, bytes, state, operations a step. All by closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cellbench.cells.programs.formats import FORMATS

from ..case import Case
from ..probe import Emit, Plan, Probe, cell_of, series


@dataclass(frozen=True)
class Parameters(Probe):
    """Counts for each cell and pair of sizes; they depend on no backend."""

    timed: ClassVar[bool] = False

    def cases(self, plan: Plan) -> list[Case]:
        sizes = [(i, h) for i in plan.input_size for h in plan.hidden_size]
        return [
            Case(self.name, c, input_size=i, hidden_size=h, dtype=plan.dtype)
            for c in plan.cells
            for i, h in sizes
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        cell = cell_of(case)
        shapes = cell.parameter_shapes(case.input_size, case.hidden_size)
        operations = cell.operations(case.input_size, case.hidden_size)
        count = cell.parameter_count(case.input_size, case.hidden_size)
        state = sum(int(np.prod(s)) for s in cell.state_shapes(1, case.hidden_size).values())
        return "closed form", [
            series("parameters", "1", count),
            *(series(f"parameters.{name}", "1", int(np.prod(shape))) for name, shape in shapes.items()),
            series("parameter_bytes", "B", count * FORMATS[case.dtype].size),
            series("state_size", "1", state),
            series("forward_flop", "FLOP", operations.forward),
            series("backward_flop", "FLOP", operations.backward),
            # a step that is written out has no graph that could tell
            *([] if cell.written_out else [series("affine", "1", cell.affine())]),
        ]

    def estimate_s(self, case: Case) -> float:
        return 0.2
