"""Files of Keras: .keras, whole models in .h5, and files of weights alone (Python package h5py).

The configuration is read as data: no layer is built and no function of the file is run.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .files import checked_size, one_line
from .optional import package

Config = dict[str, Any]
Weights = dict[str, list[np.ndarray]]  # in the order of get_weights, by the name of the layer
# where a layer of model.weights.h5 has its variables, in the order of get_weights
VARIABLES = ("vars", "cell/vars", "layer/vars", "forward_layer/cell/vars", "backward_layer/cell/vars")


def load(path: str | Path) -> tuple[Config | None, Weights]:
    """The model's configuration, None in a file of weights alone, and every layer's weights.

    Raises ValueError, naming the file, for one that Keras did not write, and without the package h5py.
    """
    if not Path(path).is_file():
        raise ValueError(f"no file {str(path)!r}; give a .keras or .h5 file")
    package("h5py", "keras")
    checked_size(Path(path))
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as held:
                config = json.loads(held.read("config.json"))
                with _opened(io.BytesIO(held.read("model.weights.h5"))) as file:
                    return config, _by_class(file, _layers(config))
        with _opened(str(path)) as file:
            return _of_h5(file)
    except Exception as error:  # h5py's own, of many kinds, and whatever stands in the place of a group
        raise ValueError(
            f"{path} is no file of Keras: {one_line(error)}; give what model.save or"
            " model.save_weights writes"
        ) from None


def _opened(file: Any) -> Any:
    return package("h5py", "keras").File(file, "r")


def _layers(config: Config) -> list[Config]:
    inner = config.get("config")
    return inner.get("layers", []) if isinstance(inner, dict) else inner or []


def _of_h5(file: Any) -> tuple[Config | None, Weights]:
    """A whole model as Keras 2 wrote it, or weights alone as Keras 2 or 3 does."""
    if "layer_names" in file.attrs:
        return None, _by_name(file)
    if "model_weights" in file:
        return json.loads(_text(file.attrs["model_config"])), _by_name(file["model_weights"])
    if "layers" not in file:
        raise KeyError("it has no layers")
    return None, {name: _variables(file[f"layers/{name}"]) for name in sorted(file["layers"], key=_counted)}


def _counted(name: str) -> tuple[bool, str, int]:
    """Sorts lstm, lstm_1, lstm_10, and a Dense behind all."""
    stem, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()  # type: ignore[union-attr]
    return stem in ("dense", "time_distributed"), stem, int(number or 0)


def _by_name(group: Any) -> Weights:
    """The weights of the older files, which name layers and weights in attributes."""
    names = [_text(name) for name in group.attrs["layer_names"]]
    return {
        name: [np.array(group[name][_text(weight)]) for weight in group[name].attrs["weight_names"]]
        for name in names
    }


def _by_class(file: Any, layers: list[Config]) -> Weights:
    """The weights of model.weights.h5, which counts the layers of each class: lstm, lstm_1 ..."""
    seen: dict[str, int] = {}
    weights: Weights = {}
    for layer in layers:
        stem = _snake(layer["class_name"])
        key = f"layers/{stem}_{seen[stem]}" if stem in seen else f"layers/{stem}"
        seen[stem] = seen.get(stem, 0) + 1
        weights[layer["config"]["name"]] = _variables(file[key]) if key in file else []
    return weights


def _variables(group: Any) -> list[np.ndarray]:
    held = [group[place] for place in VARIABLES if place in group]
    return [np.array(variables[key]) for variables in held for key in sorted(variables, key=int)]


def _snake(name: str) -> str:
    """The name of a class as Keras writes it in files: SimpleRNN becomes simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
