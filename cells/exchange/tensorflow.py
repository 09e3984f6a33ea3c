"""TensorFlow's old cells (tf.nn.rnn_cell): one kernel for [x; h], and a forget bias added when it runs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..derived.layers import single
from .files import told_of
from .layouts import TENSORFLOW as LAYOUTS
from .layouts import Arrays, float64, layout, rows_here, rows_there
from .stack import Departure, Model, Part, apart, joined
from .trees import Prefix, below, flat, floats, is_below, picked

LSTM = "(basic_|block_)?lstm_(fused_)?cell|cudnn_compatible_lstm_cell|lstm_block_(fused_)?cell"
KINDS = {"LSTM": LSTM, "GRU": "(block_)?gru_(block_)?cell", "RNN": "basic_rnn_cell"}
SCOPES = {"LSTM": "basic_lstm_cell", "GRU": "gru_cell", "RNN": "basic_rnn_cell"}
# cells of the same names whose equations are others
OTHERS = "layer_norm_basic_lstm_cell|coupled_input_forget_gate_lstm_cell|cudnn_compatible_gru_cell"
PEEPHOLES = {"peephole_i": "w_i_diag", "peephole_f": "w_f_diag", "peephole_o": "w_o_diag"}


def from_tensorflow(
    variables: Any, *, forget_bias: float = 1.0, prefix: Prefix = None
) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from variables of tf.nn.rnn_cell by name.

    variables: {'rnn/basic_lstm_cell/kernel': array, ...} as tf.train.load_checkpoint gives them, or an .npz
    file of these. BasicLSTMCell and LSTMCell are lstm, or peephole_lstm; GRUCell is gru_reset_before;
    BasicRNNCell is elman. forget_bias is that of the cell's constructor, which no variable holds. A
    multi_rnn_cell is a stack, fw and bw are both directions; of other layers prefix names one, or lists them
    from the input up. Raises ValueError, naming the variable, for all others.
    """
    with told_of(variables, "file of TensorFlow's variables"):
        return joined(model_of(flat(variables), prefix), lambda part: read(part, forget_bias))


def to_tensorflow(cell: GatedCell, params: Arrays, *, forget_bias: float = 1.0) -> dict[str, np.ndarray]:
    """Variables of tf.nn.rnn_cell by name in float64, for a cell that adds forget_bias when it is run.

    Names are as in 'rnn/basic_lstm_cell/kernel', with multi_rnn_cell/cell_0 in a stack, bidirectional_rnn/fw
    of both directions, and stack_bidirectional_rnn/cell_0 of a stack of these. A read-out is 'dense/kernel'
    and 'dense/bias'. Raises ValueError for a cell that TensorFlow has not.
    """
    form = layout(single(cell), LAYOUTS, "TensorFlow")
    made: dict[str, np.ndarray] = {}
    for k, (one, arrays) in enumerate(apart(cell, params)):
        scope = f"multi_rnn_cell/cell_{k}" if cell.layers > 1 else ""
        if cell.bidirectional:
            depth = f"stack_bidirectional_rnn/cell_{k // 2}/" if cell.layers > 1 else ""
            scope = f"{depth}bidirectional_rnn/{('fw', 'bw')[k % 2]}"
        elif scope:
            scope = f"rnn/{scope}"
        scope = scope or "rnn"
        kind = "lstm_cell" if form.peepholes else SCOPES[form.kind]
        made |= {
            f"{scope}/{kind}/{name}": value for name, value in _written(one, arrays, forget_bias).items()
        }
    if cell.readout:
        made |= {
            "dense/kernel": float64(params["weight_out"]).T.copy(),
            "dense/bias": float64(params["bias_out"]),
        }
    return made


def groups_of(arrays: Arrays) -> dict[str, str]:
    """The kinds of the recurrent cells among variables, by path."""
    groups = {}
    for path in arrays:
        parts = path.split("/")
        for k, part in enumerate(parts):
            kind = next(
                (kind for kind, names in KINDS.items() if re.fullmatch(f"({names})(_\\d+)?", part)), None
            )
            other = re.fullmatch(f"({OTHERS})(_\\d+)?", part) or "opaque_kernel" in path
            if kind or other:
                groups["/".join(parts[: k + 1])] = part if other else str(kind)
    return groups


def model_of(arrays: Arrays, prefix: Prefix) -> Model:
    """The layers that a prefix picks."""
    groups = groups_of({path: a for path, a in arrays.items() if not _of_optimiser(path)})
    if prefix is None or isinstance(prefix, str):
        prefix = _stack([path for path in groups if is_below(path, prefix)]) or prefix
    what = "variables of tf.nn.rnn_cell are named as in rnn/basic_lstm_cell/kernel"
    layers = picked(groups, prefix, what)
    return Model(tuple(tuple(_part(arrays, path, groups[path]) for path in layer) for layer in layers))


def _of_optimiser(path: str) -> bool:
    """Whether the variable is a moment that an optimiser keeps of another."""
    return bool(re.search(r"(^|/)(Adam|Momentum|RMSProp|Adagrad|ExponentialMovingAverage)(_\d+)?$", path))


def _stack(paths: list[str]) -> Prefix:
    """The layers of a multi_rnn_cell, or of a stack_bidirectional_rnn, from the input up; else None."""
    for scope, directions in (("multi_rnn_cell", 1), ("stack_bidirectional_rnn", 2)):
        found = {path: re.search(rf"^(.*?){scope}/cell_(\d+)/", path) for path in paths}
        matches = [match for match in found.values() if match]
        if len(matches) != len(paths) or len({match[1] for match in matches}) != 1:
            continue
        by_depth: dict[int, list[str]] = {}
        for path, match in found.items():
            by_depth.setdefault(int(match[2]) if match else 0, []).append(path)
        layers = [sorted(by_depth[k], key=lambda path: "/bw/" in path) for k in sorted(by_depth)]
        if all(len(layer) == directions for layer in layers):
            return [tuple(layer) for layer in layers]
    return None


def _part(arrays: Arrays, path: str, kind: str) -> Part:
    """One cell. Raises ValueError for other variables than its own."""
    inside = {k: v for k, v in below(arrays, path).items() if not _of_optimiser(k)}
    if kind not in KINDS:
        raise Departure(
            f"{path} is a {kind}, whose equations are no cell's or whose weights are opaque; see its docs"
        )
    if "projection/kernel" in inside:
        raise Departure(f"{path} has projection/kernel; a projection is not read from TensorFlow")
    if kind == "GRU":
        known = {f"{part}/{leaf}" for part in ("gates", "candidate") for leaf in ("kernel", "bias")}
        needed = known
    else:
        needed = {"kernel", "bias"}
        known = needed | ({*PEEPHOLES.values()} if kind == "LSTM" else set())
    if missing := needed - set(inside):
        raise ValueError(f"{path} has no {', '.join(sorted(missing))}; it has {', '.join(inside)}")
    if surplus := set(inside) - known:
        raise ValueError(
            f"{path} has {', '.join(sorted(surplus))}, which no {kind} cell of tf.nn.rnn_cell has"
        )
    options = {"forget_bias": 0.0} if "cudnn_compatible" in path else {}
    return Part(path, kind, floats(inside, path), options)


def read(part: Part, forget_bias: float = 1.0) -> tuple[GatedCell, Arrays]:
    """The cell of one layer in one direction, with the forget bias put into its bias."""
    from ..catalogue import get

    kind, held = part.kind, part.arrays
    peepholes = {ours: held[name] for ours, name in PEEPHOLES.items() if name in held}
    name = {"LSTM": "peephole_lstm" if peepholes else "lstm", "GRU": "gru_reset_before", "RNN": "elman"}[kind]
    form = LAYOUTS[name]
    if kind == "GRU":
        kernel = np.concatenate([held["gates/kernel"], held["candidate/kernel"]], 1)
        bias = np.concatenate([held["gates/bias"], held["candidate/bias"]])
    else:
        kernel, bias = held["kernel"], held["bias"].copy()
    units = len(bias) // len(form.order)
    if (
        kernel.ndim != 2
        or kernel.shape[1] != len(bias)
        or units * len(form.order) != len(bias)
        or len(kernel) <= units
    ):
        raise ValueError(
            f"{part.place}: kernel is {kernel.shape} and bias {bias.shape}; they must be"
            f" (I + H, {len(form.order)}H) and ({len(form.order)}H,)"
        )
    cell = get(name, biases=1)
    params = {"weight_ih": kernel[:-units].T, "weight_hh": kernel[-units:].T, "bias_ih": bias}
    params = {k: rows_here(rows, cell.gates, form.order) for k, rows in params.items()}
    if kind == "LSTM":
        f = cell.gates.index("f")
        params["bias_ih"][f * units : (f + 1) * units] += part.options.get("forget_bias", forget_bias)
    return cell, params | peepholes


def _written(cell: GatedCell, params: Arrays, forget_bias: float) -> dict[str, np.ndarray]:
    """The variables of one cell."""
    form = LAYOUTS[cell.name]
    held = {name: float64(a) for name, a in params.items()}
    units = held["weight_hh"].shape[1]
    zeros = np.zeros(len(held["weight_hh"]))
    total = held.get("bias_ih", zeros) + held.get("bias_hh", zeros)  # none is inside the product with r
    rows = [rows_there(a, cell.gates, form.order).T for a in (held["weight_ih"], held["weight_hh"])]
    kernel, bias = np.concatenate(rows), rows_there(total, cell.gates, form.order)
    if form.kind == "GRU":
        both = 2 * units
        return {
            "gates/kernel": kernel[:, :both].copy(),
            "gates/bias": bias[:both],
            "candidate/kernel": kernel[:, both:].copy(),
            "candidate/bias": bias[both:],
        }
    if form.kind == "LSTM":
        at = form.order.index("f") * units
        bias[at : at + units] -= forget_bias
    return {"kernel": kernel, "bias": bias} | {
        there: held[ours] for ours, there in PEEPHOLES.items() if ours in held
    }
