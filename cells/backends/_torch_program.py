"""Programs on tensors: autograd gives the backward; the steps of a cell, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Arrays, State, each_output, output_and_state
from ..programs.formats import rounded, stored
from ..programs.program import Gradients, Program
from ._torch_products import products

if TYPE_CHECKING:  # without torch there are still the other backends
    import torch
    from torch import Tensor

Tensors = dict[str, Any]
Outputs = list[Any]


class TensorProgram(Program):
    """The programs on tensors; subclasses write `compute`, through which autograd goes back.

    Where `product_apart`, kernels get the product of the inputs: with params = arrays(), it is
    `recur(params, product(params, x), x, state)`.
    """

    product_apart = False

    @property
    def kind(self) -> torch.dtype:
        """Of its tensors."""
        import torch

        return getattr(torch, stored(self.dtype))

    def place(self, array: Any) -> Tensor:
        import torch

        if not isinstance(array, torch.Tensor):
            return torch.from_numpy(rounded(array, self.dtype)).to(self.device, self.kind)
        return array.detach().to(self.device, self.kind, copy=True).contiguous()

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
        with torch.set_grad_enabled(training), products(self.dtype, self.device):
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

    def arrays(self) -> Tensors:
        """The parameters as the equations use them."""
        return self.cell.effective(self.params)

    def product(self, params: Tensors, x: Tensor) -> Tensor:
        """What the kernels get of the inputs."""
        raise NotImplementedError

    def recur(self, params: Tensors, wx: Tensor, x: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        """Output and last states from the product of the inputs; x is for an output that uses it."""
        raise NotImplementedError

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        import torch

        if self.spent:
            self.run_forward()
        steps: list[Tensors] = []
        if trace:  # not timed: the forward once more, with every state a tensor of its own
            with products(self.dtype, self.device):
                self.output, self.last = self.compute(self._x, self._state, steps)
        inputs = [*self.leaves, *(s for state in steps for s in state.values())]
        with products(self.dtype, self.device):
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
        advance = self.advancing(params, x)
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

    def advancing(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        """The step (t, state) -> (outputs, new state)."""
        return self.written(params, x) if self.cell.written_out else self.pointwise(params, x)

    def written(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        """The step of a cell that writes it out."""

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            output, new = self.cell.step(params, x[t], state)
            return [output], new

        return advance

    def pointwise(self, params: Tensors, x: Tensor) -> Callable[[int, State], tuple[Outputs, State]]:
        """The same of a cell with equations; the input's side is computed for all steps at once."""
        cell = self.cell
        wx = {gate: rows.unbind(0) for gate, rows in vars(cell.project(params, x)).items()}
        unit = cell.per_unit(params)

        def advance(t: int, state: State) -> tuple[Outputs, State]:
            gates = State(**{gate: rows[t] for gate, rows in wx.items()})
            result = cell.equations(gates, cell.recur(params, state), state, *unit)
            output, new = output_and_state(cell, result)
            return list(each_output(output)), new

        return advance
