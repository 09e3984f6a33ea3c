"""Products of float32 on CUDA in float32, or in tf32 where that is asked for.

PyTorch lets cuDNN round operands to tf32 by default, and other products only where it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..programs.formats import TF32

Switch = tuple[Any, str, Any]  # an object, its attribute, and the value that it gets


@contextmanager
def products(dtype: str, device: str) -> Iterator[None]:
    """Within, products of float32 round their operands where dtype is tf32, whatever the process allows."""
    if device != "cuda":
        yield
        return
    switches = _switches(dtype == TF32)
    before = [getattr(where, name) for where, name, _ in switches]
    try:
        for where, name, value in switches:
            setattr(where, name, value)
        yield
    finally:
        for (where, name, _), value in zip(switches, before, strict=True):
            setattr(where, name, value)


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
