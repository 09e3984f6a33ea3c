"""The linear read-out y_t = weight_out h_t + bias_out on NumPy arrays, all steps at once."""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def forward(params: Arrays, hidden: np.ndarray) -> np.ndarray:
    """y (T, B, K) from the cell's output (T, B, H)."""
    return hidden @ params["weight_out"].T + params["bias_out"]


def backward(params: Arrays, hidden: np.ndarray, d_y: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """d_hidden (T, B, H), and the gradients of weight_out and bias_out."""
    rows = d_y.reshape(-1, d_y.shape[-1])
    grads = {"weight_out": rows.T @ hidden.reshape(-1, hidden.shape[-1]), "bias_out": rows.sum(0)}
    return d_y @ params["weight_out"], grads
