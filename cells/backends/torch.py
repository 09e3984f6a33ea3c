"""The equations on tensors, stepped in Python; autograd gives the backward.

In the mode scan all steps of an affine recurrence are computed at once, in chunks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays, State, each_output, output_and_state
from ..derived import affine
from ..programs.backend import Backend
from ..programs.formats import DTYPES, rounded
from ..programs.program import Gradients, Program

if TYPE_CHECKING:  # without torch there are still the other backends
    from torch import Tensor

Tensors = dict[str, Any]
Outputs = list[Any]


@dataclass(frozen=True)
class TorchBackend(Backend):
    """Eager PyTorch, on the CPU or CUDA. mode is sequential, or scan for affine recurrences."""

    devices = ("cpu", "cuda")
    library = "torch"
    dtypes = DTYPES
    mode: str = "sequential"

    def __post_init__(self) -> None:
        affine.check_mode(self.mode)

    def unavailable(self, device: str = "cpu") -> str | None:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            return f"torch cannot be imported: {error}"
        return super().unavailable(device)

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        reason = super().unsupported(cell, dtype, device, direction)
        return reason or (affine.unsupported(cell) if self.mode == "scan" else None)

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        if cell.library:
            return ModuleProgram(cell, *arguments)
        return (ScanProgram if self.mode == "scan" else TorchProgram)(cell, *arguments)


class TensorProgram(Program):
    """The programs on tensors; subclasses write `compute`, through which autograd goes back."""

    def place(self, array: Any) -> Tensor:
        import torch

        if not isinstance(array, torch.Tensor):
            return torch.from_numpy(rounded(array, self.dtype)).to(self.device, getattr(torch, self.dtype))
        return array.detach().to(self.device, getattr(torch, self.dtype), copy=True).contiguous()

    def placed_step(self, x: Any) -> Any:
        import torch

        plain = type(x) is np.ndarray and x.shape == (self.batch, self.input_size) and self.device == "cpu"
        if plain and self.dtype == x.dtype.name and x.flags.c_contiguous and x.flags.writeable:
            return torch.from_numpy(x)[None]  # without a copy: a step only reads it, and is done on return
        return super().placed_step(x)

    def host(self, array: Tensor) -> np.ndarray:
        array = array.detach().cpu()
        return (array.float() if self.dtype == "bfloat16" else array).numpy().copy()

    def sync(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}

    def run_forward(self) -> None:
        import torch

        training = self.direction == "backward"
        with torch.set_grad_enabled(training):
            self.leaves = [*self.params.values(), self._x, *self._state.values()]
            for leaf in self.leaves:
                leaf.requires_grad_(training)
            self.output, self.last = self.compute(self._x, self._state)
        self.spent = False  # whether a backward has used up the graph

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        """Output and last states; states after each step are added to `steps`, each a tensor of its own."""
        raise NotImplementedError

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        import torch

        if self.spent:
            self.run_forward()
        steps: list[Tensors] = []
        if trace:  # not timed: the forward once more, with every state a tensor of its own
            self.output, self.last = self.compute(self._x, self._state, steps)
        inputs = [*self.leaves, *(s for state in steps for s in state.values())]
        d_inputs = torch.autograd.grad(
            [self.output, *self.last.values()],
            inputs,
            [self._d_output, *(self._d_state[s] for s in self.last)],
            retain_graph=again,
            materialize_grads=True,
        )
        self.spent = not again
        count, names = len(self.params), self.cell.states
        params = dict(zip(self.params, d_inputs, strict=False))
        d_state = dict(zip(self._state, d_inputs[count + 1 :], strict=False))
        path = None
        if trace:
            rest = d_inputs[count + 1 + len(names) :]
            path = {s: torch.stack([d_state[s], *rest[k :: len(names)]]) for k, s in enumerate(names)}
        self.gradients = Gradients(params, d_inputs[count], d_state, path)

    def read_out(self, hidden: Tensor) -> Tensor:
        import torch

        if not self.cell.readout:
            return hidden
        return torch.nn.functional.linear(hidden, self.params["weight_out"], self.params["bias_out"])


class TorchProgram(TensorProgram):
    """The steps one after the other."""

    def setup(self) -> None:
        import torch

        self.implementation = f"torch {torch.__version__} eager"

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        import torch

        cell, params = self.cell, self.cell.effective(self.params)
        advance = self.written(params, x) if cell.written_out else self.pointwise(params, x)
        now, by_step = State(**state), []
        for t in range(self.steps):
            outputs, now = advance(t, now)
            if steps is not None:
                # h_t and c_t count as independent: the step goes on from views, each a tensor of its own
                views = {k: v.view_as(v) for k, v in vars(now).items()}
                outputs = [next((views[k] for k, v in vars(now).items() if v is o), o) for o in outputs]
                now = State(**views)
                steps.append(views)
            by_step.append(outputs)
        every = [torch.stack(each) for each in zip(*by_step, strict=True)]
        if not cell.written_out:
            every = [cell.emit(params, x, tuple(every) if cell.derivation().several else every[0])]
        return self.read_out(every[0]), {s: getattr(now, s) for s in cell.states}

    def written(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        """The step (t, state) -> (outputs, new state) of a cell that writes it out."""

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            output, new = self.cell.step(params, x[t], state)
            return [output], new

        return advance

    def pointwise(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        """The same of a cell with equations; the input's side is computed for all steps at once."""
        cell = self.cell
        wx = {gate: rows.unbind(0) for gate, rows in vars(cell.project(params, x)).items()}
        unit = [State(**{name: params[name] for name in cell.vectors})] if cell.vectors else []

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            gates = State(**{gate: rows[t] for gate, rows in wx.items()})
            result = cell.equations(gates, cell.recur(params, state), state, *unit)
            output, new = output_and_state(cell, result)
            return list(each_output(output)), new

        return advance


class ModuleProgram(TorchProgram):
    """As the module computes it; where every state is asked for, a call for each step."""

    cell: Any

    def setup(self) -> None:
        import torch

        self.implementation = (
            f"torch {torch.__version__} module {self.cell.name} in eval mode, held against a float64 copy of"
            " itself"
        )
        module = self.cell.build(self.input_size, self.hidden_size)
        self.module = copy.deepcopy(module).to(self.device, getattr(torch, self.dtype))

    def untraceable(self) -> str | None:
        if not self.cell.states:
            return f"{self.cell.name} takes no state, so that none can be followed"
        if not self.cell.stepwise:
            return f"{self.cell.name} gives something else step by step, so that no state can be followed"
        return None

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        if steps is not None:
            return super().compute(x, state, steps)
        output, last = self.cell.run(self.params, x, State(**state), self.module)
        return output, dict(vars(last))

    def written(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        from ..modules.recorded import itself

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            output, new = self.cell.run(params, x[t : t + 1], state, self.module)
            return [itself(output[0], new)], new

        return advance


class ScanProgram(TensorProgram):
    """J and c of all steps at once, from them the states by chunks, then the outputs of all steps at once."""

    def setup(self) -> None:
        import torch

        self.implementation = f"torch {torch.__version__} eager scan"

    def compute(
        self, x: Tensor, state: Tensors, steps: list[Tensors] | None = None
    ) -> tuple[Tensor, Tensors]:
        import torch

        from ..kernels import tensors

        cell, params = self.cell, self.cell.effective(self.params)
        derivation, recurrence = cell.derivation(), affine.recurrence(cell)
        known = {f"wx_{gate}": rows for gate, rows in vars(cell.project(params, x)).items()}
        known |= {f"unit_{name}": params[name] for name in cell.vectors}
        values = {node: known[name] for name, node in derivation.inputs.items() if name in known}
        affine.evaluate([*recurrence.jacobian.values(), *recurrence.constant.values()], values)
        shape, at = (self.steps, self.batch, self.units), cell.states.index
        jacobian = {
            (at(a), at(b)): wide(values[node], x, shape) for (a, b), node in recurrence.jacobian.items()
        }
        constant = [
            wide(values[recurrence.constant[s]] if s in recurrence.constant else 0, x, shape)
            for s in cell.states
        ]
        if steps is not None:  # what reaches a state's share of c is what reaches the state
            steps += [
                {s: torch.zeros_like(state[s], requires_grad=True) for s in cell.states}
                for _ in range(self.steps)
            ]
            constant = [
                c + torch.stack([now[s] for now in steps]) for s, c in zip(cell.states, constant, strict=True)
            ]
        states = dict(zip(cell.states, tensors.scan(jacobian, constant, list(state.values())), strict=True))
        before = {s: torch.cat([state[s][None], v[:-1]]) for s, v in states.items()}
        values |= {derivation.inputs[f"prev_{s}"]: v for s, v in before.items()}
        outputs = list(zip(derivation.outputs, derivation.output_states, strict=True))
        affine.evaluate([node for node, s in outputs if s is None], values)
        every = [states[s] if s else values[node] for node, s in outputs]
        output = cell.emit(params, x, tuple(every) if derivation.several else every[0])
        return self.read_out(output), {s: v[-1] for s, v in states.items()}


def wide(value: Any, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A number or a tensor as a tensor of this shape, without memory for what it repeats."""
    import torch

    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(shape)
