"""The recurrent layers of a Keras model, and a linear Dense after them, from its configuration and weights.

Dropout and noise act in training alone and are passed over. So are return_sequences, return_state, stateful
and unroll, which say what a model does with a layer's outputs and states, not what the layer computes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import real_floating
from .keras_file import Config, Weights, load
from .layouts import float64
from .stack import Departure, Model, Part

KINDS = ("SimpleRNN", "LSTM", "GRU")
NAMES = ("kernel", "recurrent_kernel", "bias")
KERAS = ("keras", "tf_keras", "tensorflow")  # the modules of its layers
INERT = (
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "GaussianNoise",
    "GaussianDropout",
    "ActivityRegularization",
)


# what a layer that no cell is asks for
INSTEAD = {
    "CuDNNLSTM": "in Keras 2, load its weights into a keras.layers.LSTM of the same units, and save that",
    "CuDNNGRU": "in Keras 2, load its weights into a keras.layers.GRU of the same units, and save that",
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "no cell convolves"),
}


def model_of(given: Any, layer: str | Sequence[str] | None) -> Model:
    """The model that a file or an object of Keras holds; `layer` names what is taken of it.

    Raises ValueError, naming the layer, for what no cell computes.
    """
    label, config, weights = _loaded(given)
    if config is None:
        held = ", ".join(weights)
        raise ValueError(
            f"{label} holds the weights of {held} and no configuration; say the cell:"
            f" from_keras('lstm', {label!r})"
        )
    inner = config["config"]  # a list in the oldest files
    layers = inner if isinstance(inner, list) else inner.get("layers", [config])
    names = [entry["config"]["name"] for entry in layers]
    wanted = [layer] if isinstance(layer, str) else layer
    for name in wanted or ():
        if name not in names:
            raise ValueError(f"{label} has no layer {name!r}; it has {', '.join(names)}")
    if wanted is None:
        _check_chain(label, layers)
    else:
        layers = [layers[names.index(name)] for name in wanted]
    return _model(label, layers, weights)


def _loaded(given: Any) -> tuple[str, Config | None, Weights]:
    """What it is called, its configuration and its weights."""
    if isinstance(given, str | Path):
        config, weights = load(given)
        if config is not None and not isinstance(config.get("config"), list):
            inner = config.get("config", {})
            if "layers" not in inner:
                raise ValueError(
                    f"{given} is a {config.get('class_name')}, whose file does not say its layers; give"
                    " from_keras(CELL, layer.get_weights())"
                )
        return str(given), config, weights
    if not hasattr(given, "get_config") or not hasattr(given, "get_weights"):
        raise ValueError(
            f"from_keras takes a layer, a model or a file of Keras, or a cell and get_weights(); it was given"
            f" a {type(given).__name__}"
        )
    kind = type(given)
    config = {"class_name": kind.__name__, "module": kind.__module__, "config": given.get_config()}
    inner = getattr(given, "layers", None)
    held = [given] if inner is None else inner
    return type(given).__name__, config, {entry.name: entry.get_weights() for entry in held}


def _check_chain(label: str, layers: list[Config]) -> None:
    """Raises ValueError for a model whose layers are not one after the other, each taking the one before."""
    before = None
    for entry in layers:
        sources = _sources(entry.get("inbound_nodes"))
        if sources and sources != [before]:
            raise ValueError(
                f"{label}: {entry['config']['name']} takes {', '.join(sources)}; the layers must be a chain;"
                f" {_pick(layers)}"
            )
        before = entry["config"]["name"]


def _sources(nodes: Any) -> list[str]:
    """The names of the layers that a node takes values of, as Keras 3 or 2 writes them."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            return [nodes["keras_history"][0]]
        return [name for value in nodes.values() for name in _sources(value)]
    if not isinstance(nodes, list):
        return []
    if len(nodes) in (3, 4) and isinstance(nodes[0], str) and isinstance(nodes[1], int):
        return [nodes[0], *_sources(nodes[3:])]
    return [name for value in nodes for name in _sources(value)]


def _pick(layers: list[Config]) -> str:
    """How to take the recurrent layers alone."""
    recurrent = [entry["config"]["name"] for entry in layers if _is_recurrent(entry)]
    if not recurrent:
        return "it has no recurrent layer"
    return f"layer={recurrent[0] if len(recurrent) == 1 else recurrent!r} takes the recurrence alone".replace(
        f"layer={recurrent[0]} ", f"layer={recurrent[0]!r} "
    )


def _is_recurrent(entry: Config) -> bool:
    kind = entry["class_name"]
    return kind in (*KINDS, "Bidirectional", "RNN")


def _model(label: str, layers: list[Config], weights: Weights) -> Model:
    found: list[tuple[Part, ...]] = []
    dense = None
    for entry in layers:
        kind, name = entry["class_name"], entry["config"]["name"]
        if kind in INERT:
            continue
        if dense is None and _is_recurrent(entry):
            found.append(_layer(f"{label}: {name}", entry, weights[name]))
        elif found and dense is None and _linear(entry):
            dense = _dense(f"{label}: {name}", weights[name])
        else:
            raise ValueError(
                f"{label} also computes {name} ({_described(entry)}), and a cell is recurrent layers and at"
                f" most one linear Dense after them; {INSTEAD.get(kind) or _pick(layers)}"
            )
    if not found:
        raise ValueError(f"{label} has no recurrent layer; a cell is read from {', '.join(KINDS)}")
    return Model(tuple(found), dense)


def _described(entry: Config) -> str:
    inner = entry["config"].get("layer", entry)
    activation = inner["config"].get("activation")
    kind = entry["class_name"]
    return f"{kind} with activation {activation}" if "Dense" in inner["class_name"] else kind


def _linear(entry: Config) -> bool:
    inner = entry["config"]["layer"] if entry["class_name"] == "TimeDistributed" else entry
    return inner["class_name"] == "Dense" and inner["config"].get("activation") in ("linear", None)


def _dense(place: str, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if [np.ndim(a) for a in arrays] not in ([2], [2, 1]):  # more are a low-rank adapter's, or scales
        raise ValueError(f"{place} has the arrays {_shapes(arrays)}; a Dense must have kernel, bias")
    kernel, *bias = (float64(real_floating(place, a)) for a in arrays)
    return kernel, bias[0] if bias else np.zeros(kernel.shape[1])


def _shapes(arrays: list[np.ndarray]) -> str:
    return ", ".join(str(np.shape(a)) for a in arrays) or "none"


def _layer(place: str, entry: Config, arrays: list[np.ndarray]) -> tuple[Part, ...]:
    """One layer, forward and, of a Bidirectional, backward."""
    config = entry["config"]
    if entry["class_name"] != "Bidirectional":
        if config.get("go_backwards"):
            raise Departure(
                f"{place} has go_backwards=True; a cell runs forward: build the layer with"
                " go_backwards=False, and give the cell x[::-1]"
            )
        return (_part(place, entry, arrays),)
    if config.get("merge_mode", "concat") != "concat":
        raise Departure(
            f"{place} has merge_mode={config['merge_mode']!r}; a cell puts both directions side by side, so"
            " it must be 'concat'; sum, multiply or average the two halves of its output yourself"
        )
    forward = config["layer"]
    backward = config.get("backward_layer") or {
        **forward,
        "config": {**forward["config"], "go_backwards": True},
    }
    turned = forward["config"].get("go_backwards"), backward["config"].get("go_backwards")
    if turned != (False, True):
        raise Departure(
            f"{place} has go_backwards={turned[0]} forward and {turned[1]} backward; they must be"
            " False and True"
        )
    half = len(arrays) // 2
    return (
        _part(f"{place} forward", forward, arrays[:half]),
        _part(f"{place} backward", backward, arrays[half:]),
    )


def _part(place: str, entry: Config, arrays: list[np.ndarray]) -> Part:
    kind, config = entry["class_name"], entry["config"]
    if kind == "RNN":  # a layer around a cell that is given
        entry = config["cell"]
        kind, config = entry.get("class_name", "several cells").removesuffix("Cell"), entry.get("config", {})
    if kind not in KINDS:
        raise ValueError(f"{place} is a {kind}; a cell is read from {', '.join(KINDS)}")
    _check_class(place, kind, entry)
    names = NAMES[: 3 if config.get("use_bias", True) else 2]
    if len(arrays) != len(names):
        raise ValueError(f"{place} has the arrays {_shapes(arrays)}; a {kind} must have {', '.join(names)}")
    held = {
        name: float64(real_floating(f"{place}: {name}", array))
        for name, array in zip(names, arrays, strict=True)
    }
    options = {
        name: _function(config[name]) for name in ("activation", "recurrent_activation") if name in config
    }
    if kind == "GRU":
        options["reset_after"] = config.get("reset_after", np.ndim(held.get("bias", [[]])) == 2)
    return Part(place, kind, held, options)


def _check_class(place: str, kind: str, entry: Config) -> None:
    """Raises ValueError for a class that only has the name of one of Keras's."""
    module, registered = str(entry.get("module") or "keras"), str(entry.get("registered_name"))
    if not module.startswith(KERAS) or ">" in registered:
        raise ValueError(
            f"{place} is a class of its own called {kind} ({registered if '>' in registered else module}),"
            " and a file does not say what it computes; where that is what Keras's does, give"
            " from_keras(CELL, layer.get_weights())"
        )


def _function(value: Any) -> str:
    """The name of an activation, also of one that the file describes as an object."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(value or "linear")).lower()
