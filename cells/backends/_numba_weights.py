"""What a fused kernel multiplies with: weights packed once, and the biases that the products start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..kernels import panels
from ..kernels.division import Range
from ..vocabulary.matrices import by_head


@dataclass(frozen=True)
class Weights:
    """Of a block of `width` units, or of all.

    inputs        panels of weight_ih (P, I, PANEL); empty where the cell projects its inputs itself
    bias          (1, G * width)
    recurrent     panels of weight_hh (N, P, K, PANEL), of N states that are fed back
    bias_hh       (1, gates with a recurrent product, width)
    transposed    panels (N, P, all gates, PANEL) of what gives these units' cotangents; empty for a forward
    """

    inputs: np.ndarray
    bias: np.ndarray
    recurrent: np.ndarray
    bias_hh: np.ndarray
    transposed: np.ndarray


def packed_weights(
    cell: GatedCell, used: Arrays, bias: np.ndarray, block: Range, units: int, keeping: bool, panel: int
) -> Weights:
    """The weights of a block, from the arrays that the step uses and the bias (G * units,) of the inputs."""
    dtype, count = bias.dtype, len(cell.recurrent)
    low, high = block
    weight = transposed = np.empty((0, 1, 1), dtype)
    if count:
        weight = split_weight(cell, of_block(used["weight_hh"], block, units))
        if keeping:
            transposed = split_weight(cell, used["weight_hh"]).swapaxes(1, 2)[:, low:high]
    inputs = np.empty((0, 1, panel), dtype)
    if not cell.writes("project"):
        (inputs,) = panels.packed(of_block(used["weight_ih"], block, units)[None], panel)
    bias_hh = used.get("bias_hh", np.zeros(count * units, dtype))
    return Weights(
        inputs,
        of_block(bias, block, units)[None],
        panels.packed(weight, panel),
        of_block(bias_hh, block, units).reshape(1, count, high - low),
        panels.packed(transposed, panel),
    )


def of_block(rows: np.ndarray, block: Range, units: int) -> np.ndarray:
    """Those of the rows (G * units, ...) of every gate that are of these units."""
    if block == (0, units):
        return rows
    rest = rows.shape[1:]
    return rows.reshape(-1, units, *rest)[:, slice(*block)].reshape(-1, *rest)


def split_weight(cell: GatedCell, weight: np.ndarray) -> np.ndarray:
    """weight_hh as (N, rows, K), of N states that are fed back, or of each gate of each head."""
    if cell.heads > 1:
        of_head = by_head(weight, cell.heads, len(cell.recurrent))
        return np.ascontiguousarray(of_head).reshape(-1, of_head.shape[-1], of_head.shape[-1])
    return np.stack(np.split(weight, len(cell.fed_back), axis=1))
