"""The products of a cell for all steps at once, on NumPy arrays: of inputs and outputs, and their gradients.

Between them is the recurrence, which the NumPy and Numba programs compute. Where a cell writes `project`,
`emit` or `effective` itself, they are recorded as they run (`tape`) and pulled back. Otherwise they are one
product each, written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..cell import GatedCell
from ..contract import Array, Arrays
from ..vocabulary.matrices import by_head, plus_product
from ..vocabulary.tape import Pull, Value, array_of, at_once, gradients


class Whole(Protocol):
    """How functions of whole arrays run, and products with arrays that stay the same."""

    def run(
        self,
        name: str,
        function: Callable[..., list[Any]],
        arrays: Sequence[np.ndarray],
        out: np.ndarray | None,
        fixed: int,
    ) -> tuple[list[Any], Pull]:
        """As `at_once`; the first `fixed` arrays are the same in every call."""

    def multiply(
        self,
        key: str,
        rows: np.ndarray,
        matrix: np.ndarray,
        bias: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """rows (N, K) times matrix (K, M), plus a bias (M,), in `out`; of one key the matrix is the same."""


class InNumPy:
    """Whole arrays as NumPy computes them."""

    def run(self, name: str, function: Any, arrays: Any, out: Any, fixed: int) -> tuple[list[Any], Pull]:
        return at_once(name, function, arrays, out)

    def multiply(self, key: str, rows: Any, matrix: Any, bias: Any = None, out: Any = None) -> np.ndarray:
        return plus_product(bias, rows, matrix, out)


IN_NUMPY = InNumPy()


class Products:
    """The arrays of a cell, and the products that the steps do not need to wait for.

    `used` are the arrays that the step uses; `grads` the gradients of those, added up by the pulls. `whole`
    computes what is no part of a step, and knows nothing of earlier arrays.
    """

    def __init__(self, cell: GatedCell, params: Arrays, keeping: bool, whole: Whole = IN_NUMPY) -> None:
        self.cell, self.stored, self.keeping, self.whole = cell, params, keeping, whole
        self.projects, self.emits = cell.writes("project"), cell.writes("emit")
        self.leaves = {k: Value(v) for k, v in params.items()}
        self.values = cell.effective(dict(self.leaves)) if cell.writes("effective") else self.leaves
        self.used = {k: np.ascontiguousarray(array_of(v)) for k, v in self.values.items()}
        self.unit = tuple(self.used[name] for name in cell.vectors)
        self.pulls: dict[Any, Pull] = {}
        self.grads: Arrays = {}

    def project(
        self, x: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None, key: object = 0
    ) -> None:
        """Writes wx (T, B, G, units) of x (T, B, I), and adds a bias (G * units,) that is not the cell's own.

        A projection that the cell writes is recorded under `key`, such as the segment's first step.
        """
        rows = out.reshape(out.shape[0] * out.shape[1], -1)
        if self.projects:
            self._recorded(("project", key), x, self._project, out=out)
            if bias is not None:
                rows += bias
            return
        of_cell = self.used.get("bias_ih")
        bias = of_cell if bias is None else bias if of_cell is None else of_cell + bias
        self.whole.multiply("project", x.reshape(len(rows), -1), self.used["weight_ih"].T, bias, rows)

    def pull_project(self, x: np.ndarray, d_wx: np.ndarray, key: object = 0) -> np.ndarray:
        """d_x, from d_wx (T, B, G, units); adds the gradients of the arrays."""
        if self.projects:
            return self._pull(("project", key), d_wx)[0]
        self.add_inputs(x, d_wx)
        rows = d_wx.reshape(x.shape[0] * x.shape[1], -1)
        return self.whole.multiply("pull_project", rows, self.used["weight_ih"]).reshape(x.shape)

    def add_inputs(self, x: np.ndarray, d_wx: np.ndarray) -> None:
        """Adds the gradients of the arrays of a projection that is a plain product."""
        rows = d_wx.reshape(x.shape[0] * x.shape[1], -1)
        self.add({"weight_ih": rows.T @ x.reshape(len(rows), -1)})
        if "bias_ih" in self.used:
            self.add({"bias_ih": column_sums(rows)})

    def emit(self, x: np.ndarray, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The cell's output (T, B, O), read-out included, from those of the equations, each (T, B, units)."""
        return self.read_out(self._recorded("emit", x, self._emit, *outputs)[0] if self.emits else outputs[0])

    def read_out(self, y: np.ndarray) -> np.ndarray:
        """The linear read-out of the cell's output, or that itself where there is none."""
        if not self.cell.readout:
            return y
        self.emitted = y
        return y @ self.used["weight_out"].T + self.used["bias_out"]

    def pull_emit(self, d_y: np.ndarray) -> tuple[list[np.ndarray], Any]:
        """Cotangents of the equations' outputs, and what x gets beside the projection (0 where nothing)."""
        d_emitted = self.pull_read_out(d_y)
        if not self.emits:
            return [d_emitted], 0
        d_x, *d_outputs = self._pull("emit", [d_emitted])
        return d_outputs, d_x

    def pull_read_out(self, d_y: np.ndarray) -> np.ndarray:
        """The cotangent of what was read out; adds the read-out's gradients."""
        if not self.cell.readout:
            return d_y
        rows, hidden = d_y.reshape(-1, d_y.shape[-1]), self.emitted
        self.add({"weight_out": rows.T @ hidden.reshape(-1, hidden.shape[-1]), "bias_out": column_sums(rows)})
        return d_y @ self.used["weight_out"]

    def add(self, share: Arrays) -> None:
        """Adds gradients of used arrays."""
        for name, value in share.items():
            self.grads[name] = self.grads[name] + value if name in self.grads else value

    def finish(self) -> Arrays:
        """Gradients of the stored arrays, in their order; starts anew."""
        grads, self.grads = self.grads, {}
        if self.values is self.leaves:
            return {k: grads.get(k, np.zeros_like(v)) for k, v in self.stored.items()}
        reached = [(v, grads[k]) for k, v in self.values.items() if k in grads]
        pulled = gradients([v for v, _ in reached], [g for _, g in reached], list(self.leaves.values()))
        return {k: np.asarray(g, self.stored[k].dtype) for k, g in zip(self.leaves, pulled, strict=True)}

    def _project(self, params: Arrays, x: Array) -> list[Array]:
        wx = self.cell.project(params, x)
        return [getattr(wx, gate) for gate in self.cell.gates]

    def _emit(self, params: Arrays, x: Array, *outputs: Array) -> list[Array]:
        return [self.cell.emit(params, x, outputs if self.cell.derivation().several else outputs[0])]

    def _recorded(
        self, key: Any, x: np.ndarray, function: Any, *arrays: np.ndarray, out: np.ndarray | None = None
    ) -> list[Any]:
        """The results of a function of the used arrays, x and more; kept where there will be a pull."""
        names, every = list(self.used), [*self.used.values(), x, *arrays]

        def of_values(*values: Value) -> list[Any]:
            return function(dict(zip(names, values, strict=False)), *values[len(names) :])

        results, pull = self.whole.run(function.__name__, of_values, every, out, len(names))
        if self.keeping:
            self.pulls[key] = pull
        return results

    def _pull(self, key: Any, cotangents: Any) -> list[np.ndarray]:
        """Cotangents of x and the further arrays; adds those of the used ones."""
        pulled = self.pulls[key](cotangents)
        # zeros are of arrays that the function does not read
        self.add({name: g for name, g in zip(self.used, pulled, strict=False) if g.any()})
        return pulled[len(self.used) :]


def column_sums(rows: np.ndarray) -> np.ndarray:
    """The sum of rows (N, K) over N, as a product.

    That is six times as fast as sum(0) for long narrow arrays, and rounds less.
    """
    return np.ones(len(rows), rows.dtype) @ rows


def pull_blocks(d_rows: np.ndarray, weight: np.ndarray, heads: int) -> np.ndarray:
    """d of the state (B, K) from d of the product (B, G, units) of `matrices.blocks`."""
    batch, gates, _ = d_rows.shape
    if heads == 1:
        return d_rows.reshape(batch, -1) @ weight
    of_head = d_rows.reshape(batch, gates, heads, -1).swapaxes(1, 2).reshape(batch, heads, 1, -1)
    return (of_head @ by_head(weight, heads, gates)).reshape(batch, -1)


def blocks_gradient(d_rows: np.ndarray, fed: np.ndarray, heads: int, gates: int) -> np.ndarray:
    """d of the weight of `matrices.blocks`, from rows (N, G * units) and states (N, K)."""
    if heads == 1:
        return d_rows.T @ fed
    of_head = (
        d_rows.reshape(len(d_rows), gates, heads, -1).transpose(2, 1, 3, 0).reshape(heads, -1, len(d_rows))
    )
    d_weight = of_head @ fed.reshape(len(fed), heads, -1).swapaxes(0, 1)  # (heads, G * H/heads, K/heads)
    return (
        d_weight.reshape(heads, gates, -1, d_weight.shape[-1]).swapaxes(0, 1).reshape(-1, d_weight.shape[-1])
    )
