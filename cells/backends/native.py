"""torch.nn.RNN, LSTM and GRU with the same weights: oneDNN or ATen on the CPU, cuDNN on CUDA. `implementation` says which."""

from __future__ import annotations

from functools import cached_property

from .torch import TensorProgram, TorchBackend


class NativeBackend(TorchBackend):
    """What PyTorch ships for the cells that it has."""

    def unsupported(self, cell, dtype="float32", device="cpu", direction="backward"):
        if cell.torch_module() is None:
            return f"torch.nn has no module for cell {cell.name!r}" + (f" with {cell.options}" if cell.options else "")
        if cell.biases == 1:
            return f"torch.nn.{cell.torch_module()[0]} has two biases or none, cell {cell.name!r} has one here"
        return super().unsupported(cell, dtype, device, direction)

    def program(self, cell, *arguments):
        return NativeProgram(cell, *arguments)


class NativeProgram(TensorProgram):
    def setup(self):
        import torch

        kind, options = self.cell.torch_module()
        with torch.random.fork_rng(devices=[]):
            self.module = getattr(torch.nn, kind)(
                self.input_size, self.hidden_size, bias=self.cell.biases == 2, device=self.device,
                dtype=getattr(torch, self.dtype), **options,
            )  # fmt: skip

    def assign(self, params):
        import torch

        self.params = {}
        with torch.no_grad():
            for name, value in params.items():
                own = getattr(self.module, f"{name}_l0", None)
                self.params[name] = self.place(value) if own is None else own.copy_(self.place(value))

    def untraceable(self):
        return "backend native has no trajectory: torch.nn's kernels are fused over time; numpy, numba and torch have one"

    def compute(self, x, state):
        values = tuple(v.unsqueeze(0) for v in state.values())
        output, last = self.module(x, values if len(values) > 1 else values[0])
        last = last if isinstance(last, tuple) else (last,)
        return self.read_out(output), {s: v.squeeze(0) for s, v in zip(self.cell.states, last, strict=True)}

    @cached_property
    def implementation(self):
        """The library that a forward of this module really calls, read off the operations that PyTorch dispatches."""
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        called = set()

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                called.add(str(func))
                return func(*args, **(kwargs or {}))

        x = torch.zeros(2, self.batch, self.input_size, device=self.device, dtype=getattr(torch, self.dtype))
        with torch.set_grad_enabled(self.direction == "backward"), Watch():
            self.module(x)
        if any("cudnn_rnn" in name for name in called):
            return f"cuDNN {torch.backends.cudnn.version()}"
        return f"torch {torch.__version__} " + ("oneDNN" if any("mkldnn_rnn" in name for name in called) else "ATen")
