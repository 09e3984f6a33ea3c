"""My own backend: another way to compute cells, checked against the reference before it is timed.

In this folder:

    cellbench run 'backends=[own_backend.py:Looped,native]' 'cells=[gru]' 'probes=[throughput]'
    cellbench compare own_backend.py:Looped:native 'cells=[gru]'

The question here: what does a Python loop over torch.nn.GRUCell cost, beside torch.nn.GRU?
"""

from cellbench.cells.backends.torch import TensorProgram, TorchBackend

MODULES = {"RNN": "RNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}


class Looped(TorchBackend):
    """torch.nn.RNNCell, LSTMCell and GRUCell, called once a step."""

    def unsupported(self, cell, dtype="float32", device="cpu", direction="backward"):
        """None, or one line that says why this cell has no program; the line stands in the report."""
        if cell.torch_module() is None or cell.biases == 1:
            return f"torch.nn has no step module for cell {cell.name!r} as it is asked for"
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell, *arguments):
        return LoopedProgram(cell, *arguments)


class LoopedProgram(TensorProgram):
    """`compute` runs under autograd, which gives the backward."""

    def setup(self):
        import torch

        kind, options = self.cell.torch_module()
        self.module = getattr(torch.nn, MODULES[kind])(
            self.input_size,
            self.hidden_size,
            bias=self.cell.biases == 2,
            device=self.device,
            dtype=getattr(torch, self.dtype),
            **options,
        )
        self.implementation = f"torch {torch.__version__} nn.{MODULES[kind]} in a loop"

    def compute(self, x, state, steps=None):
        import torch

        weights = {name: self.params[name] for name, _ in self.module.named_parameters()}
        now, outputs = tuple(state.values()), []
        for x_t in x:
            held = now if len(now) > 1 else now[0]
            made = torch.func.functional_call(self.module, weights, (x_t, held))
            now = made if isinstance(made, tuple) else (made,)
            if steps is not None:  # a trace is wanted: each state a tensor of its own, so that h hides no c
                now = tuple(value.view_as(value) for value in now)
                steps.append(dict(zip(state, now, strict=True)))
            outputs.append(now[0])
        return self.read_out(torch.stack(outputs)), dict(zip(state, now, strict=True))
