"""FLOPs of a forward as torch runs it, each under the place where it ran; what is unknown is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# what only makes, moves or chooses entries, beside views and what takes no tensor
MOVES = {
    *(aten.clone, aten._to_copy, aten.copy_, aten.fill_, aten.zero_, aten.lift_fresh, aten._unsafe_view),
    *(aten.cat, aten.stack, aten.unsafe_split, aten.unsafe_split_with_sizes, aten.constant_pad_nd),
    *(aten.flip, aten.roll, aten.repeat, aten.tril, aten.triu, aten.masked_fill, aten.masked_fill_),
    *(aten.index, aten.index_select, aten.index_put, aten.index_put_, aten.gather, aten.embedding),
    *(aten.scatter, aten.scatter_, aten.masked_select, aten.nonzero, aten.where, aten.one_hot),
    *(aten.empty_like, aten.zeros_like, aten.ones_like, aten.full_like, aten.rand_like, aten.randn_like),
    *(aten.new_empty, aten.new_zeros, aten.new_ones, aten.new_full, aten.bernoulli, aten.bernoulli_),
    *(aten._pack_padded_sequence, aten._local_scalar_dense, aten.repeat_interleave, aten.resize_),
    *(aten.equal, aten.is_nonzero, aten.set_),
}
# one an entry of what is taken in
REDUCTIONS = {aten.sum, aten.prod, aten.amax, aten.amin, aten.max, aten.min, aten.argmax, aten.argmin}
REDUCTIONS |= {aten.any, aten.all, aten.cumsum, aten.cumprod}


def _mean(args: Any, out: Tensor) -> int:
    return args[0].numel() + out.numel()


def _variance(args: Any, out: Tensor) -> int:
    # the mean, the difference to it, its square, the sum of those, and a division
    return 4 * args[0].numel() + 2 * out.numel()


def _product(left: int) -> Callable[[Any, Tensor], int]:
    """Of a product whose left side is that argument."""
    return lambda args, out: 2 * out.numel() * args[left].shape[-1]


def _convolution(args: Any, out: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return 2 * (x if transposed else out).numel() * prod(weight.shape[1:])


Rules = dict[Any, Callable[[Any, Tensor], int]]
PRODUCTS: Rules = {
    **{op: _product(0) for op in (aten.mm, aten.bmm, aten.mv, aten.dot)},
    **{op: _product(1) for op in (aten.addmm, aten.addmm_, aten.baddbmm, aten.addmv)},
    aten.convolution: _convolution,
}
REST: Rules = {
    **{op: lambda args, out: args[0].numel() for op in REDUCTIONS},
    aten.mean: _mean,
    **dict.fromkeys((aten.var, aten.var_mean, aten.std, aten.std_mean), _variance),
}


LEAVING = {Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr}


class Uncounted(ValueError):
    """Why the operations of a module cannot be counted, in a line."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"operations of {place or 'the model'} cannot be counted: {why}")


class Operations(TorchDispatchMode):
    """Counts 2 a multiply-add in `products` and 1 an entry in `rest`, by what `place()` says at that time.

    A bias that a product adds is in `rest`. Raises Uncounted in the forward at an operation that is not
    known, or on complex numbers; not strict, such an operation is left out.
    """

    def __init__(self, place: Callable[[], str] = str, strict: bool = True) -> None:
        super().__init__()
        self.place, self.strict = place, strict
        self.products, self.rest = Counter[str](), Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, operation.overloadpacket
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        moves = operation.is_view or packet in MOVES or torch.Tag.inplace_view in operation.tags
        if not tensors or moves:
            return operation(*args, **kwargs)
        if not (packet in PRODUCTS or packet in REST or torch.Tag.pointwise in operation.tags):
            if (parts := self._parts(operation)) is None:
                return operation(*args, **kwargs)
            with self:  # counted by what it consists of
                return parts(*args, **kwargs)
        out = operation(*args, **kwargs)
        first = next(one for one in tree_leaves(out) if isinstance(one, Tensor))
        if self.strict and any(one.is_complex() for one in (first, *tensors)):
            raise Uncounted(self.place(), f"{packet} of complex numbers is not known here")
        self._count(packet, args, first)
        return out

    def _count(self, packet: Any, args: Any, out: Tensor) -> None:
        place = self.place()
        if packet not in PRODUCTS:
            self.rest[place] += REST[packet](args, out) if packet in REST else out.numel()
            return
        self.products[place] += PRODUCTS[packet](args, out)
        biased = args[2] is not None if packet is aten.convolution else len(args) > 2
        self.rest[place] += out.numel() * biased

    def _parts(self, operation: Any) -> Callable[..., Any] | None:
        if operation in decomposition_table:
            return decomposition_table[operation]
        if operation.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            return operation.decompose
        if not self.strict:
            return None
        raise Uncounted(
            self.place(),
            f"{operation.overloadpacket} is not known here; known are products, convolutions, elementwise"
            " operations, sums, and what consists of them",
        )


class Inside(TorchFunctionMode):
    """Raises Uncounted where floating numbers leave torch, for NumPy or a compiled kernel."""

    def __init__(self, place: Callable[[], str]) -> None:
        super().__init__()
        self.place = place

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in LEAVING and args[0].is_floating_point():
            raise Uncounted(
                self.place(),
                "it computes outside of torch; where kernels were swapped in, put torch's back by"
                " cells.torch_module.restore(model)",
            )
        return function(*args, **(kwargs or {}))


def memory(tensor: Tensor) -> int:
    """Where its numbers lie: the same for a tensor and for views of it."""
    return tensor.untyped_storage()._cdata
