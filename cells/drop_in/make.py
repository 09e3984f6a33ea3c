"""A module from a cell's name and torch.nn's arguments."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from .. import catalogue
from ..cell import GatedCell
from ..contract import check_sizes, whole
from ..derived import layers
from ..find import nearest
from .forward import computed
from .gated import Gated
from .layers import unsupported

LAYOUT = ("num_layers", "bias", "batch_first", "dropout", "bidirectional", "device", "dtype")
STACK = ("layers", "bidirectional", "readout")  # options of a cell that its module takes otherwise
TORCHS = {"nonlinearity": "activation"}  # keyword of torch.nn -> the option of a cell


def make(
    spec: str | GatedCell,
    input_size: int,
    hidden_size: int,
    layout: dict[str, Any],
    backend: str,
    options: dict[str, Any],
) -> nn.Module:
    """The module; see `TorchModule`. layout holds torch.nn's arguments beside the sizes."""
    check(input_size, hidden_size, layout)
    cell = catalogue.get(spec)
    check_options(cell, options)
    cell = catalogue.get(spec, **options)
    if cell.stacked or cell.readout:
        raise ValueError(
            f"cell {cell.name!r} has {cell.options}; give layers as num_layers=, directions as"
            " bidirectional=, and put a read-out behind it as torch.nn.Linear"
        )
    if not layout["bias"]:
        cell = replace(cell, biases=0)
    if reason := unsupported(cell, backend):
        raise ValueError(reason)
    stack = replace(cell, layers=layout["num_layers"], bidirectional=layout["bidirectional"])
    if reason := layers.unfit(stack, input_size, hidden_size):
        raise ValueError(reason)
    layout = layout | {"dtype": dtype_of(layout["dtype"])}
    known = cell.torch_module()
    if known is not None and cell.biases != 1:
        kind, more = known
        layout |= {"bias": cell.biases == 2, "device": None}
        module = computed(getattr(torch.nn, kind))(input_size, hidden_size, **layout | more)
        module.backend = backend
        return module
    used = {k: layout[k] for k in ("batch_first", "dropout", "dtype", "bias")}
    return Gated(stack, input_size, hidden_size, **used, backend=backend)


def check(input_size: int, hidden_size: int, layout: dict[str, Any]) -> None:
    """Raises ValueError, one line, for an argument that is none of torch.nn's values."""
    check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=layout["num_layers"])
    for name in ("bias", "batch_first", "bidirectional"):
        if not isinstance(layout[name], bool):
            raise ValueError(f"{name} is {layout[name]!r}; it must be True or False")
    dropout = layout["dropout"]
    number = isinstance(dropout, float) or whole(dropout)
    if not number or math.isnan(dropout) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout is {dropout!r}; it must be a number from 0 to 1")
    if str(layout["device"]) not in ("None", "cpu", "cpu:0"):
        raise ValueError(f"device is {layout['device']!r}; these modules compute on the CPU alone")


def check_options(cell: GatedCell, options: dict[str, Any]) -> None:
    """Raises ValueError, one line, for a keyword that is neither torch.nn's nor an option of the cell."""
    names = [f.name for f in fields(cell) if f.init and f.name not in STACK]
    known = [*LAYOUT, *names]
    for key in options:
        if key in (*names, *STACK):
            continue
        instead = TORCHS.get(key)
        near = f"; torch.nn's {key} is {instead} here;" if instead in names else nearest(key, known)
        raise ValueError(
            f"torch_module takes no {key!r} for cell {cell.name!r}{near} it takes {', '.join(known)}"
        )


def dtype_of(dtype: torch.dtype | None) -> torch.dtype:
    """The dtype of the parameters. Raises ValueError for one that the kernels do not compute."""
    chosen = torch.get_default_dtype() if dtype is None else dtype
    if chosen not in (torch.float32, torch.float64):
        raise ValueError(f"dtype is {chosen!r}; it must be torch.float32 or torch.float64")
    return chosen
