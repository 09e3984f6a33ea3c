"""Weights in and out of torch, ONNX, Keras, flax, equinox and TensorFlow's old cells.

Importing this imports none of them.
"""

from .equinox import from_equinox, to_equinox
from .flax import from_flax, to_flax
from .keras import from_keras, to_keras
from .onnx_read import from_onnx
from .onnx_scan import to_onnx_scan
from .onnx_start import Start
from .onnx_write import to_onnx
from .tensorflow import from_tensorflow, to_tensorflow
from .torch import from_torch, to_torch

__all__ = [
    "Start",
    "from_equinox",
    "from_flax",
    "from_keras",
    "from_onnx",
    "from_tensorflow",
    "from_torch",
    "to_equinox",
    "to_flax",
    "to_keras",
    "to_onnx",
    "to_onnx_scan",
    "to_tensorflow",
    "to_torch",
]
