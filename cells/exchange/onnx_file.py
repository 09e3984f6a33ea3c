"""An ONNX file: read, and its faults told in one line. This needs the Python package onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .files import checked_size, one_line
from .optional import package


def load(path: str | Path) -> Any:
    """The file's model, its functions written out. Raises ValueError, one line, for a file that is none."""
    onnx = package("onnx")
    if not Path(path).is_file():
        raise ValueError(f"no file {str(path)!r}; give the path of an ONNX model")
    checked_size(Path(path))
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        if model.functions:
            model = package("onnx.inliner").inline_local_functions(model)
    except Exception as error:  # onnx's own: many kinds, for a file that is damaged or holds something else
        raise ValueError(f"{path} is no ONNX model: {one_line(error)}") from None
    if not model.graph.node:
        raise ValueError(f"{path} has no nodes; it must have one of kind RNN, LSTM or GRU")
    return model


def label(node: Any) -> str:
    """A node's kind and name, for a message."""
    return f"{node.op_type} {node.name!r}" if node.name else str(node.op_type)


def attributes(node: Any) -> dict[str, Any]:
    """The node's attributes, bytes as text."""
    value = package("onnx.helper").get_attribute_value

    def text(given: Any) -> Any:
        if isinstance(given, list):
            return [text(each) for each in given]
        return given.decode(errors="replace") if isinstance(given, bytes) else given

    return {attribute.name: text(value(attribute)) for attribute in node.attribute}


def held(graph: Any, path: str | Path) -> dict[str, np.ndarray]:
    """Every initialiser by name. Raises ValueError, naming it, for one that cannot be read."""
    sparse = [tensor.values.name for tensor in graph.sparse_initializer]
    if sparse:
        raise ValueError(f"{path}: {sparse[0]} is held as a sparse array; write it as a dense one")
    return {tensor.name: array(tensor, f"{path}: {tensor.name}") for tensor in graph.initializer}


def array(tensor: Any, what: str) -> np.ndarray:
    """The tensor's array; bfloat16, which NumPy has not, as float32.

    Raises ValueError, naming it, where it cannot be read.
    """
    try:
        value = package("onnx.numpy_helper").to_array(tensor)
        # ml_dtypes' kinds, of which a cast to float32 loses nothing
        return np.asarray(value, np.float32) if str(value.dtype) == "bfloat16" else value
    except Exception as error:  # onnx's own: an unknown data type, a number of bytes that is not the shape's
        raise ValueError(
            f"{what} cannot be read: data type {tensor.data_type}, shape {tuple(tensor.dims)}:"
            f" {one_line(error)}; the file is damaged, or newer than the package onnx"
        ) from None
