"""Products on CUDA as their format says: of float32 in float32, or in tf32 where that is asked for.

PyTorch lets cuDNN round operands to tf32 by default, and other products only where it is told to. Sums of
products of 16 bits are float32, but PyTorch lets cuBLAS add up parts of them in 16 bits by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..programs.formats import TF32

Switch = tuple[Any, str, Any]  # an object, its attribute, and the value that it gets
SHORT = {"bfloat16": "bf16", "float16": "fp16"}  # formats in PyTorch's switches


@contextmanager
def products(dtype: str, device: str) -> Iterator[None]:
    """Within, products of float32 round their operands where dtype is tf32, and none rounds its sums.

    So it is whatever the process allows, which it does again afterwards.
    """
    if device != "cuda":
        yield
        return
    switches = _switches(dtype == TF32) + _sums(dtype)
    before = [_allowed(where, name) for where, name, _ in switches]
    try:
        for where, name, value in switches:
            setattr(where, name, value)
        yield
    finally:
        for (where, name, _), value in zip(switches, before, strict=True):
            setattr(where, name, value)


def _allowed(where: Any, name: str) -> Any:
    """What a switch is set to, with the permission to split sums that newer PyTorch sets together with it."""
    value, split = getattr(where, name), f"{name}_split_k"
    return (value, getattr(where, split)) if _known(split) else value


@cache
def _known(name: str) -> bool:
    """Whether this PyTorch has the switch; asked once, as each run is timed with its switches."""
    from torch import backends

    return hasattr(backends.cuda.matmul, name)


def _sums(dtype: str) -> list[Switch]:
    """Those that let sums be rounded on the way; float16 has one more, of PyTorch 2.7 and later."""
    if dtype not in SHORT:
        return []
    from torch import backends

    names = [f"allow_{SHORT[dtype]}_reduced_precision_reduction"]
    if dtype == "float16" and _known("allow_fp16_accumulation"):
        names.append("allow_fp16_accumulation")
    return [(backends.cuda.matmul, name, False) for name in names]


def _switches(rounding: bool) -> list[Switch]:
    """Those that every PyTorch has; or the newer ones, where a process has set them apart from the others."""
    from torch import backends

    older = [(where, "allow_tf32", rounding) for where in (backends.cudnn, backends.cuda.matmul)]
    try:
        for where, name, _ in older:
            getattr(where, name)
    except RuntimeError:  # PyTorch refuses to tell, as the two sorts disagree
        newer: tuple[Any, ...] = (backends.cudnn.rnn, backends.cuda.matmul)  # type: ignore[attr-defined]
        return [(where, "fp32_precision", "tf32" if rounding else "ieee") for where in newer]
    return older
