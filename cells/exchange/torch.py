"""torch.nn's RNN, LSTM, GRU and their step modules.

Names, shapes and gate order are the cells' own: arrays pass as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from .files import told_of
from .layouts import TORCH, Arrays, float64
from .torch_state import module_of

if TYPE_CHECKING:
    import torch


def from_torch(
    module: Any, *, prefix: str | None = None, nonlinearity: str = "tanh"
) -> tuple[GatedCell, Arrays]:
    """The cell that a torch.nn.RNN, LSTM, GRU or a step module of these computes, and its weights in float64.

    module may also be the state_dict of a model that has one such part, or a file of it (.safetensors, .pt);
    of several parts, prefix names one ('encoder.rnn'). nonlinearity is that of an RNN in a state_dict, which
    does not say it. batch_first and dropout are no part of a cell, which takes (T, B, I). Raises ValueError,
    naming class and array, for a module that is none of these or whose weights are not what its class and
    attributes say.
    """
    from ..catalogue import get

    if isinstance(module, Mapping | str | Path):
        with told_of(module, "file of a state_dict"):
            module = module_of(module, prefix, nonlinearity)
    base = _base(module)
    kind = base.__name__.removesuffix("Cell")
    what = (
        type(module).__name__
        if type(module) is base
        else f"{type(module).__name__} (a torch.nn.{base.__name__})"
    )
    options = _options(module, kind, what)
    try:
        cell = get(TORCH[kind], **options)
        shapes = cell.parameter_shapes(module.input_size, module.hidden_size)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    suffix = "" if cell.stacked or base.__name__.endswith("Cell") else "_l0"
    expected = {name + suffix: shape for name, shape in shapes.items()}
    surplus = [name for name, _ in module.named_parameters() if name not in expected]
    if surplus:
        raise ValueError(
            f"{what} has {', '.join(surplus)}, which its attributes do not say; they say"
            f" {', '.join(expected)}"
        )
    return cell, {
        name.removesuffix(suffix): _weight(module, what, name, shape) for name, shape in expected.items()
    }


def to_torch(cell: GatedCell, params: Arrays) -> torch.nn.Module:
    """The torch.nn module that computes the cell, in float64, with these weights.

    torch.nn has two biases or none: the only bias of a cell goes to bias_ih, and bias_hh is zero. Raises
    ValueError for a cell that torch.nn has no module for, and for a read-out.
    """
    import torch

    known = cell.torch_module()
    if known is None:
        raise ValueError(f"torch.nn has no module for cell {_spec(cell)}; it has {', '.join(TORCH.values())}")
    kind, options = known
    if cell.readout:
        raise ValueError(
            f"cell {_spec(cell)} has a read-out, and torch.nn.{kind} has none; give it with readout=0"
        )
    sizes = cell.sizes(params)
    stack = {"num_layers": cell.layers, "bidirectional": cell.bidirectional} if cell.stacked else {}
    with torch.random.fork_rng(devices=[]):
        module = getattr(torch.nn, kind)(*sizes, bias=cell.biases > 0, dtype=torch.float64, **options | stack)
    with torch.no_grad():
        for name, leaf in module.named_parameters():
            given = params.get(name if stack else name.removesuffix("_l0"))
            leaf.copy_(torch.from_numpy(np.zeros(leaf.shape) if given is None else float64(given)))
    return module


def _spec(cell: GatedCell) -> str:
    return repr(":".join(text for text in (cell.name, cell.options) if text))


def _base(module: Any) -> type:
    """The module's class in torch.nn. Raises ValueError for another class, and for a forward of its own."""
    import torch

    allowed = ", ".join((*TORCH, *(f"{kind}Cell" for kind in TORCH)))
    for base in (getattr(torch.nn, kind + end) for kind in TORCH for end in ("", "Cell")):
        if isinstance(module, base):
            # a module whose kernels were swapped computes what the class that it names does
            made_from = vars(type(module)).get("original", type(module))
            if made_from.forward is not base.forward or "forward" in vars(module):
                raise ValueError(
                    f"{type(module).__name__} has a forward that is not torch.nn.{base.__name__}'s, so its"
                    f" weights do not say what it computes; load them into a torch.nn.{base.__name__}"
                )
            return base
    given = (
        module.__qualname__
        if isinstance(module, type)
        else f"a {type(module).__module__}.{type(module).__qualname__}"
    )
    raise ValueError(
        f"from_torch takes a module of torch.nn: {allowed}; it was given {given}; of a model give its"
        " state_dict(), with prefix='NAME' where several of its parts are recurrent"
    )


def _options(module: Any, kind: str, what: str) -> dict[str, Any]:
    """The cell's options from the module's attributes."""
    options: dict[str, Any] = {"biases": 2 if module.bias else 0}
    if projected := getattr(module, "proj_size", 0):
        options["proj_size"] = projected
    if kind == "RNN":
        mode = getattr(module, "mode", None)  # nn.RNN's forward goes by it, RNNCell's by its nonlinearity
        options["activation"] = mode.removeprefix("RNN_").lower() if mode else module.nonlinearity
    if getattr(module, "num_layers", 1) != 1:
        options["layers"] = module.num_layers
    if getattr(module, "bidirectional", False):
        options["bidirectional"] = True
    return options


def _weight(module: Any, what: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One array in float64. Raises ValueError for one that is missing or not as it must be."""
    given = getattr(module, name, None)
    says = f"input_size {module.input_size} and hidden_size {module.hidden_size} say {shape}"
    if given is None or not hasattr(given, "is_floating_point"):
        raise ValueError(f"{what} has no {name}; {says}")
    if tuple(given.shape) != shape:
        raise ValueError(f"{what}: {name} is {tuple(given.shape)}; {says}")
    if given.is_meta:
        raise ValueError(f"{what}: {name} is on the device meta and has no values; load its weights first")
    return float64(real_floating(f"{what}: {name}", given))
