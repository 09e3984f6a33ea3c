"""What a CUDA graph does, without one: the operations of the capture again, on the same memory.

It also refuses what a graph cannot hold: values that the host needs, and memory of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# operations whose result the host waits for
FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_pinned", "unique")
REFUSAL = "CUDA error: operation not permitted when stream is capturing"


class SoftwareGraph:
    """Operations with their arrays, which `replay` does again."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def replay(self) -> None:
        """Does every operation again; what it makes anew goes where it was in the capture."""
        # what is replayed passes no Python of torch: a device does it alone
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for function, args, kwargs, result in self.operations:
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class _Capture(TorchDispatchMode):
    """Notes the operations of the block."""

    def __init__(self, graph: SoftwareGraph, of_host: Callable[[torch.Tensor], bool]) -> None:
        super().__init__()
        self.graph, self.of_host = graph, of_host

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(name in str(func) for name in FORBIDDEN):
            raise RuntimeError(f"{REFUSAL} ({func})")
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor) and tensor.dim() and self.of_host(tensor):
                raise RuntimeError(f"{REFUSAL} ({func} reads memory of the host)")
        result = func(*args, **kwargs)
        self.graph.operations.append((func, args, kwargs, result))
        return result


@contextmanager
def capturing(graph: SoftwareGraph, of_host: Callable[[torch.Tensor], bool]) -> Iterator[None]:
    """Captures the operations of the block; `of_host` says whether a tensor is memory of the host."""
    with _Capture(graph, of_host):
        yield
