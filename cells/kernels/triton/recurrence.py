"""The printed kernels as one function of torch's autograd: all steps of a recurrence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...cell import GatedCell
from ..fused import all_summed, outputs_apart
from ..step import Step
from .forward import biased, kept_states

Arrays = dict[str, Tensor]


class Recurrence:
    """A cell's kernels, started with the arrays that they ask for by name.

    `launch(kernel, arrays, *each, **constants)` starts one for each of the numbers. With `tracing` a backward
    leaves the cotangents of all states {name: (T + 1, B, units)} in `trajectory`.
    """

    def __init__(
        self,
        cell: GatedCell,
        source: Step,
        module: ModuleType,
        launch: Callable[..., None],
        blocks: int,
        keeping: bool,
    ) -> None:
        self.cell, self.source, self.module, self.launch = cell, source, module, launch
        self.blocks, self.keeping, self.tracing = blocks, keeping, False
        self.trajectory: Arrays = {}

    def empty(self, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return like.new_empty(shape, dtype=dtype)

    def __call__(
        self, wx: Tensor, weight: Tensor | None, bias: Tensor | None, units: Arrays, first: Arrays
    ) -> tuple[list[Tensor], Arrays]:
        """The equations' outputs (T, B, units) and the last states.

        wx is (T, B, G, units) with the biases but those of the gates that keep their products apart, whose
        recurrent ones are in bias (G * units,).
        """
        results = _Steps.apply(self, wx, weight, bias, *units.values(), *first.values())
        count = len(self.source.outputs)
        return list(results[:count]), dict(zip(self.cell.states, results[count:], strict=True))

    def forward(
        self, wx: Tensor, weight: Tensor | None, bias: Tensor | None, units: Arrays, first: Arrays
    ) -> Arrays:
        """Starts the forward kernel; the arrays that it writes, by name."""
        steps, batch, _, width = wx.shape
        source, row = self.source, (batch, width)
        kept = kept_states(self.cell, source)
        written = {f"all_{s}": self.empty(wx, steps + 1, *row) for s in kept if self.needed(s)}
        written |= {f"all_output_{k}": self.empty(wx, steps, *row) for k in outputs_apart(source)}
        if self.keeping:
            written["all_kept"] = self.empty(wx, steps, max(len(source.keeps), 1), *row)
        read = given({"all_wx": wx, "weight_at": weight, "bias_hh_at": bias})
        read |= {f"unit_{v}_at": unit for v, unit in units.items()}
        self.start_forward(read, written, first, steps, batch)
        return written

    def start_forward(self, read: Arrays, written: Arrays, first: Arrays, steps: int, batch: int) -> None:
        """Starts the forward kernel, which writes last_S too."""
        written |= {f"last_{s}": self.empty(state, *state.shape) for s, state in first.items()}
        arrays = read | written | {f"first_{s}": state for s, state in first.items()}
        self.launch(self.module.forward, arrays, {"steps": steps, "batch": batch}, KEEPING=self.keeping)

    def needed(self, state: str) -> bool:
        """Whether a state is asked for at every step."""
        return self.keeping or state in self.source.output_states

    def backward(
        self,
        kept: Arrays,
        weight: Tensor | None,
        units: Arrays,
        d_outputs: Sequence[Tensor],
        d_last: Sequence[Tensor],
    ) -> Arrays:
        """Starts the backward kernel; the arrays that it writes, by name."""
        cell, states, recurrent = self.cell, self.cell.states, len(self.cell.recurrent)
        steps, batch, width = d_outputs[0].shape
        like, row = d_outputs[0], (batch, width)
        written = {f"all_d_{s}": self.empty(like, steps + 1, *row) for s in states if self.tracing}
        written["all_d_wx"] = self.empty(like, steps, batch, len(cell.gates), width)
        if recurrent and not all_summed(cell, self.source):
            written["all_d_wh"] = self.empty(like, steps, batch, recurrent, width)
        wide = torch.promote_types(like.dtype, torch.float32)  # of sums over all steps
        sums = self.sums(steps)
        written |= {f"d_unit_{v}_at": self.empty(like, sums, width, dtype=wide) for v in cell.vectors}
        read = kept | given({"weight_at": weight}) | {f"unit_{v}_at": unit for v, unit in units.items()}
        read |= {f"all_d_output_{k}": d.contiguous() for k, d in enumerate(d_outputs)}
        self.start_backward(read, written, d_last, steps, batch)
        self.trajectory = {s: written[f"all_d_{s}"] for s in states if self.tracing}
        return written

    def start_backward(
        self, read: Arrays, written: Arrays, d_last: Sequence[Tensor], steps: int, batch: int
    ) -> None:
        """Starts the backward kernel, which writes d_first_S too."""
        states, like = self.cell.states, d_last[0]
        written |= {
            f"d_first_{s}": written[f"all_d_{s}"][0] if self.tracing else self.empty(like, *like.shape)
            for s in states
        }
        arrays = read | written
        arrays |= {f"d_last_{s}": d.contiguous() for s, d in zip(states, d_last, strict=True)}
        self.launch(self.module.backward, arrays, {"steps": steps, "batch": batch}, TRACING=self.tracing)

    def sums(self, steps: int) -> int:
        """Rows that a kernel writes of a per-unit vector's gradient."""
        return self.blocks


def given(arrays: dict[str, Tensor | None]) -> Arrays:
    """Those that there are."""
    return {name: array for name, array in arrays.items() if array is not None}


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Recurrence, wx: Tensor, weight: Any, bias: Any, *rest: Tensor) -> Any:
        cell, source = kernels.cell, kernels.source
        count = len(cell.vectors)
        units, first = (
            dict(zip(cell.vectors, rest, strict=False)),
            dict(zip(cell.states, rest[count:], strict=True)),
        )
        written = kernels.forward(wx, weight, bias, units, first)
        ctx.kernels, ctx.weight, ctx.bias, ctx.units = kernels, weight, bias, units
        ctx.kept = {name: array for name, array in written.items() if not name.startswith("last_")}
        outputs = [
            written[f"all_{s}"][1:] if s else written[f"all_output_{k}"]
            for k, s in enumerate(source.output_states)
        ]
        return *outputs, *(written[f"last_{s}"] for s in cell.states)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        kernels: Recurrence = ctx.kernels
        cell, count = kernels.cell, len(kernels.source.outputs)
        written = kernels.backward(ctx.kept, ctx.weight, ctx.units, given[:count], given[count:])
        d_wx = written["all_d_wx"]
        d_wh = written.get("all_d_wh", d_wx)
        d_weight = d_bias = None
        if cell.recurrent:
            d_weight = _weight_gradient(cell, d_wh, [ctx.kept[f"all_{s}"][:-1] for s in cell.fed_back])
        if ctx.bias is not None:
            apart = [r for r, _ in biased(cell, kernels.source)]
            sums = d_wh.sum((0, 1))
            d_bias = torch.zeros_like(sums)
            d_bias[apart] = sums[apart]
            d_bias = d_bias.flatten()
        d_units = [written[f"d_unit_{v}_at"].sum(0).to(d_wx.dtype) for v in cell.vectors]
        return None, d_wx, d_weight, d_bias, *d_units, *(written[f"d_first_{s}"] for s in cell.states)


def _weight_gradient(cell: GatedCell, d_wh: Tensor, fed: list[Tensor]) -> Tensor:
    """d of weight_hh (G * units, K), from d_wh (T, B, G, units) and the states that were fed back."""
    _, _, gates, width = d_wh.shape
    if cell.heads == 1:
        joint = fed[0] if len(fed) == 1 else torch.cat(fed, -1)
        return d_wh.flatten(2).flatten(0, 1).T @ joint.flatten(0, 1)
    by_head = d_wh.reshape(-1, gates, cell.heads, width // cell.heads)
    states = fed[0].reshape(len(by_head), cell.heads, -1)
    return torch.einsum("nghu,nhv->ghuv", by_head, states).reshape(gates * width, -1)
