"""The equations on tensors, stepped in Python; autograd gives the backward."""

from __future__ import annotations

import numpy as np

from ..contract import State
from ..program import Backend, Gradients, Program


class TorchBackend(Backend):
    """Eager PyTorch, on the CPU or CUDA."""

    devices = ("cpu", "cuda")

    def unavailable(self, device="cpu"):
        try:
            import torch  # noqa: F401
        except ImportError as error:
            return f"torch cannot be imported: {error}"
        return super().unavailable(device)

    @property
    def program(self):
        return TorchProgram


class TensorProgram(Program):
    """What the programs on tensors share: subclasses write `compute(x, state) -> (output, state)` under autograd."""

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
            [self.output, *self.last.values()], inputs, [self._d_output, *(self._d_state[s] for s in self.last)],
            retain_graph=again, materialize_grads=True,
        )  # fmt: skip
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
        from torch.nn.functional import linear

        cell, params, shape = self.cell, self.params, (len(self.cell.gates), self.hidden_size)
        wx = linear(x, params["weight_ih"], params.get("bias_ih")).unflatten(-1, shape).unbind(0)
        state, outputs = State(**state), []
        for t in range(self.steps):
            wh = linear(getattr(state, cell.states[0]), params["weight_hh"], params.get("bias_hh")).unflatten(-1, shape)
            result = cell.equations(self.by_gate(wx[t]), self.by_gate(wh), state)
            output, state = result if isinstance(result, tuple) else (None, result)
            if steps is not None:
                state = State(**{k: v.view_as(v) for k, v in vars(state).items()})
                steps.append(vars(state))
                own = cell.derivation().output_state
                output = output if own is None else getattr(state, own)
            outputs.append(getattr(state, cell.states[0]) if output is None else output)
        return self.read_out(torch_stack(outputs)), {s: getattr(state, s) for s in cell.states}

    def by_gate(self, rows):
        return State(**dict(zip(self.cell.gates, rows.unbind(-2), strict=True)))


def torch_stack(tensors):
    import torch

    return torch.stack(tensors)
