"""How a model is called with a batch: a first state that forward asks for is found, a kept one put back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import Inputs, is_state, parameters
from .layers import FUSED, layers_of
from .states import HIDDEN, MAKERS, REFUSALS, for_batch, leaves, mapped

REFUSED = (*REFUSALS, KeyError, AssertionError, NotImplementedError)
Maker = Callable[[Inputs, int], list[Any]]  # first states from the inputs and the batch's size
EMPTY = (type(None), list, tuple, dict)  # what a state may be before the first call
RESETS = ("reset", "reset_state", "reset_states", "reset_hidden", "reset_hidden_state", "init_hidden")


class Call:
    """A call of the model with a batch's inputs, and with a first state where forward asks for one."""

    def __init__(self, model: nn.Module, state: Any) -> None:
        self.model, self.state = model, state
        self.completed: Callable[[Inputs], Inputs] | None = None

    def __call__(self, inputs: Inputs) -> Any:
        """What the model returns. Raises ValueError where it does not run, with its own refusal."""
        if self.completed is None:
            self.completed = self._found(inputs)
        with kept_state(self.model):
            try:
                return self.completed(inputs).call(self.model)
            except REFUSED as error:
                raise ValueError(refusal(self.model, inputs, error)) from error

    def _found(self, inputs: Inputs) -> Callable[[Inputs], Inputs]:
        """The first way of calling that runs: as given, with first states, with a kept one reset."""
        first: Exception | None = None
        for reset in (False, True):
            if reset and not _reset(self.model, _batch(inputs, self.model)):
                break
            for complete in self._ways(inputs):
                try:
                    with torch.no_grad(), kept_state(self.model):
                        complete(inputs).call(self.model)
                    return complete
                except REFUSED as error:
                    # what forward itself says of missing arguments is the least of its refusals
                    first = error if first is None or "required positional" in str(first) else first
        assert first is not None
        raise ValueError(refusal(self.model, inputs, first)) from first

    def _ways(self, inputs: Inputs) -> list[Callable[[Inputs], Inputs]]:
        missing = _missing(self.model, inputs)
        if self.state is not None:
            names = missing or [p.name for p in parameters(self.model) if is_state(p)][:1]
            given_state: Maker = lambda _, batch: [for_batch(self.state, batch)]  # noqa: E731
            return self._completing(names[:1], [given_state])
        if not missing:
            return [lambda given: given]
        return self._completing(missing, self._makers(len(missing)))

    def _completing(self, names: list[str], makers: list[Maker]) -> list[Callable[[Inputs], Inputs]]:
        """First for the batch where the parts say that it is, then for the other axis."""
        return [
            lambda given, maker=maker, other=other: _with(  # type: ignore[misc]
                given, names, maker(given, _batch(given, self.model, other))
            )
            for other in (False, True)
            for maker in makers
        ]

    def _makers(self, count: int) -> list[Maker]:
        """First states: of the model's own methods, None, and zeros of the shapes that its parts take."""
        makers: list[Maker] = []
        for name in MAKERS:
            if callable(made := getattr(self.model, name, None)):
                makers += [_method(made, True, count), _method(made, False, count)]
        makers.append(lambda x, batch: [None] * count)
        makers += [
            partial(_zeros, shape=shape, pair=pair, count=count) for shape, pair in _shapes(self.model)
        ]
        return makers


def refusal(model: nn.Module, inputs: Inputs, error: Exception) -> str:
    """One line: what was tried, what torch or the model said, and the next step."""
    shapes = ", ".join(str(s) for s in inputs.shapes)
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = lines[-1] if "TorchScript" in lines[0] else lines[0]  # which puts its own traceback first
    return (
        f"{type(model).__name__} does not run on inputs of shape {shapes} ({said}); give batches of what"
        " forward takes, ((x, more), target), and its first state with state="
    )


def _missing(model: nn.Module, inputs: Inputs) -> list[str]:
    """Arguments that forward needs and the batch does not have."""
    rest = parameters(model)[len(inputs.args) :]
    return [p.name for p in rest if p.default is inspect.Parameter.empty and p.name not in inputs.kwargs]


def _with(inputs: Inputs, names: list[str], values: list[Any]) -> Inputs:
    named = {**inputs.kwargs, **dict(zip(names, values, strict=False))}
    return Inputs(inputs.args, named, inputs.starts)


def _as_many(state: Any, count: int) -> list[Any]:
    return list(state) if count > 1 and isinstance(state, (tuple, list)) else [state] * count


def _batch(inputs: Inputs, model: nn.Module, other: bool = False) -> int:
    if (packed := inputs.packed) is not None:
        return int(packed.batch_sizes[0])
    first = is_batch_first(model) != other
    return inputs.first.shape[0 if first else min(1, inputs.first.ndim - 1)]


def is_batch_first(model: nn.Module) -> bool:
    """As the fused modules say; else as the model itself does."""
    inner = [m.batch_first for m in model.modules() if isinstance(m, FUSED)]
    return bool(inner[0] if inner else getattr(model, "batch_first", False))


def _shapes(model: nn.Module) -> list[tuple[tuple[int, ...], bool]]:
    """(shape with -1 for the batch, whether a pair), of every recurrent part and of hidden_size."""
    shapes: list[tuple[tuple[int, ...], bool]] = []
    for m in model.modules():
        if isinstance(m, FUSED):
            layers = m.num_layers * (2 if m.bidirectional else 1)
            shapes.append(((layers, -1, m.hidden_size), len(layers_of(m).cell.states) == 2))
        elif isinstance(m, nn.RNNCellBase):
            shapes.append(((-1, m.hidden_size), isinstance(m, nn.LSTMCell)))
        elif isinstance(size := getattr(m, HIDDEN, None), int):
            shapes += [((-1, size), False), ((-1, size), True), ((1, -1, size), False), ((1, -1, size), True)]
    return shapes


def _method(made: Callable, sized: bool, count: int) -> Maker:
    return lambda inputs, batch: _as_many(made(batch) if sized else made(), count)


def _zeros(inputs: Inputs, batch: int, shape: tuple[int, ...], pair: bool, count: int) -> list[Any]:
    sizes = [batch if n < 0 else n for n in shape]

    def zero() -> Tensor:
        return torch.zeros(sizes, device=inputs.device, dtype=torch.get_default_dtype())

    if count > 1:
        return [zero() for _ in range(count)]
    return [(zero(), zero()) if pair else zero()]


def holds_tensors(value: Any) -> bool:
    return bool(leaves(value)) and not isinstance(value, nn.Parameter)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Tensors that a module holds beside its parameters: kept states, as attributes or as buffers."""
    skipped = ("_parameters", "_buffers", "_modules", "_flat_weights")
    return {k: v for k, v in vars(module).items() if k not in skipped and holds_tensors(v)}


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """What a module keeps from call to call is after it as it was before."""
    before = [(m, _attributes(m), dict(m._buffers)) for m in model.modules()]
    copies = [(mapped(a, Tensor.clone), mapped(b, Tensor.clone)) for _, a, b in before]
    empty = [{k: copy(v) for k, v in vars(m).items() if isinstance(v, EMPTY)} for m, _, _ in before]
    try:
        yield
    finally:
        for (module, _, _), (attributes, buffers), others in zip(before, copies, empty, strict=True):
            for name in _attributes(module).keys() - attributes.keys():
                vars(module).pop(name)
                if name in others:
                    vars(module)[name] = others[name]
            vars(module).update(attributes)
            for name, value in buffers.items():
                if module._buffers[name] is not value:
                    module._buffers[name] = value


def _reset(model: nn.Module, batch: int) -> bool:
    """Forgets a kept state; whether there was one."""
    kept = [(m, name) for m in model.modules() for name in _attributes(m)]
    if not kept:
        return False
    for name in RESETS:
        for arguments in ((), (batch,)):
            if callable(method := getattr(model, name, None)):
                try:
                    if leaves(method(*arguments)):
                        continue
                    return True
                except REFUSED:
                    continue
    for module, name in kept:
        vars(module)[name] = None
    return True
