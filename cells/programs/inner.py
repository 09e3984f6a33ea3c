"""The matrices that equations multiply by values of a step: an inner gate's rows of weight_hh, and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..derived.inner import inner_biases, inner_names
from ..vocabulary.across import Multiplied
from .products import blocks_gradient, column_sums, pull_blocks

Share = tuple[str, np.ndarray, np.ndarray]  # a matrix, cotangents of a product with it, and the operands


class Inner:
    """A cell's inner matrices by name, from the arrays that the step uses."""

    def __init__(self, cell: GatedCell, used: Arrays) -> None:
        self.cell, self.used, self.names = cell, used, inner_names(cell)
        self.vectors = (*cell.vectors, *inner_biases(cell))  # whose arrays are `unit`
        self.heads = {name: 1 if name in cell.matrices else cell.heads for name in self.names}
        self.matrices: dict[str, Any] = {
            name: used[name] if name in cell.matrices else cell.recurrent_rows(used, "weight_hh", (name[3:],))
            for name in self.names
        }

    def unit(self) -> tuple[np.ndarray, ...]:
        """The step's vectors: the cell's own, then the biases of its inner gates."""
        cell, used = self.cell, self.used
        biases: list[Any] = [cell.recurrent_rows(used, "bias_hh", (g,)) for g in cell.inner_gates]
        zeros = [np.zeros_like(self.matrices[f"wh_{g}"][:, 0]) for g in cell.inner_gates]
        given = [z if b is None else b for b, z in zip(biases, zeros, strict=True)]
        return (*(used[name] for name in cell.vectors), *(given if inner_biases(cell) else ()))

    def products(self) -> tuple[Any, ...]:
        """For each matrix W the function a (..., units) -> W a."""
        return tuple(Multiplied(self.matrices[name], None, self.heads[name]) for name in self.names)

    def transposed(self) -> tuple[Any, ...]:
        """For each matrix W the function g (..., units) -> W' g."""
        return tuple(Transposed(self.matrices[name], self.heads[name]) for name in self.names)

    def gradients(
        self, d_wh: np.ndarray, fed: np.ndarray, d_biases: Sequence[np.ndarray], shares: Sequence[Share]
    ) -> Arrays:
        """Gradients of weight_hh, bias_hh and the matrices.

        Of d_wh (N, G * units) of the gates that are fed, the states (N, K) that they are of, the gradients
        (units,) of inner biases (none are zeros), and the products of all steps, cotangents and operands (N,
        units).
        """
        cell, rows, biases = self.cell, {}, {}
        of_matrix: Arrays = {}
        for name, d, operand in shares:
            gradient = blocks_gradient(d, operand, self.heads[name], 1)
            of_matrix[name] = of_matrix[name] + gradient if name in of_matrix else gradient
        if cell.fed_gates:
            count = len(cell.fed_gates)
            by_gate = blocks_gradient(d_wh, fed, cell.heads, count)
            rows = dict(zip(cell.fed_gates, np.split(by_gate, count), strict=True))
            biases = dict(zip(cell.fed_gates, np.split(column_sums(d_wh), count), strict=True))
        rows |= {gate: of_matrix.pop(f"wh_{gate}") for gate in cell.inner_gates}
        zero = (
            np.zeros(len(self.used["weight_hh"]) // len(cell.recurrent), d_wh.dtype) if cell.recurrent else 0
        )
        biases |= dict.fromkeys(cell.inner_gates, zero) | dict(zip(cell.inner_gates, d_biases, strict=False))
        if cell.recurrent:
            of_matrix["weight_hh"] = np.concatenate([rows[gate] for gate in cell.recurrent])
        if cell.recurrent and "bias_hh" in self.used:
            of_matrix["bias_hh"] = np.concatenate([biases[gate] for gate in cell.recurrent])
        return of_matrix


class Transposed:
    """The product with a matrix's transpose, of cotangents (..., units)."""

    def __init__(self, weight: np.ndarray, heads: int) -> None:
        self.weight, self.heads = weight, heads

    def __call__(self, g: np.ndarray) -> np.ndarray:
        wide = np.broadcast_to(g, (*np.shape(g)[:-1], len(self.weight)))
        rows = wide.reshape(-1, 1, len(self.weight))
        return pull_blocks(rows, self.weight, self.heads).reshape(*wide.shape[:-1], -1)
