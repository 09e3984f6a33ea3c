"""state_dicts of whole models: the recurrent module that a part of one is of, built again with its arrays.

A state_dict says names and shapes alone: 4 gates are an LSTM, 3 a GRU, 1 an RNN with tanh unless said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..find import nearest
from .layouts import Arrays
from .trees import below, flat

if TYPE_CHECKING:
    import torch

KINDS = {4: "LSTM", 3: "GRU", 1: "RNN"}
ENDS = ("weight_ih_l0", "weight_ih")
OTHERS = re.compile(r"parametrizations/|_raw$|_[gv]$|_orig$")  # weights that are computed from others


def module_of(given: Any, prefix: str | None = None, nonlinearity: str = "tanh") -> torch.nn.Module:
    """The RNN, LSTM, GRU or step module with the arrays of a state_dict, or of a file of one, in float64.

    Raises ValueError, with all paths, where several are under the prefix, and for arrays of no such module.
    """
    import torch

    arrays = flat(given)
    place = _place(arrays, prefix)
    held = {name: value for name, value in below(arrays, place).items() if "/" not in name}
    label = place.replace("/", ".") or "the state_dict"
    base, options = _class(held, label)
    if base.startswith("RNN"):
        options["nonlinearity"] = nonlinearity
    module = getattr(torch.nn, base)(**options, dtype=torch.float64)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    _check(held, wanted, label, base)
    module.load_state_dict({name: torch.as_tensor(_plain(held[name])) for name in wanted})
    return module


def _plain(array: Any) -> Any:
    return array if hasattr(array, "detach") else array.copy()


def places_of(arrays: Arrays) -> list[str]:
    """The paths of the recurrent modules of a state_dict."""
    return list(dict.fromkeys(p.rpartition("/")[0] for p in arrays if p.rpartition("/")[2] in ENDS))


def _place(arrays: Arrays, prefix: str | None) -> str:
    """The path of the one recurrent module under the prefix."""
    computed = [path for path in arrays if re.search(r"weight_[ih]h", path) and OTHERS.search(path)]
    wanted = (prefix or "").replace(".", "/").strip("/")
    places = [p for p in places_of(arrays) if not wanted or f"/{wanted}/" in f"/{p}/"]
    dotted = [place.replace("/", ".") for place in places_of(arrays)]
    beside = [path for path in computed if not wanted or f"/{wanted}/" in f"/{path}"]
    if beside and (not places or any(path.startswith(places[0]) for path in beside)):
        raise ValueError(
            f"{beside[0].replace('/', '.')} is a part from which a weight is computed (weight_norm, weight"
            " drop); remove the parametrization first (torch.nn.utils.parametrize.remove_parametrizations)"
        )
    if not dotted:
        raise ValueError(
            f"no recurrent module in {', '.join(list(arrays)[:4]).replace('/', '.') or 'no arrays'}; there"
            " must be weight_ih_l0 and weight_hh_l0, or weight_ih and weight_hh, behind any prefix"
        )
    if not places:
        raise ValueError(
            f"no recurrent module under prefix {prefix!r}{nearest(str(prefix), dotted)}"
            f" there are {', '.join(dotted)}"
        )
    if len(places) > 1:
        found = [place.replace("/", ".") for place in places]
        raise ValueError(
            f"there are {len(found)} recurrent modules: {', '.join(found)}; say which: prefix={found[0]!r}"
        )
    return places[0]


def _class(held: Arrays, label: str) -> tuple[str, dict[str, Any]]:
    """The class in torch.nn whose arrays these are, and its constructor's arguments."""
    step = "weight_ih" in held
    suffix = "" if step else "_l0"
    first, second = held[f"weight_ih{suffix}"], held.get(f"weight_hh{suffix}")
    if second is None or len(first.shape) != 2 or len(second.shape) != 2:
        raise ValueError(f"{label} has no matrices weight_ih{suffix} and weight_hh{suffix} of one module")
    projected = held.get("weight_hr_l0")
    hidden = int((second if projected is None else projected).shape[1])
    kind = KINDS.get(first.shape[0] // hidden)
    if kind is None or first.shape[0] % hidden:
        raise ValueError(
            f"{label}: weight_ih{suffix} is {tuple(first.shape)} with {hidden} units; it must have 4"
            " (LSTM), 3 (GRU) or 1 (RNN) rows a unit"
        )
    options: dict[str, Any] = {"input_size": int(first.shape[1]), "hidden_size": hidden}
    options["bias"] = f"bias_ih{suffix}" in held or f"bias_hh{suffix}" in held
    if step:
        return f"{kind}Cell", options
    options["num_layers"] = 1 + max(int(n) for name in held for n in re.findall(r"^weight_ih_l(\d+)", name))
    options["bidirectional"] = "weight_ih_l0_reverse" in held
    if projected is not None:
        options["proj_size"] = int(projected.shape[0])
    return kind, options


def _check(held: Arrays, wanted: dict[str, tuple[int, ...]], label: str, base: str) -> None:
    """Raises ValueError, naming the arrays, unless these are a module's."""
    if missing := [name for name in wanted if name not in held]:
        raise ValueError(f"{label} has no {', '.join(missing)}, which a torch.nn.{base} of its arrays has")
    if surplus := [name for name in held if name not in wanted]:
        raise ValueError(f"{label} has {', '.join(surplus)}, which no torch.nn.{base} has")
    for name, shape in wanted.items():
        if tuple(held[name].shape) != shape:
            raise ValueError(f"{label}: {name} is {tuple(held[name].shape)}; it must be {shape}")
        if not _floating(held[name]):
            raise ValueError(f"{label}: {name} is of dtype {held[name].dtype}; it must be real floating")


def _floating(array: Any) -> bool:
    return array.is_floating_point() if hasattr(array, "detach") else array.dtype.kind == "f"
