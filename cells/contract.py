"""The contract of a cell: two products and pointwise equations around them.

    wx = W_ih x_t + b_ih        wh = W_hh h_{t-1} + b_hh        new state = equations(wx, wh, previous state)

h is the first of `states`: it enters the recurrent product and, unless the equations return (output, State), is the output.
A subclass states its gates and states and writes `equations`; annotated attributes with a default become options.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import numpy as np

from .find import public_name

if TYPE_CHECKING:
    from .counts import Operations
    from .derive import Derivation


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
    """Base of all cells that are pointwise around two products.

    gates     row blocks of weight_ih and weight_hh, in this order
    states    what a step carries on, each (B, H); the first one is multiplied by weight_hh
    keep_gate, input_gate   the gates whose bias sets the memory span (schemes forget_bias and chrono); None where there is none
    biases    0, 1 (bias_ih) or 2 (bias_ih and bias_hh, as torch has it)
    readout   size K of a linear read-out y_t = weight_out output_t + bias_out, or 0 for none
    """

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]
    keep_gate: ClassVar[str | None] = None
    input_gate: ClassVar[str | None] = None

    biases: int = 1
    readout: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        if not _whole(self.biases) or self.biases not in (0, 1, 2):
            raise ValueError(f"biases is {self.biases!r}; it must be 0, 1 (bias_ih) or 2 (bias_ih and bias_hh)")
        if not _whole(self.readout) or self.readout < 0:
            raise ValueError(f"readout is {self.readout!r}; it must be the size of the read-out, or 0 for none")

    def equations(self, wx: State, wh: State, prev: State) -> State | tuple[Any, State]:
        """One step. wx and wh hold both products by gate, prev the states at t-1, all (B, H)."""
        raise NotImplementedError(f"{type(self).__name__} has no equations")

    def torch_module(self) -> tuple[str, dict[str, Any]] | None:
        """Name and options of the torch.nn module that computes the same with the same weights, or None."""
        return None

    @property
    def name(self) -> str:
        """The cell's public name: its file's name in the zoo, else its class's."""
        return public_name(self)

    @property
    def options(self) -> str:
        """Options that differ from their defaults, as k=v joined by ':'."""
        return ":".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)

    def parameter_shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shapes by name, as torch names and orders them (without the layer suffix)."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        rows = len(self.gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        shapes |= dict.fromkeys(("bias_ih", "bias_hh")[: self.biases], (rows,))
        if self.readout:
            shapes |= {"weight_out": (self.readout, hidden_size), "bias_out": (self.readout,)}
        return shapes

    def parameter_count(self, input_size: int, hidden_size: int) -> int:
        """Number of parameters, read-out included."""
        return sum(_size(s) for s in self.parameter_shapes(input_size, hidden_size).values())

    def state_shapes(self, batch: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shape of each state."""
        check_sizes(batch=batch, hidden_size=hidden_size)
        return dict.fromkeys(self.states, (batch, hidden_size))

    def output_size(self, hidden_size: int) -> int:
        """Width of the output: of the read-out if there is one."""
        return self.readout or hidden_size

    def init(self, input_size: int, hidden_size: int, seed: int = 0, scheme: str = "torch") -> dict[str, np.ndarray]:
        """Float64 parameters, drawn by a scheme of `cells.initial` such as 'torch', 'orthogonal(1.2)', 'chrono(100)'."""
        from .initial import initialise

        return initialise(self, self.parameter_shapes(input_size, hidden_size), np.random.default_rng(seed), scheme)

    def derivation(self) -> Derivation:
        """The recorded step and what follows from it. Raises EquationError where the equations cannot be recorded."""
        from .derive import derive

        return derive(self)

    def affine(self) -> bool:
        """Whether the new state is affine in the old one; found from the graph."""
        return self.derivation().affine

    def operations(self, input_size: int, hidden_size: int) -> Operations:
        """FLOPs of one time step of one sequence, forward and backward."""
        from .counts import operations

        return operations(self, input_size, hidden_size)

    def latex(self) -> str:
        """The equations as LaTeX, one line each (needs SymPy)."""
        from .latex import equations

        return equations(self)

    def check_parameters(self, params: dict[str, Any], input_size: int, hidden_size: int) -> None:
        """Raises ValueError, naming the array, unless params are exactly the cell's arrays in their shapes."""
        shapes = self.parameter_shapes(input_size, hidden_size)
        if set(params) != set(shapes):
            raise ValueError(f"parameters are {', '.join(params)}; cell {self.name!r} has {', '.join(shapes)}")
        for name, shape in shapes.items():
            real_floating(name, params[name])
            if tuple(params[name].shape) != shape:
                raise ValueError(
                    f"{name} is {tuple(params[name].shape)}; cell {self.name!r} with input_size {input_size} and hidden_size "
                    f"{hidden_size} has {len(self.gates)} gates, so it must be {shape}"
                )

    def sizes(self, params: dict[str, Any]) -> tuple[int, int]:
        """(input_size, hidden_size) of the parameters, after checking them all."""
        missing = [n for n in ("weight_ih", "weight_hh") if n not in params or len(getattr(params[n], "shape", ())) != 2]
        if missing:
            raise ValueError(f"parameters lack a two-dimensional {missing[0]}; cell.init(input_size, hidden_size) makes them")
        sizes = int(params["weight_ih"].shape[1]), int(params["weight_hh"].shape[1])
        self.check_parameters(params, *sizes)
        return sizes


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def real_floating(what: str, array: Any) -> Any:
    """The array; a list becomes one. Raises ValueError for what is not of a real floating dtype, NumPy's or torch's."""
    given = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    floating = given.is_floating_point() if hasattr(given, "is_floating_point") else given.dtype.kind == "f"
    if not floating:
        raise ValueError(f"{what} is of dtype {given.dtype}; it must be real floating, such as float32 or float64")
    return given


def check_sizes(**sizes: Any) -> None:
    """Raises ValueError for a size that is no positive whole number."""
    for name, value in sizes.items():
        if not _whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")


def _size(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= int(n)
    return count
