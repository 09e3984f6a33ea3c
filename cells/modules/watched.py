"""One call of a model, watched: how often each submodule is called, what it returns, and what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from .flops import without_onednn
from .operations import Inside, Operations, Uncounted, memory


@dataclass
class Calls:
    """Of one submodule: how many, the shape of what the last one returned, and its state's numbers."""

    count: int = 0
    shape: str = ""
    state: int | None = None


@dataclass
class Watched:
    """What a call showed, by the name of the submodule. loops: called several times, without a state."""

    calls: dict[str, Calls]
    operations: Counter[str]
    loops: list[str]


@dataclass
class _Watch:
    """What the hooks share."""

    names: dict[nn.Module, str]
    steps: int
    sequences: int
    calls: dict[str, Calls] = field(default_factory=dict)
    inside: list[str] = field(default_factory=lambda: [""])
    returned: dict[str, set[int]] = field(default_factory=dict)  # memory, by module, of its last call
    back: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # memory and entries that came back
    held: list[Tensor] = field(default_factory=list)  # so that no other tensor takes their place

    def place(self) -> str:
        """The name of the innermost module that is being called."""
        return self.inside[-1]

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        name, given = self.names[module], _tensors((args, kwargs))
        self.inside.append(name)
        if isinstance(module, nn.RNNBase) and args and isinstance(args[0], Tensor) and args[0].ndim == 2:
            raise Uncounted(name, "it is given a sequence without a batch; x[:, None] makes a batch of one")
        for one in {memory(one): one for one in given}.values():
            if memory(one) in self.returned.get(name, ()) and not self.is_sequence(one):
                self.back.setdefault(name, []).append((memory(one), one.numel()))

    def after(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        name, tensors = self.names[module], _tensors(result)
        self.inside.pop()
        calls = self.calls.setdefault(name, Calls())
        calls.count += 1
        calls.shape = str(tuple(tensors[0].shape)) if tensors else ""
        given = {memory(one) for one in _tensors((args, kwargs))}  # returned as it was, as by dropout
        self.returned[name] = {memory(one) for one in tensors} - given
        self.held += tensors

    def is_sequence(self, tensor: Tensor) -> bool:
        """Whether it has an entry for each step, so that it is no state of one."""
        axes = {(self.steps, self.sequences), (self.sequences, self.steps)}
        return self.steps > 1 and tensor.ndim > 2 and tuple(tensor.shape[:2]) in axes


def watched(model: nn.Module, inputs: tuple[Any, ...], steps: int, sequences: int) -> Watched:
    """Calls the model. Raises ValueError, one line, for what cannot be counted, or a forward that fails."""
    watch = _Watch({module: name for name, module in model.named_modules()}, steps, sequences)
    operations = Operations(watch.place)
    with ExitStack() as stack:
        stack.enter_context(without_onednn())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(_hooked(watch))
        stack.enter_context(torch.no_grad())
        stack.enter_context(Inside(watch.place))
        stack.enter_context(operations)
        try:
            model(*inputs)
        except Uncounted:
            raise
        except Exception as error:  # somebody's code, which may raise anything
            kind = type(model).__name__
            raise ValueError(f"{kind} cannot be called with these inputs: {said(error)}") from None
    _add_states(watch)
    return Watched(watch.calls, operations.products + operations.rest, list(_loops(watch)))


def said(error: Exception, most: int = 200) -> str:
    """An error of somebody's code in one line, with so many characters of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most]}"


@contextmanager
def _hooked(watch: _Watch) -> Iterator[None]:
    handles = []
    for module in watch.names:
        handles.append(module.register_forward_pre_hook(watch.before, with_kwargs=True))
        handles.append(module.register_forward_hook(watch.after, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add_states(watch: _Watch) -> None:
    """Of torch's modules by their sizes; of somebody's own what came back, in the innermost that it did."""
    modules = {name: module for module, name in watch.names.items()}
    taken: set[int] = set()
    for name in sorted(watch.calls, key=lambda name: -name.count(".") - bool(name)):
        calls, back = watch.calls[name], watch.back.get(name, [])
        entries = sum(n for key, n in back if key not in taken)
        taken |= {key for key, _ in back}
        if size := _known(modules[name]):
            calls.state = size
        elif entries and _is_own(modules[name]):
            calls.state = entries // ((calls.count - 1) * watch.sequences)


def _is_own(module: nn.Module) -> bool:
    """Whether somebody wrote it: torch's layers are not recurrent, but for those that are known."""
    return not type(module).__module__.startswith("torch.")


def _known(module: nn.Module) -> int:
    """Numbers of the state of one sequence, of a recurrent module of torch; else 0."""
    if isinstance(module, nn.RNNCellBase):
        return module.hidden_size * (2 if isinstance(module, nn.LSTMCell) else 1)
    if not isinstance(module, nn.RNNBase):
        return 0
    gates = module.get_parameter("weight_hh_l0").shape[0] // module.hidden_size
    # of torch's layers, the one with four gates has a second state, which its projection leaves as it is
    h, c = module.proj_size or module.hidden_size, module.hidden_size * (gates == 4)
    return (h + c) * module.num_layers * (2 if module.bidirectional else 1)


def _loops(watch: _Watch) -> Iterator[str]:
    """Modules of somebody's own that are called several times, without a state in them or in any inside."""
    modules = {name: module for module, name in watch.names.items()}
    for name, calls in watch.calls.items():
        inner = [c for other, c in watch.calls.items() if other == name or other.startswith(f"{name}.")]
        if _is_own(modules[name]) and name and calls.count > 1 and all(c.state is None for c in inner):
            yield name


def _tensors(tree: Any) -> list[Tensor]:
    """Those of nested tuples, lists and dicts, of packed sequences their data."""
    leaves = [one.data if isinstance(one, PackedSequence) else one for one in tree_leaves(tree)]
    flat = [inner for one in leaves for inner in tree_leaves(one)]
    return [one for one in flat if isinstance(one, Tensor)]
