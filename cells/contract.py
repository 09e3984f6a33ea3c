"""The contract of a cell: pointwise equations around products, or a step written out.

    wx = W_ih x_t + b_ih        wh = W_hh h_{t-1} + b_hh        output, new state = equations(wx, wh, previous state)

A subclass states its gates and states and writes `equations`; annotated attributes with a default become
options. What a cell has beyond that it says in the class (`vectors`, `recurrent_gates`, `recurrent_states`,
`heads`) or in a method:

    project     the input's side, from x of all steps at once, where it is not one product
    emit        the output's side, from the outputs of all steps at once, where the equations' output is not the cell's
    effective   arrays that the step uses, from those that are stored (a skew part, its exponential)
    step        all of a step, where it is not pointwise around products: then NumPy and torch compute the cell

These four take params as a dict, and NumPy arrays, torch tensors or recorded arrays alike (see `tape` and
`matrices`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import numpy as np

from .derived import layers as parts
from .find import public_name
from .vocabulary.matrices import blocks, concatenate, linear

if TYPE_CHECKING:
    from .derived.counts import Operations
    from .derived.derive import Derivation

Arrays = dict[str, Any]


class State:
    """Named values: State(h=..., c=...) has .h and .c. Also holds the gates of a product."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name!r} here; there are {', '.join(self.__dict__)}")

    def __repr__(self) -> str:
        return f"State({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class GatedCell:
    """Base of all cells.

    gates     row blocks of weight_ih, in this order
    states    what a step carries on, each (B, units); unless the equations return (output, State), the first is the output
    vectors   per-unit parameters (units,), which the equations take as a fourth argument
    recurrent_gates    those of the gates with a recurrent product (row blocks of weight_hh); None means all
    recurrent_states   the states that are multiplied by weight_hh, side by side; None means the first
    heads     diagonal blocks of every gate's recurrent matrix; 1 means that it is full
    keep_gate, input_gate   the gates whose bias sets the memory span (schemes forget_bias and chrono); None where there is none
    biases    0, 1 (bias_ih) or 2 (bias_ih and bias_hh, as torch has it)
    readout   size K of a linear read-out y_t = weight_out output_t + bias_out, or 0 for none
    layers, bidirectional   a stack, as torch.nn has it: names end in _l0, _l0_reverse, _l1 ..., states are (layers * directions,
                            B, units), and a layer takes the concatenated outputs of the one below. All else here is of one layer.
    """

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]
    vectors: ClassVar[tuple[str, ...]] = ()
    recurrent_gates: ClassVar[tuple[str, ...] | None] = None
    recurrent_states: ClassVar[tuple[str, ...] | None] = None
    keep_gate: ClassVar[str | None] = None
    input_gate: ClassVar[str | None] = None
    heads = 1

    biases: int = 1
    readout: int = 0
    layers: int = 1
    bidirectional: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        if not whole(self.biases) or self.biases not in (0, 1, 2):
            raise ValueError(
                f"biases is {self.biases!r}; it must be 0, 1 (bias_ih) or 2 (bias_ih and bias_hh)"
            )
        if not whole(self.readout) or self.readout < 0:
            raise ValueError(
                f"readout is {self.readout!r}; it must be the size of the read-out, or 0 for none"
            )
        if not whole(self.heads) or self.heads < 1:
            raise ValueError(f"heads is {self.heads!r}; it must be a whole number of at least 1")
        if not whole(self.layers) or self.layers < 1:
            raise ValueError(f"layers is {self.layers!r}; it must be a whole number of at least 1")
        if not isinstance(self.bidirectional, bool):
            raise ValueError(f"bidirectional is {self.bidirectional!r}; it must be True or False")

    # what a cell writes

    def equations(self, wx: State, wh: State, prev: State, *unit: State) -> State | tuple[Any, State]:
        """One step. wx and wh hold both products by gate, prev the states at t-1, all (B, units); unit the
        vectors (units,).
        """
        raise NotImplementedError(f"{type(self).__name__} has no equations")

    def project(self, params: Arrays, x: Any) -> State:
        """wx by gate, each (..., units), from x (..., I): by default one product and a bias."""
        return split(self.gates, linear(x, params["weight_ih"], params.get("bias_ih")))

    def emit(self, params: Arrays, x: Any, output: Any) -> Any:
        """The cell's output (..., O) from what the equations return as output (an array (..., units) or a
        tuple), and x.
        """
        return output

    def effective(self, params: Arrays) -> Arrays:
        """The arrays that the step uses, from the stored ones."""
        return params

    def step(self, params: Arrays, x: Any, state: State) -> tuple[Any, State]:
        """Output (B, O) and new state of one step, from x (B, I), the effective arrays, and the state before."""
        wx = self.project(params, x)
        unit = [State(**{name: params[name] for name in self.vectors})] if self.vectors else []
        result = self.equations(wx, self.recur(params, state), state, *unit)
        output, new = result if isinstance(result, tuple) else (getattr(result, self.states[0]), result)
        return self.emit(params, x, output), new

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the stored arrays, without a read-out's."""
        units, recurrent = self.units(hidden_size), self.recurrent
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (len(self.gates) * units, input_size)}
        biases = [("bias_ih", len(self.gates) * units)]
        if recurrent:
            shapes["weight_hh"] = (len(recurrent) * units, len(self.fed_back) * units // self.heads)
            biases.append(("bias_hh", len(recurrent) * units))
        return (
            shapes | {name: (n,) for name, n in biases[: self.biases]} | dict.fromkeys(self.vectors, (units,))
        )

    def units(self, hidden_size: int) -> int:
        """Width of every state."""
        return hidden_size

    def emitted(self, input_size: int, hidden_size: int) -> int:
        """Width of the cell's output, before a read-out."""
        return self.units(hidden_size)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        """None, or the reason why the cell cannot have these sizes."""
        if self.units(hidden_size) % self.heads:
            return f"cell {self.name!r} has {self.heads} heads, which do not divide hidden_size {hidden_size}"
        return None

    def paper(self, shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> Arrays:
        """Initial arrays as the cell's paper draws them. Only what differs from the scheme torch need be
        given.
        """
        raise ValueError(f"cell {self.name!r} has no initialisation of its own paper; use another scheme")

    def modes(self, modulus: np.ndarray, phase: np.ndarray) -> Arrays:
        """Stored arrays that give a diagonal recurrence the eigenvalues modulus * exp(i phase), for the
        scheme ring.
        """
        raise ValueError(
            f"cell {self.name!r} stores no complex eigenvalues, which the scheme ring sets; use another"
            " scheme"
        )

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        """Name and options of the torch.nn module that computes the same with the same weights, or None."""
        return None

    # what follows

    @property
    def name(self) -> str:
        """The cell's public name: its file's name in the zoo, else its class's."""
        return public_name(self)

    @property
    def options(self) -> str:
        """Options that differ from their defaults, as k=v joined by ':'."""
        return ":".join(
            f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default
        )

    @property
    def directions(self) -> int:
        """2 for a bidirectional cell, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def stacked(self) -> bool:
        """Whether it is more than one layer in one direction."""
        return self.layers > 1 or self.bidirectional

    @property
    def recurrent(self) -> tuple[str, ...]:
        """The gates with a recurrent product."""
        return self.gates if self.recurrent_gates is None else self.recurrent_gates

    @property
    def fed_back(self) -> tuple[str, ...]:
        """The states that weight_hh multiplies."""
        return self.states[:1] if self.recurrent_states is None else self.recurrent_states

    @property
    def written_out(self) -> bool:
        """Whether the cell writes out its step, so that no kernel can be printed for it."""
        return type(self).step is not GatedCell.step

    def recur(self, params: Arrays, state: State) -> State:
        """wh by gate, each (B, units)."""
        if not self.recurrent:
            return State()
        fed = [getattr(state, name) for name in self.fed_back]
        joint = fed[0] if len(fed) == 1 else concatenate(fed)
        rows = blocks(joint, params["weight_hh"], params.get("bias_hh"), self.heads, len(self.recurrent))
        return split(self.recurrent, rows)

    def parameter_shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shapes by name, as torch names and orders them (the suffix _l0 is left out where there is one
        layer).
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        return parts.shapes(self, input_size, hidden_size)

    def parameter_count(self, input_size: int, hidden_size: int) -> int:
        """Number of parameters, read-out included."""
        return sum(math.prod(s) for s in self.parameter_shapes(input_size, hidden_size).values())

    def state_shapes(self, batch: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shape of each state."""
        check_sizes(batch=batch, hidden_size=hidden_size)
        stack = (self.layers * self.directions,) if self.stacked else ()
        return dict.fromkeys(self.states, (*stack, batch, self.units(hidden_size)))

    def output_size(self, input_size: int, hidden_size: int) -> int:
        """Width of the output: of the read-out if there is one, else of both directions."""
        return self.readout or parts.width(self, input_size, hidden_size)

    def init(self, input_size: int, hidden_size: int, seed: int = 0, scheme: str = "torch") -> Arrays:
        """Float64 parameters, drawn by a scheme of `cells.derived.init` such as 'torch', 'orthogonal(1.2)',
        'chrono(100)'.

        Raises ValueError for sizes that the cell cannot have, and for a scheme that is unknown or does not
        apply.
        """
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        if reason := parts.unfit(self, input_size, hidden_size):
            raise ValueError(reason)
        return parts.initialise(self, (input_size, hidden_size), np.random.default_rng(seed), scheme)

    def derivation(self) -> Derivation:
        """The recorded equations and what follows from them. Raises EquationError where they cannot be
        recorded.
        """
        from .derived.derive import derive

        return derive(self)

    def verify(self) -> None:
        """Raises EquationError, with file and line, unless the equations can be recorded, or the written step
        be run.
        """
        from .derived.derive import derive, try_step

        if self.written_out:
            try_step(parts.single(self))
        else:
            derive(self)

    def affine(self) -> bool:
        """Whether the new state is affine in the old one; found from the graph. False where the step is
        written out.
        """
        return not self.written_out and self.derivation().affine

    def operations(self, input_size: int, hidden_size: int) -> Operations:
        """FLOPs of one time step of one sequence, forward and backward."""
        from .derived.counts import operations

        return operations(self, input_size, hidden_size)

    def latex(self) -> str:
        """The equations as LaTeX, one line each (needs SymPy); empty where the step is written out."""
        from .derived.latex import equations

        return "" if self.written_out else equations(self)

    def check_parameters(self, params: Arrays, input_size: int, hidden_size: int) -> None:
        """Raises ValueError, naming the array, unless params are exactly the cell's arrays in their shapes."""
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
        first = {name.removesuffix("_l0"): array for name, array in params.items() if name.endswith("_l0")}
        sizes = (
            likely_sizes(parts.single(self), first or params) if self.stacked else likely_sizes(self, params)
        )
        self.check_parameters(params, *sizes)
        if reason := parts.unfit(self, *sizes):
            raise ValueError(reason)
        return sizes


def likely_sizes(cell: GatedCell, params: Arrays) -> tuple[int, int]:
    """The (input_size, hidden_size) at which the most of the arrays have the cell's shapes; the smallest
    such.
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
    whole = sorted({n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 3) if n % k == 0})

    def rank(sizes: tuple[int, int]) -> tuple:
        shapes = cell.parameter_shapes(*sizes)
        return (
            -sum(given.get(name) == shape for name, shape in shapes.items()),
            cell.unfit(*sizes) is not None,
        )

    return min(((i, h) for h in whole for i in lengths), key=rank)


def split(names: tuple[str, ...], rows: Any) -> State:
    """(..., G * units) by name, each (..., units)."""
    parts = rows.reshape(*rows.shape[:-1], len(names), -1)
    return State(**{name: parts[..., k, :] for k, name in enumerate(names)})


def whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def real_floating(what: str, array: Any) -> Any:
    """The array; a list becomes one. Raises ValueError for what is not of a real floating dtype, NumPy's or
    torch's.
    """
    given = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    floating = given.is_floating_point() if hasattr(given, "is_floating_point") else given.dtype.kind == "f"
    if not floating:
        raise ValueError(
            f"{what} is of dtype {given.dtype}; it must be real floating, such as float32 or float64"
        )
    return given


def check_sizes(**sizes: Any) -> None:
    """Raises ValueError for a size that is no positive whole number."""
    for name, value in sizes.items():
        if not whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
