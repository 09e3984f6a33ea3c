"""A CUDA device that is not there: tensors on the CPU that count as lying on `cuda`.

Inside `pretend_cuda()` programs for `cuda` run as they would on one. What a device would refuse is refused:
operands on two devices, a NumPy array of a device's tensor. Transfers between host and device are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .software_graph import SoftwareGraph, capturing

CAPABILITY, PROCESSORS = (9, 0), 132  # those of an H100
NAME = "pretended H100"
DEVICE = torch.device("cuda", 0)
# what brings a value to the host, and waits for the device
READS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__")
MOVES = ("to", "cuda", "cpu")


class Pretended(TorchFunctionMode):
    """Marks the storage of tensors that would be on the device, and counts transfers from and to the host."""

    def __init__(self) -> None:
        super().__init__()
        # a weak reference keeps the address from being given away again, and lets go of the memory
        self.marked: dict[int, StorageWeakRef] = {}
        self.hosted: dict[int, StorageWeakRef] = {}
        self.transfers = 0

    def allocated(self) -> int:
        """Bytes of all storages on the device."""
        there = (kept for kept in self.marked.values() if not kept.expired())
        return sum(torch.UntypedStorage._new_with_weak_ptr(kept.cdata).nbytes() for kept in there)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor counts as on the device."""
        return address(tensor) in self.marked

    def is_of_host(self, tensor: torch.Tensor) -> bool:
        """Whether Python made the tensor on the host. What autograd keeps to itself is of no side."""
        return address(tensor) in self.hosted

    def mark(self, value: Any, on_device: bool = True) -> None:
        """Has every tensor in the value count as on the device, or as on the host."""
        here, there = (self.marked, self.hosted) if on_device else (self.hosted, self.marked)
        for tensor in tensors_of(value):
            if on_device or address(tensor) not in there:
                here[address(tensor)] = StorageWeakRef(tensor.untyped_storage())
                there.pop(address(tensor), None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", str(func))
        if name == "__get__" and (answer := self.attribute(func, args[0])) is not None:
            return answer
        given = tensors_of((args, kwargs))
        if name in ("numpy", "__array__") and self.holds(given[0]):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to"
                " host memory first."
            )
        if name in READS and self.holds(given[0]):
            self.transfers += 1
        target = target_of(name, args, kwargs)
        if target is not None:
            return self.moved_or_made(func, name, target, args, kwargs)
        self.check_together(name, given)
        result = func(*args, **kwargs)
        self.mark(result, any(map(self.holds, given)))
        return result

    def attribute(self, func: Any, tensor: torch.Tensor) -> Any:
        """What `device` and `is_cuda` of a tensor on the device say; None for anything else."""
        if not self.holds(tensor):
            return None
        of = getattr(func, "__self__", None)
        known = {torch.Tensor.device: DEVICE, torch.Tensor.is_cuda: True, torch.Tensor.is_cpu: False}
        return known.get(of)

    def moved_or_made(
        self, func: Any, name: str, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call that names a device: a new tensor there, or one that moves between it and the host."""
        args, kwargs = tree_map(on_host, args), tree_map(on_host, kwargs)
        source: Any = args[0] if name in MOVES else None
        result = source if name == "cuda" else func(*args, **kwargs)
        if source is not None and self.holds(source) != (target == "cuda"):
            self.transfers += 1
            result = result.clone() if address(result) == address(source) else result
        self.mark(result, target == "cuda")
        return result

    def check_together(self, name: str, given: list[torch.Tensor]) -> None:
        """Raises what torch does for operands on two devices; numbers of no axis may be anywhere."""
        where = {self.holds(tensor) for tensor in given if tensor.dim()}
        if len(where) < 2:
            return
        if name in ("copy_", "set_data", "__set__", "__setitem__"):
            self.transfers += name == "copy_" or name == "__setitem__"
            return
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
            f" (in {name})"
        )


def address(tensor: torch.Tensor) -> int:
    """Of the storage that the tensor is a view of."""
    return tensor.untyped_storage()._cdata


def tensors_of(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def kind_of(device: Any) -> str | None:
    """cuda or cpu where the value names a device, else None."""
    if not isinstance(device, (str, torch.device)):
        return None
    kind = str(device).partition(":")[0]
    return kind if kind in ("cuda", "cpu") else None


def target_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The device that a call asks for by name, or None."""
    if name in ("cuda", "cpu"):
        return name
    named = [kwargs.get("device"), *(args[1:] if name == "to" else ())]
    return next((kind for kind in map(kind_of, named) if kind), None)


def on_host(value: Any) -> Any:
    """The CPU for a device's name; anything else as it is."""
    return torch.device("cpu") if kind_of(value) == "cuda" else value


@contextmanager
def pretend_cuda(patches: Iterable[tuple[Any, str, Any]] = ()) -> Iterator[Pretended]:
    """A device for the time of a block. `patches` (object, name, value) hold as long."""
    device = Pretended()

    @contextmanager
    def graph(cuda_graph: SoftwareGraph, pool: Any = None, **options: Any) -> Iterator[None]:
        with capturing(cuda_graph, device.is_of_host):
            yield

    with ExitStack() as stack:
        for name, value in (_cuda() | {"graph": graph, "memory_allocated": device.allocated}).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        # a build without cuDNN warns where it is asked
        stack.enter_context(mock.patch.object(torch.backends.cudnn, "is_acceptable", lambda tensor: False))
        for owner, name, value in patches:
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(device)
        yield device


def _cuda() -> dict[str, Callable[..., Any]]:
    """What programs ask torch.cuda for."""
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "synchronize": lambda *_: None,
        "get_device_capability": lambda *_: CAPABILITY,
        "get_device_name": lambda *_: NAME,
        "get_device_properties": lambda *_: SimpleNamespace(name=NAME, multi_processor_count=PROCESSORS),
        "graph_pool_handle": lambda: (0, 0),
        "CUDAGraph": SoftwareGraph,
        "Stream": _Stream,
        "current_stream": _Stream,
        "stream": lambda stream: nullcontext(),
    }


class _Stream:
    """The one stream that there is."""

    def __init__(self, *_: Any) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """Everything before is done."""
