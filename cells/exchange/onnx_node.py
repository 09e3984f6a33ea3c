"""A recurrent node of an ONNX graph: the cell that it computes, and the cell's arrays from W, R, B and P."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from .layouts import ONNX, Arrays, float64, rows_here

DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
UNCLIPPED = 3.4e38  # float32's largest, which onnxruntime has for no clip
# of these, entries in activation_alpha and activation_beta, in the order of activations
ALPHA = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
BETA = {"affine", "hardsigmoid", "scaledtanh"}


def checked(kind: str, known: dict[str, Any], slots: dict[str, Any], what: str) -> tuple[int, int]:
    """(number of directions, hidden_size). Raises ValueError, naming the slot, where these do not fit."""
    direction = known.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ValueError(f"{what} has direction {direction!r}; it must be one of {', '.join(DIRECTIONS)}")
    if (layout := known.get("layout", 0)) not in (0, 1):
        raise ValueError(f"{what} has layout {layout}; it must be 0 or 1")
    for slot in ("W", "R"):
        if slot not in slots:
            raise ValueError(f"{what} has no {slot}; a recurrent node must have X, W and R")
    for slot in "WRBP":
        if slot in slots and not isinstance(slots[slot], np.ndarray):
            raise ValueError(
                f"{what}: {slot} is computed or an input; weights must be held in the file: export the model"
                " with its parameters"
            )
    arrays = {slot: slots[slot] for slot in "WRBP" if slot in slots}
    hidden = known.get("hidden_size") or (arrays["R"].shape[-1] if arrays["R"].ndim == 3 else 0)
    if hidden < 1:
        raise ValueError(f"{what} has hidden_size {hidden}; it must be a whole number of at least 1")
    inputs, gates = arrays["W"].shape[-1] if arrays["W"].ndim else 0, GATES[kind]
    shapes = {
        "W": (gates * hidden, inputs),
        "R": (gates * hidden, hidden),
        "B": (2 * gates * hidden,),
        "P": (3 * hidden,),
    }
    for slot, value in arrays.items():
        if value.shape != (expected := (DIRECTIONS[direction], *shapes[slot])):
            raise ValueError(
                f"{what}: {slot} is {value.shape}; with hidden_size {hidden} it must be {expected}"
            )
        real_floating(f"{what}: {slot}", value)
    return DIRECTIONS[direction], hidden


def cell_of(kind: str, known: dict[str, Any], peepholes: bool, what: str) -> tuple[str, dict[str, Any]]:
    """Name and options of the cell that a node of this kind and these attributes computes."""
    if known.get("clip", UNCLIPPED) < UNCLIPPED:
        raise ValueError(
            f"{what} has clip {known['clip']:g}; no cell clips its pre-activations: export the model without"
            " clip"
        )
    coupled = known.get("input_forget", 0)
    if peepholes and coupled:
        raise ValueError(f"{what} has peepholes and input_forget; no cell has both")
    directions = DIRECTIONS[known.get("direction", "forward")]
    given = known.get("activations") or DEFAULTS[kind] * directions
    of_each = len(DEFAULTS[kind])
    if len(given) != of_each * directions:
        raise ValueError(
            f"{what} has {len(given)} activations; it must have {of_each} for each of {directions}"
            f" direction{'s' * (directions > 1)}"
        )
    written = _with_numbers(given, known)
    sets = {tuple(written[k : k + of_each]) for k in range(0, len(written), of_each)}
    if len(sets) > 1:
        raise ValueError(
            f"{what} has the activations {', '.join(given)}; a cell has the same in both directions"
        )
    activations = list(sets.pop())
    if kind == "RNN":
        activation = "identity" if activations[0] == "affine(1, 0)" else activations[0]
        if activation not in ("tanh", "relu", "identity"):
            raise ValueError(
                f"{what} has the activation {activations[0]}; elman has Tanh, Relu, or Affine with alpha 1"
                " and beta 0"
            )
        return "elman", {"activation": activation}
    if activations != [name.lower() for name in DEFAULTS[kind]]:
        raise ValueError(
            f"{what} has the activations {', '.join(activations)}; the cells have"
            f" {', '.join(DEFAULTS[kind])}: write a cell of your own with these (docs/cells.md)"
        )
    if kind == "GRU":
        return "gru" if known.get("linear_before_reset", 0) else "gru_reset_before", {}
    return "peephole_lstm" if peepholes else "cifg" if coupled else "lstm", {}


def _with_numbers(given: list[str], known: dict[str, Any]) -> list[str]:
    """Names in lower case, with alpha and beta where the activation has them: affine(1, 0).

    What does nothing is left out: a scaled tanh of 1 and 1 is tanh.
    """
    alphas, betas = (list(known.get(f"activation_{n}") or []) for n in ("alpha", "beta"))
    written = []
    for name in (text.lower() for text in given):
        numbers = [
            f"{n.pop(0):g}" if n else "its default"
            for n, of in ((alphas, ALPHA), (betas, BETA))
            if name in of
        ]
        text = f"{name}({', '.join(numbers)})" if numbers else name
        written.append({"scaledtanh(1, 1)": "tanh", "leakyrelu(0)": "relu"}.get(text, text))
    return written


def arrays_of(cell: GatedCell, slots: dict[str, Any], direction: int) -> Arrays:
    """The arrays of a single cell from one direction of W, R, B and P; zeros for a B that is not there."""
    form = ONNX[cell.name]
    held = {slot: float64(slots[slot][direction]) for slot in "WRBP" if slot in slots}
    there = {"weight_ih": held["W"], "weight_hh": held["R"]}
    if cell.biases:
        both = held.get("B", np.zeros(2 * len(held["W"])))
        there |= dict(zip(("bias_ih", "bias_hh"), np.split(both, 2), strict=True))
    params = {name: rows_here(rows, cell.gates, form.order) for name, rows in there.items()}
    if form.peepholes:
        params |= dict(zip(form.peepholes, np.split(held["P"], 3), strict=True))
    return params
