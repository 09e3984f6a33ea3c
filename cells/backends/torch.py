"""The equations on tensors, stepped in Python; autograd gives the backward. In the mode scan, affine ones in
chunks at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract import State, each_output, output_and_state
from ..derived import affine
from ..programs.backend import Backend
from ..programs.program import Gradients, Program


@dataclass(frozen=True)
class TorchBackend(Backend):
    """Eager PyTorch, on the CPU or CUDA. mode is sequential, or scan for affine recurrences."""

    devices = ("cpu", "cuda")
    mode: str = "sequential"

    def __post_init__(self):
        affine.check_mode(self.mode)

    def unavailable(self, device="cpu"):
        try:
            import torch  # noqa: F401
        except ImportError as error:
            return f"torch cannot be imported: {error}"
        return super().unavailable(device)

    def unsupported(self, cell, dtype="float32", device="cpu", direction="backward"):
        reason = super().unsupported(cell, dtype, device, direction)
        return reason or (affine.unsupported(cell) if self.mode == "scan" else None)

    def program(self, cell, *arguments):
        return (ScanProgram if self.mode == "scan" else TorchProgram)(cell, *arguments)


class TensorProgram(Program):
    """What the programs on tensors share: subclasses write `compute(x, state) -> (output, state)` under
    autograd.
    """

    def place(self, array):
        import torch

        if not isinstance(array, torch.Tensor):
            return torch.from_numpy(np.array(array, self.dtype, order="C")).to(self.device)
        return array.detach().to(self.device, getattr(torch, self.dtype), copy=True).contiguous()

    def host(self, array):
        return array.detach().cpu().numpy().copy()

    def sync(self):
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def assign(self, params):
        self.params = {k: self.place(v) for k, v in params.items()}

    def run_forward(self):
        import torch

        training = self.direction == "backward"
        with torch.set_grad_enabled(training):
            self.leaves = [*self.params.values(), self._x, *self._state.values()]
            for leaf in self.leaves:
                leaf.requires_grad_(training)
            self.output, self.last = self.compute(self._x, self._state)
        self.spent = False  # whether a backward has used up the graph

    def compute(self, x, state):
        raise NotImplementedError

    def run_backward(self, trace=False, again=False):
        import torch

        if self.spent:
            self.run_forward()
        steps: list = []
        if trace:  # not timed: the forward once more, with every state a tensor of its own
            self.output, self.last = self.compute(self._x, self._state, steps)
        inputs = [*self.leaves, *(s for state in steps for s in state.values())]
        found = torch.autograd.grad(
            [self.output, *self.last.values()],
            inputs,
            [self._d_output, *(self._d_state[s] for s in self.last)],
            retain_graph=again,
            materialize_grads=True,
        )
        self.spent = not again
        count, names = len(self.params), self.cell.states
        params = dict(zip(self.params, found, strict=False))
        d_state = dict(zip(self._state, found[count + 1 :], strict=False))
        path = None
        if trace:
            rest = found[count + 1 + len(names) :]
            path = {s: torch.stack([d_state[s], *rest[k :: len(names)]]) for k, s in enumerate(names)}
        self.gradients = Gradients(params, found[count], d_state, path)

    def read_out(self, hidden):
        import torch

        if not self.cell.readout:
            return hidden
        return torch.nn.functional.linear(hidden, self.params["weight_out"], self.params["bias_out"])


class TorchProgram(TensorProgram):
    def setup(self):
        import torch

        self.implementation = f"torch {torch.__version__} eager"

    def compute(self, x, state, steps=None):
        import torch

        cell, params = self.cell, self.cell.effective(self.params)
        advance = self.written(params, x) if cell.written_out else self.pointwise(params, x)
        state, outputs = State(**state), []
        for t in range(self.steps):
            made, state = advance(t, state)
            if steps is not None:
                own = {k: v.view_as(v) for k, v in vars(state).items()}
                made = [next((own[k] for k, v in vars(state).items() if v is m), m) for m in made]
                state = State(**own)
                steps.append(own)
            outputs.append(made)
        made = [torch.stack(each) for each in zip(*outputs, strict=True)]
        if not cell.written_out:
            made = [cell.emit(params, x, tuple(made) if cell.derivation().several else made[0])]
        return self.read_out(made[0]), {s: getattr(state, s) for s in cell.states}

    def written(self, params, x):
        """The step (t, state) -> (outputs, new state) of a cell that writes it out."""

        def advance(t, state):
            output, new = self.cell.step(params, x[t], state)
            return [output], new

        return advance

    def pointwise(self, params, x):
        """The same of a cell with equations; the input's side is computed for all steps at once."""
        cell = self.cell
        wx = {gate: rows.unbind(0) for gate, rows in vars(cell.project(params, x)).items()}
        unit = [State(**{name: params[name] for name in cell.vectors})] if cell.vectors else []

        def advance(t, state):
            gates = State(**{gate: rows[t] for gate, rows in wx.items()})
            result = cell.equations(gates, cell.recur(params, state), state, *unit)
            output, new = output_and_state(cell, result)
            return list(each_output(output)), new

        return advance


class ScanProgram(TensorProgram):
    """J and c for all steps at once, the states from them by chunks, then the outputs for all steps at once."""

    def setup(self):
        import torch

        self.implementation = f"torch {torch.__version__} eager scan"

    def compute(self, x, state, steps=None):
        import torch

        from ..kernels import tensors

        cell, params = self.cell, self.cell.effective(self.params)
        derivation, found = cell.derivation(), affine.recurrence(cell)
        known = {f"wx_{gate}": rows for gate, rows in vars(cell.project(params, x)).items()}
        known |= {f"unit_{name}": params[name] for name in cell.vectors}
        values = {node: known[name] for name, node in derivation.inputs.items() if name in known}
        affine.evaluate([*found.jacobian.values(), *found.constant.values()], values)
        shape, at = (self.steps, self.batch, self.units), cell.states.index
        jacobian = {(at(a), at(b)): wide(values[node], x, shape) for (a, b), node in found.jacobian.items()}
        constant = [
            wide(values[found.constant[s]] if s in found.constant else 0, x, shape) for s in cell.states
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
        own = derivation.output_states
        affine.evaluate([node for node, s in zip(derivation.outputs, own, strict=True) if s is None], values)
        made = [states[s] if s else values[node] for node, s in zip(derivation.outputs, own, strict=True)]
        output = cell.emit(params, x, tuple(made) if derivation.several else made[0])
        return self.read_out(output), {s: v[-1] for s, v in states.items()}


def wide(value, like, shape):
    """A number or a tensor as a tensor of this shape, without memory for what it repeats."""
    import torch

    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(shape)
