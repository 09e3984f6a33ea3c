"""A cell: what its author writes, and what follows from that."""

from __future__ import annotations

import math

import numpy as np

from .contract import Arrays, Equations, Shapes, check_sizes, real_floating
from .derived import counts, latex, layers, widened
from .derived.counts import Operations
from .derived.derive import Derivation, derive
from .derived.trial import try_step


class GatedCell(Equations):
    """Base of all cells. What a subclass writes is said at `contract.Equations`."""

    def parameter_shapes(self, input_size: int, hidden_size: int) -> Shapes:
        """Shapes by name, as torch names and orders them; a single layer has no suffix _l0."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        return layers.shapes(self, input_size, hidden_size)

    def parameter_count(self, input_size: int, hidden_size: int) -> int:
        """Number of parameters, read-out included."""
        return sum(math.prod(s) for s in self.parameter_shapes(input_size, hidden_size).values())

    def output_size(self, input_size: int, hidden_size: int) -> int:
        """Width of the output: of the read-out if there is one, else of both directions."""
        return self.readout or layers.width(self, input_size, hidden_size)

    def init(self, input_size: int, hidden_size: int, seed: int = 0, scheme: str = "torch") -> Arrays:
        """Float64 parameters, drawn by a scheme of `cells.derived.init`.

        Schemes are 'torch', 'orthogonal(1.2)', 'chrono(100)' and others. Raises ValueError for sizes that the
        cell cannot have, and for a scheme that is unknown or does not apply.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        if reason := layers.unfit(self, input_size, hidden_size):
            raise ValueError(reason)
        return layers.initialise(self, (input_size, hidden_size), np.random.default_rng(seed), scheme)

    def derivation(self) -> Derivation:
        """The recorded equations and what follows from them.

        Raises EquationError where they cannot be recorded.
        """
        return derive(self)

    def verify(self) -> None:
        """Raises EquationError, with file and line, unless the equations can be recorded.

        A step that is written out must run instead, unless equations and projections say the same.
        """
        recorded = self.widened() if self.written_out else self
        if recorded is None:
            try_step(layers.single(self))
        else:
            derive(recorded)

    @property
    def pointwise(self) -> bool:
        """Whether units are computed apart from each other, but for the two products.

        Not so where a step multiplies or averages values of its own, or is written out.
        """
        return not self.written_out and not self.derivation().joined

    def widened(self) -> GatedCell | None:
        """The same with all states as wide as the units, and no step that is written out.

        None unless the one state that is fed back has a projection, and the step no other product of its own.
        """
        one = tuple(self.projections) == self.fed_back and len(self.fed_back) == 1 == self.heads
        return widened.widened(self) if one and not (self.matrices or self.inner_gates) else None

    @property
    def printable(self) -> bool:
        """Whether the CPU's kernels can be printed: the equations, or the widened cell's, say it all."""
        return not self.written_out or self.widened() is not None

    def affine(self) -> bool:
        """Whether the new state is affine in the old one; found from the graph.

        False where the step is written out, for which there is no graph.
        """
        return not self.written_out and self.derivation().affine

    def operations(self, input_size: int, hidden_size: int) -> Operations:
        """FLOPs of one time step of one sequence, forward and backward."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        return counts.operations(self, input_size, hidden_size)

    def latex(self) -> str:
        """The equations as LaTeX, one line each (needs SymPy); empty where the step is written out."""
        return "" if self.written_out else latex.equations(self)

    def check_parameters(self, params: Arrays, input_size: int, hidden_size: int) -> None:
        """Raises ValueError, naming the array, unless params are the cell's arrays in their shapes."""
        shapes = self.parameter_shapes(input_size, hidden_size)
        if set(params) != set(shapes):
            raise ValueError(
                f"parameters are {', '.join(params)}; cell {self.name!r} has {', '.join(shapes)}"
            )
        for name, shape in shapes.items():
            given = tuple(real_floating(name, params[name]).shape)
            if given != shape:
                raise ValueError(
                    f"{name} is {given}; cell {self.name!r} with input_size {input_size} and hidden_size "
                    f"{hidden_size} has {len(self.gates)} gates, so it must be {shape}"
                )

    def sizes(self, params: Arrays) -> tuple[int, int]:
        """(input_size, hidden_size) of the parameters, after checking them all."""
        # the first layer alone says both: the inputs of all others follow from hidden_size
        first = {name.removesuffix("_l0"): array for name, array in params.items() if name.endswith("_l0")}
        sizes = (
            likely_sizes(layers.single(self), first or params) if self.stacked else likely_sizes(self, params)
        )
        self.check_parameters(params, *sizes)
        if reason := layers.unfit(self, *sizes):
            raise ValueError(reason)
        return sizes


def likely_sizes(cell: GatedCell, params: Arrays) -> tuple[int, int]:
    """The smallest (input_size, hidden_size) at which the most of the arrays have the cell's shapes.

    Sizes are not read off one array, which may be the one that is wrong: all together say what was meant.
    """
    given = {
        name: tuple(array.shape if hasattr(array, "shape") else np.shape(array))
        for name, array in params.items()
    }
    lengths = sorted({n for shape in given.values() for n in shape if n})
    if not lengths:
        raise ValueError(
            f"there are no parameters; cell {cell.name!r} has {', '.join(cell.parameter_shapes(1, 1))}"
        )
    # an axis is a size times a number of gates, or of states side by side, so hidden_size divides one of them
    divisors = sorted({n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 3) if n % k == 0})

    inputs = set(lengths)
    if cell.library:  # a module may hold one matrix of [x; h]
        inputs |= {a - b for a in lengths for b in lengths if a > b}

    def rank(sizes: tuple[int, int]) -> tuple[int, bool]:
        shapes = cell.parameter_shapes(*sizes)
        return (
            -sum(given.get(name) == shape for name, shape in shapes.items()),
            cell.unfit(*sizes) is not None,
        )

    return min(((i, h) for h in divisors for i in sorted(inputs)), key=rank)
