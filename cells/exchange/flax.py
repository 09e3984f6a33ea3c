"""flax's recurrent cells: trees of parameters of linen and of nnx, in nested dicts, states or files.

A tree holds no functions: the cells' default activations are meant, and no residual connection.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..derived.layers import single
from .files import told_of
from .layouts import FLAX as LAYOUTS
from .layouts import Arrays, float64, layout
from .stack import Departure, Model, Part, apart, joined
from .trees import Prefix, below, flat, floats, picked

# the products of a cell by gate, on the input's side and on the state's
CELLS: dict[str, dict[str, tuple[str, ...]]] = {
    "LSTMCell": {"i": ("ii", "if", "ig", "io"), "h": ("hi", "hf", "hg", "ho")},
    "GRUCell": {"i": ("ir", "iz", "in"), "h": ("hr", "hz", "hn")},
    "SimpleCell": {"i": ("i",), "h": ("h",)},
}
FUSED: dict[str, tuple[str, ...]] = {"i": ("dense_i",), "h": ("dense_h",)}  # of all gates, in nnx
BY_GATES = {4: "LSTMCell", 3: "GRUCell", 1: "SimpleCell"}
OTHERS = {
    frozenset(("if", "in", "hf", "hn")): "an MGUCell (f keeps and comes after the product; mgu's before)",
}


def from_flax(
    tree: Any, cell: str | GatedCell | None = None, *, prefix: Prefix = None
) -> tuple[GatedCell, Arrays]:
    """The cell and its arrays in float64, from a tree of parameters of flax.linen or flax.nnx.

    tree: nested dicts with or without 'params', an nnx.State, or a file .npz with keys such as
    'params/cell/hi/kernel' or .msgpack. LSTMCell and OptimizedLSTMCell are lstm, GRUCell is gru, SimpleCell
    is elman, whose activation `cell` may say ('elman:activation=relu'). A tree does not say in which order
    its layers are run: of several, prefix names one, or lists them from the input up (with a pair for both
    directions, and a Dense for a read-out last). Raises ValueError, naming the path, for all others.
    """
    with told_of(tree, "file of flax"):
        return joined(model_of(flat(tree), prefix), lambda part: read(part, cell))


def to_flax(cell: GatedCell, params: Arrays) -> dict[str, Any]:
    """{"params": ...} in float64, as flax.linen's modules take it.

    One layer is that of nn.RNN(nn.OptimizedLSTMCell(H)), or of GRUCell or SimpleCell, both directions that of
    nn.Bidirectional of two of these. A stack, or a read-out, is that of nn.Sequential of such layers and a
    Dense. Raises ValueError for a cell that flax has not.
    """
    layout(single(cell), LAYOUTS, "flax")
    trees = [{"cell": _written(one, arrays)} for one, arrays in apart(cell, params)]
    pairs = zip(trees[::2], trees[1::2], strict=True)
    layers: list[dict[str, Any]] = (
        [{"forward_rnn": there, "backward_rnn": back} for there, back in pairs]
        if cell.bidirectional
        else trees
    )
    if cell.readout:
        layers.append({"kernel": float64(params["weight_out"]).T.copy(), "bias": float64(params["bias_out"])})
    return {"params": layers[0] if len(layers) == 1 else {f"layers_{k}": v for k, v in enumerate(layers)}}


def model_of(arrays: Arrays, prefix: Prefix) -> Model:
    """The layers of a tree that a prefix picks. Raises ValueError for none."""
    groups = groups_of(arrays)
    dense: tuple[np.ndarray, np.ndarray] | None = None
    if prefix is not None and not isinstance(prefix, str) and isinstance(prefix[-1], str):
        path = _path_of(arrays, prefix[-1])
        last = below(arrays, path)
        if "kernel" in last and set(last) <= {"kernel", "bias"} and len(prefix) > 1:
            held = floats(last, path)
            dense = held["kernel"], held.get("bias", np.zeros(held["kernel"].shape[1]))
            prefix = prefix[:-1]
    known = ", ".join(CELLS)
    layers = picked(groups, prefix, f"a tree of flax has the cells {known}, with kernels such as hi/kernel")
    return Model(tuple(tuple(_part(arrays, path, groups[path]) for path in layer) for layer in layers), dense)


def _path_of(arrays: Arrays, given: str) -> str:
    """The path of a module, which may be given without params/."""
    given = given.replace(".", "/").strip("/")
    return given if below(arrays, given) else f"params/{given}"


def groups_of(arrays: Arrays) -> dict[str, str]:
    """The kinds of the recurrent cells of a tree, by path."""
    children: dict[str, set[str]] = {}
    for path in arrays:
        *above, module, leaf = ["", *path.split("/")]
        if leaf == "kernel" and above:
            children.setdefault("/".join(above[1:]), set()).add(module.rstrip("_"))
    groups = {}
    for path, names in children.items():
        kinds = [kind for kind, sides in CELLS.items() if names >= {*sides["i"], *sides["h"]}]
        fused = names >= {"dense_i", "dense_h"}
        other = next((words for wanted, words in OTHERS.items() if names >= wanted and not kinds), None)
        if kinds or fused or other:
            groups[path] = other or ("fused" if fused else kinds[0])
    return groups


def _part(arrays: Arrays, path: str, kind: str) -> Part:
    """One cell of the tree. Raises ValueError for arrays beyond its own."""
    inside = {_plain(name): value for name, value in below(arrays, path).items()}
    if kind not in (*CELLS, "fused"):
        raise Departure(f"{path} is {kind}; no cell is that")
    sides = FUSED if kind == "fused" else CELLS[kind]
    names = [f"{module}/{leaf}" for side in sides.values() for module in side for leaf in ("kernel", "bias")]
    surplus = [name for name in inside if name not in names]
    if surplus:
        raise ValueError(f"{path} has {', '.join(surplus)}, which no {kind} of flax has")
    held = floats(inside, path)
    if kind == "fused":
        hidden, columns = held["dense_h/kernel"].shape
        kind = BY_GATES.get(columns // hidden, "")
        if not kind or columns % hidden:
            raise ValueError(
                f"{path}: dense_h/kernel is {(hidden, columns)}; it must be (H, H), (H, 3H) or (H, 4H)"
            )
    return Part(path, kind, held)


def _plain(name: str) -> str:
    """A path without the mark that keeps nnx's if_ from being a word of Python."""
    return name.replace("if_/", "if/")


def read(part: Part, given: str | GatedCell | None = None) -> tuple[GatedCell, Arrays]:
    """The cell of one layer in one direction."""
    from ..catalogue import get

    rows = {side: _rows(part, side) for side in "ih"}
    weights = {f"weight_{side}h": kernel for side, (kernel, _) in rows.items()}
    biases = {f"bias_{side}h": bias for side, (_, bias) in rows.items() if bias is not None}
    if list(biases) == ["bias_hh"]:  # lstm's only bias is on the state's side, and the two are added
        biases = {"bias_ih": biases["bias_hh"]}
    name = next(name for name, form in LAYOUTS.items() if form.kind == part.kind)
    cell = get(name if given is None else given) if given is None or isinstance(given, str) else given
    if cell.name != name:
        raise ValueError(
            f"{part.place} is a {part.kind} of flax, which is {name}; it was read as {cell.name}"
        )
    return replace(single(cell), biases=len(biases)), weights | biases


def _rows(part: Part, side: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows (G * H, ...) of the products of one side, and their bias, None where there is none."""
    modules = FUSED[side] if "dense_i/kernel" in part.arrays else CELLS[part.kind][side]
    kernels = [part.arrays[f"{module}/kernel"] for module in modules]
    biases = [part.arrays.get(f"{module}/bias") for module in modules]
    wanted = part.arrays[f"{modules[0]}/kernel"].shape
    for module, kernel, bias in zip(modules, kernels, biases, strict=True):
        if kernel.shape != wanted or (bias is not None and bias.shape != wanted[1:]):
            raise ValueError(
                f"{part.place}: {module}/kernel is {kernel.shape}; beside {modules[0]} it must be {wanted}"
            )
    bias = None
    if any(b is not None for b in biases):
        bias = np.concatenate([np.zeros(wanted[1]) if b is None else b for b in biases])
    return np.concatenate([kernel.T for kernel in kernels]), bias


def _written(cell: GatedCell, params: Arrays) -> dict[str, Any]:
    """The tree of one layer in one direction: biases where flax has them, sums of both where it has one."""
    kind, gates = LAYOUTS[cell.name].kind, len(cell.gates)
    arrays = {name: np.split(float64(value), gates) for name, value in params.items()}
    tree: dict[str, Any] = {}
    for side in "ih":
        for module, weight in zip(CELLS[kind][side], arrays[f"weight_{side}h"], strict=True):
            tree[module] = {"kernel": weight.T.copy()}
    zeros = [np.zeros(len(b)) for b in arrays["weight_hh"]]
    first, second = (arrays.get(name, zeros) for name in ("bias_ih", "bias_hh"))
    for k, gate in enumerate(cell.gates):
        apart_here = kind == "GRUCell" and gate == "n"  # the reset gate comes between the two
        side = "h" if kind == "LSTMCell" else "i"
        tree[CELLS[kind][side][k]]["bias"] = first[k] if apart_here else first[k] + second[k]
        if apart_here:
            tree[CELLS[kind]["h"][k]]["bias"] = second[k]
    return tree
