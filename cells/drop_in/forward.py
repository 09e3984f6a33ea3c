"""The forward of torch.nn.GRU and its kin, computed by a backend; see `Layers` for the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .. import catalogue
from ..cell import GatedCell
from ..programs.weights import elsewhere
from . import again, transforms, uncompiled
from .layers import Ends, Layers, States

KINDS = {"GRU": "gru", "LSTM": "lstm", "RNN_TANH": "elman", "RNN_RELU": "elman:activation=relu"}
_computed: dict[Any, Any] = {}  # the classes made so far
ROUND = 8  # packed sequences are padded to a multiple of so many steps, so that fewer programs are made


class Computed:
    """Mixed in before a class with torch.nn.RNNBase's attributes: the same calls, through `backend`.

    input is (T, B, I), (B, T, I) with batch_first, (T, I) or a PackedSequence, and hx what torch.nn takes,
    zeros where it is None. Returns the output and the last states, as torch.nn does.
    """

    backend: str = "numba"
    original: type[nn.Module] | None = None  # the class that this one stands in for, for pickle

    def cell(self) -> GatedCell:
        """The cell of the module, its layers and directions included."""
        return computes(self)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Output and last states. Raises ValueError, one line, for what torch.nn would not take either."""
        if uncompiled.wanted():
            return uncompiled.forward(self, input, hx)
        transforms.refuse()
        own = self.__dict__
        layers = own.get("_layers") or self._opened()
        held, alone = own["_parameters"], layers.alone
        if alone is not None and not torch.is_grad_enabled():
            known = alone.again
            if known is not None and (results := known(held, input, hx)):
                return results
        try:
            weights = [get(held) for get in layers.getters]
        except KeyError:  # a weight that is computed, such as a parametrized one, is an attribute
            weights = [[getattr(self, name) for name in names] for names in layers.names]
        if isinstance(input, PackedSequence):
            return self._packed(layers, input, hx, weights)
        x, batch_first = self._checked(input, weights[0][0]), own["batch_first"]
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(1)
        elif batch_first:
            x = x.transpose(0, 1)
        states = None if hx is None else self._states(layers, hx, x, batched)
        output, last = self._run(layers, x, states, weights, None)
        if alone is not None and not torch.is_grad_enabled():
            again.keep(alone, layers.getters[0], input, x, batch_first)
        if not batched:
            return output.squeeze(1), self._returned(tuple(state.squeeze(1) for state in last))
        return output.transpose(0, 1) if batch_first else output, self._returned(last)

    def _packed(
        self, layers: Layers, given: PackedSequence, hx: Any, weights: Sequence[Sequence[Tensor]]
    ) -> tuple[PackedSequence, Any]:
        """The sequences are computed padded, in the order in which they are packed: by their length."""
        self._checked(given.data, weights[0][0], 2)
        steps = -(-len(given.batch_sizes) // ROUND) * ROUND
        x, lengths = pad_packed_sequence(PackedSequence(given.data, given.batch_sizes), total_length=steps)
        states = None if hx is None else self._states(layers, hx, x, True)
        if states is not None and given.sorted_indices is not None:
            states = tuple(state.index_select(1, given.sorted_indices) for state in states)
        output, last = self._run(layers, x, states, weights, Ends(lengths, steps, x.dtype))
        data = pack_padded_sequence(output, lengths).data
        if given.unsorted_indices is not None:
            last = tuple(state.index_select(1, given.unsorted_indices) for state in last)
        return PackedSequence(
            data, given.batch_sizes, given.sorted_indices, given.unsorted_indices
        ), self._returned(last)

    def _run(self, layers: Layers, x: Tensor, states: Any, weights: Any, ends: Any) -> tuple[Tensor, States]:
        module: Any = self
        if not x.shape[1]:  # no sequence: one of zeros is computed, and nothing of it returned
            x, states = padded(x), states and tuple(map(padded, states))
            output, last = layers.run(x, states, weights, ends)
            return output[:, :0], tuple(state[:, :0] for state in last)
        dropout = module.dropout if module.training else 0.0
        return layers.run(x, states, weights, ends, dropout)

    def _opened(self) -> Layers:
        module: Any = self
        made = Layers(self.cell(), module.input_size, module.hidden_size, self.backend)
        self.__dict__["_layers"] = made
        return made

    def _checked(self, x: Any, weight: Tensor, axes: int | None = None) -> Tensor:
        """The input. Raises ValueError for one that is not of the module's size, dtype and device."""
        module: Any = self
        if not isinstance(x, Tensor):
            raise ValueError(f"input is {type(x).__name__}; it must be a tensor or a PackedSequence")
        if x.dim() not in ((2, 3) if axes is None else (axes,)) or x.shape[-1] != module.input_size:
            order = "(B, T, I)" if module.batch_first else "(T, B, I)"
            raise ValueError(
                f"input is {tuple(x.shape)}; it must be {order}, or (T, I) of one sequence, with I ="
                f" {module.input_size}"
            )
        if not x.numel() and not x.shape[1 if module.batch_first and x.dim() == 3 else 0]:
            raise ValueError(f"input is {tuple(x.shape)}; it must have at least one step")
        return placed("input", x, weight)

    def _states(self, layers: Layers, hx: Any, x: Tensor, batched: bool) -> States:
        """hx as a state of each name, each (layers * directions, B, units)."""
        names = layers.cell.states
        one, several = isinstance(hx, Tensor), isinstance(hx, tuple | list) and len(names) > 1
        given = (hx,) if one else tuple(hx) if several else ()
        if len(given) != len(names) or not all(isinstance(state, Tensor) for state in given):
            wanted = "one tensor" if len(names) == 1 else f"a tuple of {len(names)} tensors"
            raise ValueError(
                f"hx is a {type(hx).__name__}; cell {layers.cell.name!r} has the state{'s' * several}"
                f" {', '.join(names)}, given as {wanted}"
            )
        shapes = layers.state_shapes(x.shape[1])
        for name, state in zip(names, given, strict=True):
            expected = shapes[name] if batched else (shapes[name][0], *shapes[name][2:])
            if tuple(state.shape) != expected:
                raise ValueError(
                    f"state {name} of hx is {tuple(state.shape)}; it must be {expected}:"
                    f" (layers * directions, {'B, ' * batched}units)"
                )
        if not batched:
            given = tuple(state.unsqueeze(1) for state in given)
        return tuple(placed(f"state {n} of hx", s, x) for n, s in zip(names, given, strict=True))

    def _returned(self, last: States) -> Any:
        return last[0] if len(last) == 1 else last

    # what is copied and stored is the module without its programs

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_layers"}

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.original is None:
            return super().__reduce_ex__(protocol)
        return empty, (self.original,), self.__getstate__()

    def extra_repr(self) -> str:
        text = super().extra_repr()  # type: ignore[misc]  # of the module that this is mixed into
        return f"{text}, backend={self.backend}"


def padded(x: Tensor) -> Tensor:
    """x (n, B, ...) and a sequence of zeros, (n, B + 1, ...)."""
    return torch.cat([x, x.new_zeros(len(x), 1, *x.shape[2:])], 1)


def placed(what: str, tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor. Raises ValueError unless its device and dtype are those of `like`."""
    if not (tensor.is_cpu and like.is_cpu):
        name, each = (what, tensor) if like.is_cpu else ("the weight", like)
        raise ValueError(elsewhere(name, each))
    if tensor.layout is not torch.strided:
        raise ValueError(f"{what} is a sparse tensor; convert it with .to_dense()")
    if tensor.is_neg():  # a view with its sign still to come, such as the imaginary part of a conjugate
        tensor = tensor.resolve_neg()
    if tensor.dtype is like.dtype:
        return tensor
    if torch.is_autocast_enabled("cpu"):  # under which these kernels keep the weights' dtype
        return tensor.to(like.dtype)
    raise ValueError(
        f"{what} is {tensor.dtype}, and the module's weights are {like.dtype}; convert one of them with .to"
    )


def computes(module: Any) -> GatedCell:
    """The cell that a torch.nn module computes, its layers and directions included."""
    projected = f":proj_size={module.proj_size}" if module.proj_size else ""
    spec = KINDS[module.mode] + projected
    return stacked(spec, 2 if module.bias else 0, module.num_layers, module.bidirectional)


@lru_cache
def stacked(spec: str, biases: int, layers: int, bidirectional: bool) -> GatedCell:
    """The cell that a torch.nn module of these attributes computes."""
    return replace(catalogue.get(spec), biases=biases, layers=layers, bidirectional=bidirectional)


def computed(original: Any) -> Any:
    """The class that is `original` but for its forward, which this project computes."""
    if original not in _computed:
        body = {"__module__": __name__, "__doc__": original.__doc__, "original": original}
        _computed.setdefault(original, type(original.__name__, (Computed, original), body))
    return _computed[original]


def empty(original: type[nn.Module]) -> nn.Module:
    """What pickle and copy fill: a module of the class, without anything in it."""
    cls = computed(original)
    made: nn.Module = cls.__new__(cls)
    return made
