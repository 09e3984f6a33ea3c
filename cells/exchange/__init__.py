"""Weights in and out: torch.nn modules, ONNX files, and arrays as Keras orders them.

Importing this imports neither torch, nor onnx, nor Keras.
"""

from .keras import from_keras, to_keras
from .onnx_read import from_onnx
from .onnx_write import to_onnx
from .torch import from_torch, to_torch

__all__ = ["from_keras", "from_onnx", "from_torch", "to_keras", "to_onnx", "to_torch"]
