"""A torch module as a cell: arrays, states and counts are read off the module, and torch runs it.

It has no equations, and nothing is derived from them: backends other than torch say `unsupported`, and its
reference is a copy of itself in float64. Dropout and batch norm are in eval mode.
"""

from __future__ import annotations

import dataclasses
import inspect
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..cell import GatedCell
from ..contract import Array, Arrays, Equations, Shapes, State, check_sizes
from ..derived.counts import Operations
from . import form, recorded
from .flops import flops
from .form import Form

OPTIONS = (bool, int, float, str)


class ModuleCell(GatedCell):
    """Base of the cells that `cell_of` makes of module classes."""

    gates = ()
    library = "torch"
    reference = "torch"
    module_class: ClassVar[type[nn.Module]]

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]  # the module's form says, not its author
        """Names of the states that the module takes: h, c, s2 ..."""
        return self.form.states

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(Equations):
            if getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{self.name} is a torch module, which has no option {field.name!r} here; write a class"
                    " that builds what you want from (input_size, hidden_size), and name that"
                )

    @cached_property
    def form(self) -> Form:
        """How the module is called. Raises ValueError, one line, where it has no output for every step."""
        with torch.random.fork_rng(devices=[]):
            return form.found(self.module_class, self.arguments)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's, beside the two sizes."""
        inherited = {f.name for f in dataclasses.fields(Equations)}
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in inherited}

    def build(self, input_size: int, hidden_size: int, seed: int = 0) -> nn.Module:
        """The module, drawn by its own constructor. Raises ValueError, one line, where it cannot be built."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return form.built(self.module_class, input_size, hidden_size, self.arguments)

    @property
    def stepwise(self) -> bool:  # type: ignore[override]  # the module says
        """Whether its steps one by one give what a call of all steps gives."""
        return self.form.stepwise

    def verify(self) -> None:
        """Raises ValueError unless the module has an output for every step."""
        _ = self.form

    def init(self, input_size: int, hidden_size: int, seed: int = 0, scheme: str = "torch") -> Arrays:
        """Float64 parameters as the module's constructor draws them: the scheme 'torch', and no other."""
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        if scheme != "torch":
            raise ValueError(
                f"scheme is {scheme!r}; {self.name} is a torch module, which draws its own arrays (torch)"
            )
        module = self.build(input_size, hidden_size, seed)
        return {k: p.detach().double().numpy() for k, p in module.named_parameters()}

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        """Shapes of the module's parameters, by their names in it."""
        return _shapes(self, input_size, hidden_size)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        """None, or why the module cannot be built."""
        try:
            _shapes(self, input_size, hidden_size)
        except ValueError as error:
            return str(error)
        return None

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        """Shapes of the states that the module takes, (B, n) or (B, layers, n)."""
        check_sizes(batch=batch, hidden_size=hidden_size)
        return self.form.state_shapes(batch, hidden_size)

    def emitted(self, input_size: int, hidden_size: int) -> int:
        """Width of the module's output."""
        return self.form.output_size(input_size, hidden_size)

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        """One step, as a sequence of one: of tensors, or of NumPy arrays and Values."""
        if not isinstance(x, Tensor):
            return recorded.step(self.run, params, x, state)
        output, new = self.run(params, x[None], state)
        return output[0], new

    def run(self, params: Arrays, x: Tensor, state: State, module: nn.Module | None = None) -> Any:
        """Output (T, B, O) and the last states, from tensors, of a whole sequence x (T, B, I)."""
        if module is None:
            arrays = {name: value.detach() for name, value in params.items()}
            module = _module(self, *self.sizes(arrays)).to(x.device, x.dtype)
        values = [getattr(state, name) for name in self.form.states]

        def call(*arguments: Any) -> Any:
            return torch.func.functional_call(module, params, arguments)

        output, last = self.form.call(call, x, values)
        return output, State(**dict(zip(self.form.states, last, strict=True)))

    def operations(self, input_size: int, hidden_size: int) -> Operations:
        """FLOPs as torch runs the module: products, and one an entry of elementwise results."""
        return flops(self, self.run, input_size, hidden_size)

    def latex(self) -> str:
        """Empty: a module has no equations."""
        return ""


@lru_cache  # one class for one module: what is remembered of a cell is found again when it is asked for anew
def cell_of(cls: type) -> type[GatedCell] | None:
    """The cell of a torch module's class, or None for any other class.

    The constructor takes (input_size, hidden_size); its other arguments that have a default are options.
    """
    if not issubclass(cls, nn.Module):
        return None
    inherited = {f.name for f in dataclasses.fields(Equations)}
    parameters = list(inspect.signature(cls).parameters.values())[2:]
    options = [p for p in parameters if isinstance(p.default, OPTIONS) and p.name not in inherited]
    values = {p.name: p.default for p in options}
    annotations = {p.name: type(p.default) for p in options}
    body = {**values, "__annotations__": annotations, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (ModuleCell,), {**body, "module_class": cls})


@lru_cache
def _shapes(cell: ModuleCell, input_size: int, hidden_size: int) -> Shapes:
    module = cell.build(input_size, hidden_size)
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


@lru_cache
def _module(cell: ModuleCell, input_size: int, hidden_size: int) -> nn.Module:
    """One whose own arrays do not matter."""
    return cell.build(input_size, hidden_size)
