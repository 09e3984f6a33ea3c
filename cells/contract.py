"""What the author of a cell writes: equations around products, or a step written out.

    wx = W_ih x_t + b_ih      wh = W_hh h_{t-1} + b_hh      output, new state = equations(wx, wh, prev)

A subclass of `GatedCell` (in `cell`) states its gates and states and writes `equations`; annotated attributes
with a default become options. What goes beyond that is said in the class (`vectors`, `recurrent_gates`,
`recurrent_states`, `inner_gates`, `matrices`, `heads`) or in a method:

    project     the input's side, from x of all steps at once, where it is not one product
    emit        the output's side, from all steps' outputs at once, where the equations' is not the cell's
    effective   arrays that the step uses, from those that are stored (a skew part, its exponential)
    step        all of a step, where equations cannot say it: NumPy and torch compute the cell

These four take params as a dict, and NumPy arrays, torch tensors or recorded arrays alike (see `tape` and
`matrices`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform

import numpy as np

from .find import public_name
from .vocabulary.across import Multiplied
from .vocabulary.matrices import blocks, concatenate, linear

Array = Any  # a NumPy array, a torch tensor or a recorded array: what a cell writes takes all three
Arrays = dict[str, Any]  # such arrays by name
Shapes = dict[str, tuple[int, ...]]
MOST_LAYERS = 1000  # of a stack, and heads of a layer


class State:
    """Named values: State(h=..., c=...) has .h and .c. Also holds the gates of a product."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name!r} here; there are {', '.join(self.__dict__)}")

    def __repr__(self) -> str:
        return f"State({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


Returned = State | tuple[Any, State]  # of equations: the new state, or the output and the new state


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Equations:
    """What a cell's author writes, and the plain properties of it that need nothing derived.

    gates     row blocks of weight_ih, in this order
    states    what a step carries on, each (B, units); the first is the output, if equations return no other
    vectors   per-unit parameters (units,), which the equations take as a fourth argument
    recurrent_gates    those of the gates with a recurrent product (row blocks of weight_hh); None means all
    recurrent_states   the states that are multiplied by weight_hh, side by side; None means the first
    inner_gates   the recurrent gates whose product is with a value of the step: n in wh.n(r * prev.h)
    matrices  (units, units) parameters W, with which equations multiply a value of the step: unit.W(value)
    heads     diagonal blocks of every gate's recurrent matrix; 1 means that it is full
    other_names   what else people call the cell, in lower case without signs: the answer to an unknown name
    keep_gate, input_gate   the gates whose bias sets the memory span (schemes forget_bias, chrono), or None
    biases    0, 1 (bias_ih) or 2 (bias_ih and bias_hh, as torch has it)
    readout   size K of a linear read-out y_t = weight_out output_t + bias_out, or 0 for none
    layers, bidirectional   a stack, as torch.nn has it: names end in _l0, _l0_reverse, _l1 ..., states are
                            (layers * directions, B, units), and a layer takes the concatenated outputs of the
                            one below. All else here is of one layer.
    """

    # of a cell without equations: the library whose module it is, and the backend that computes its reference
    library: ClassVar[str | None] = None
    reference: ClassVar[str] = "numpy"
    stepwise = True  # whether a state carries all that later steps need of earlier ones

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]
    vectors: ClassVar[tuple[str, ...]] = ()
    recurrent_gates: ClassVar[tuple[str, ...] | None] = None
    recurrent_states: ClassVar[tuple[str, ...] | None] = None
    inner_gates: ClassVar[tuple[str, ...]] = ()
    matrices: ClassVar[tuple[str, ...]] = ()
    other_names: ClassVar[tuple[str, ...]] = ()
    keep_gate: ClassVar[str | None] = None
    input_gate: ClassVar[str | None] = None
    heads = 1  # without an annotation, so that it is an option only where a cell annotates it

    biases: int = 1
    readout: int = 0
    layers: int = 1
    bidirectional: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)  # so that an author need not write it

    def __post_init__(self) -> None:
        if not whole(self.biases) or self.biases not in (0, 1, 2):
            raise ValueError(
                f"biases is {self.biases!r}; it must be 0, 1 (bias_ih) or 2 (bias_ih and bias_hh)"
            )
        if not whole(self.readout) or self.readout < 0:
            raise ValueError(
                f"readout is {self.readout!r}; it must be the size of the read-out, or 0 for none"
            )
        for name in ("heads", "layers"):
            value = getattr(self, name)
            if not whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
            if value > MOST_LAYERS:  # each has names and arrays of its own, and is gone through
                raise ValueError(f"{name} is {value:,}; it must be at most {MOST_LAYERS:,}")
        if not isinstance(self.bidirectional, bool):
            raise ValueError(f"bidirectional is {self.bidirectional!r}; it must be True or False")

    # what a cell writes

    def equations(self, wx: State, wh: State, prev: State, *unit: Any, **_: Any) -> Returned:
        """One step: the new state, or (output, new state); all arrays are (B, units).

        wx and wh hold both products by gate, prev the states at t-1. A fourth argument holds the vectors
        (units,) and the matrices, where the cell has some. wh.g of an inner gate g, and a matrix, take a
        value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no equations")

    def project(self, params: Arrays, x: Array) -> State:
        """wx by gate, each (..., units), from x (..., I): by default one product and a bias."""
        return split(self.gates, linear(x, params["weight_ih"], params.get("bias_ih")))

    def emit(self, params: Arrays, x: Array, output: Array) -> Array:
        """The cell's output (..., O), from that of the equations and x.

        The equations' output is an array (..., units), or a tuple of them where they return one.
        """
        return output

    def effective(self, params: Arrays) -> Arrays:
        """The arrays that the step uses, from the stored ones."""
        return params

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        """Output (B, O) and new state of one step, from the effective arrays, x (B, I) and the state."""
        wx = self.project(params, x)
        result = self.equations(wx, self.recur(params, state), state, *self.per_unit(params))
        output, new = output_and_state(self, result)
        return self.emit(params, x, output), new

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        """Shapes of the stored arrays, without a read-out's."""
        units, recurrent = self.units(hidden_size), self.recurrent
        shapes: Shapes = {"weight_ih": (len(self.gates) * units, input_size)}
        biases = [("bias_ih", len(self.gates) * units)]
        if recurrent:
            shapes["weight_hh"] = (len(recurrent) * units, len(self.fed_back) * units // self.heads)
            biases.append(("bias_hh", len(recurrent) * units))
        shapes |= {name: (n,) for name, n in biases[: self.biases]}
        return shapes | dict.fromkeys(self.vectors, (units,)) | dict.fromkeys(self.matrices, (units, units))

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        """Shape of each state, those of a stack included."""
        check_sizes(batch=batch, hidden_size=hidden_size)
        stack = (self.layers * self.directions,) if self.stacked else ()
        return dict.fromkeys(self.states, (*stack, batch, self.units(hidden_size)))

    def units(self, hidden_size: int) -> int:
        """Width of every state."""
        return hidden_size

    def emitted(self, input_size: int, hidden_size: int) -> int:
        """Width of the cell's output, before a read-out."""
        return self.units(hidden_size)

    @property
    def projections(self) -> dict[str, str]:
        """{state: matrix} where a step is that of the equations, and then multiplies these new states.

        The matrix is (width, units), and the state as narrow as that. Kernels can be printed for such a step.
        """
        return {}

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        """None, or the reason why the cell cannot have these sizes."""
        if self.units(hidden_size) % self.heads:
            return f"cell {self.name!r} has {self.heads} heads, which do not divide hidden_size {hidden_size}"
        return None

    def paper(self, shapes: Shapes, rng: np.random.Generator) -> Arrays:
        """Initial arrays as the cell's paper draws them; what is left out is drawn by the scheme torch."""
        raise ValueError(f"cell {self.name!r} has no initialisation of its own paper; use another scheme")

    def modes(self, modulus: np.ndarray, phase: np.ndarray) -> Arrays:
        """Stored arrays that give a diagonal recurrence the eigenvalues modulus * exp(i phase).

        The scheme ring draws these eigenvalues.
        """
        raise ValueError(
            f"cell {self.name!r} stores no complex eigenvalues, which the scheme ring sets; use another"
            " scheme"
        )

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        """Name and options of the torch.nn module that computes the same with the same weights, or None."""
        return None

    # what these say at once

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
    def fed_gates(self) -> tuple[str, ...]:
        """The gates whose recurrent product is with the states that are fed back."""
        return tuple(gate for gate in self.recurrent if gate not in self.inner_gates)

    @property
    def fed_back(self) -> tuple[str, ...]:
        """The states that weight_hh multiplies."""
        return self.states[:1] if self.recurrent_states is None else self.recurrent_states

    @property
    def written_out(self) -> bool:
        """Whether the cell writes out its step, so that no kernel can be printed for it."""
        return self.writes("step")

    @property
    def recorded(self) -> bool:
        """Whether the equations say what the gates are, which a step that is written out need not follow."""
        return not self.written_out

    def writes(self, method: str) -> bool:
        """Whether the cell writes this method itself, such as project or emit."""
        return getattr(type(self), method) is not getattr(Equations, method)

    def recur(self, params: Arrays, state: State) -> State:
        """wh by gate: (B, units), and of an inner gate its product with a value (B, units)."""
        wh = self.products_of_state(params, state) if self.fed_gates else State()
        for gate in self.inner_gates:
            weight = self.recurrent_rows(params, "weight_hh", (gate,))
            bias = self.recurrent_rows(params, "bias_hh", (gate,)) if self.biases == 2 else None
            setattr(wh, gate, Multiplied(weight, bias, self.heads))
        return wh

    def products_of_state(self, params: Arrays, state: State) -> State:
        """The recurrent products of the gates that are not inner ones."""
        fed = [getattr(state, name) for name in self.fed_back]
        joint = fed[0] if len(fed) == 1 else concatenate(fed)
        weight, bias = (
            self.recurrent_rows(params, name, self.fed_gates) for name in ("weight_hh", "bias_hh")
        )
        return split(self.fed_gates, blocks(joint, weight, bias, self.heads, len(self.fed_gates)))

    def recurrent_rows(self, params: Arrays, name: str, gates: tuple[str, ...]) -> Any:
        """These gates' rows of weight_hh or bias_hh, one gate after the other; None where there is none."""
        if name not in params or gates == self.recurrent:
            return params.get(name)
        array, at = params[name], [self.recurrent.index(gate) for gate in gates]
        by_gate = array.reshape(len(self.recurrent), -1, *array.shape[1:])
        if at == list(range(at[0], at[-1] + 1)):  # a view, without a copy at every step
            return by_gate[at[0] : at[-1] + 1].reshape(-1, *array.shape[1:])
        return concatenate([by_gate[k] for k in at], -len(array.shape))

    def per_unit(self, params: Arrays) -> list[State]:
        """The fourth argument of the equations, if they take one: vectors, and products with matrices."""
        if not (self.vectors or self.matrices):
            return []
        vectors = {name: params[name] for name in self.vectors}
        return [State(**vectors, **{name: Multiplied(params[name]) for name in self.matrices})]


def output_and_state(cell: Equations, result: Returned) -> tuple[Array, State]:
    """(output, new state) of what the equations returned; the first state is the output if none is given.

    The output is one array, or a tuple of arrays, which the cell's `emit` takes as it is.
    """
    return result if isinstance(result, tuple) else (getattr(result, cell.states[0]), result)


def each_output(output: Array) -> tuple[Array, ...]:
    """The equations' outputs, also where there is one."""
    return output if isinstance(output, tuple) else (output,)


def split(names: tuple[str, ...], rows: Array) -> State:
    """(..., G * units) by name, each (..., units)."""
    gates = rows.reshape(*rows.shape[:-1], len(names), -1)
    return State(**{name: gates[..., k, :] for k, name in enumerate(names)})


def whole(value: Any) -> bool:
    """Whether it is a whole number, Python's or NumPy's, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def real_floating(what: str, array: Any) -> Any:
    """The array, or a list as an array. Raises ValueError unless it is of a real floating dtype.

    NumPy arrays and torch tensors pass as they are.
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
