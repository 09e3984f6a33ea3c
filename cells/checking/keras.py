"""Recurrent layers of a Keras file, run by Keras itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..exchange.keras import read
from ..exchange.keras_model import model_of
from ..exchange.layouts import Arrays
from ..exchange.optional import is_installed
from ..exchange.stack import Part
from .implementation import Implementation, one_line
from .parts import Runner, run_together

EXTRA = "is checked against what Keras computes, and package keras is not installed: pip install keras"


def of_file(path: Path) -> Implementation:
    """The file's layers, ready to be run. Raises ValueError for a file that is no such, and without Keras."""
    model = model_of(path, None)
    keras = _keras(path.name)
    try:
        loaded = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras's own, of many kinds
        raise ValueError(f"Keras does not load {path}: {one_line(error)}") from None
    layers = [
        layer for layer in loaded.layers if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)
    ]
    runners = [
        [_runner(keras, one, part) for one, part in zip(_directions(layer), parts, strict=True)]
        for layer, parts in zip(layers, model.layers, strict=True)
    ]
    return run_together(path.name, model, read, runners, "Keras's layers")


def _keras(label: str) -> Any:
    """Keras, on torch unless the environment says otherwise. Raises ValueError where it is not installed."""
    if not is_installed("keras"):
        raise ValueError(f"{label} {EXTRA}")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


def _directions(layer: Any) -> list[Any]:
    """The layer, or both layers of a Bidirectional, forward first."""
    return [layer.forward_layer, layer.backward_layer] if hasattr(layer, "forward_layer") else [layer]


def _runner(keras: Any, layer: Any, part: Part) -> Runner:
    """One layer of Keras over a sequence, with the weights that were loaded."""
    config = layer.get_config() | {"return_sequences": True, "return_state": True, "go_backwards": False}
    config |= {"stateful": False}
    again = type(layer).from_config(config)
    names = ("h", "c") if part.kind == "LSTM" else ("h",)

    def run(x: np.ndarray, state: Arrays) -> tuple[np.ndarray, Arrays]:
        by_sample = np.ascontiguousarray(x.swapaxes(0, 1))
        if not again.built:
            again.build(by_sample.shape)
            again.set_weights(layer.get_weights())
        first = [keras.ops.convert_to_tensor(state[name]) for name in names]
        output, *last = again(keras.ops.convert_to_tensor(by_sample), initial_state=first)
        values = [np.asarray(keras.ops.convert_to_numpy(value)) for value in (output, *last)]
        return values[0].swapaxes(0, 1), dict(zip(names, values[1:], strict=True))

    return run
