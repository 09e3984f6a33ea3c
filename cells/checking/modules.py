"""A torch module as somebody has it, compiled, scripted or of few bits, made ready to be run."""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable
from typing import Any

from ..cell import GatedCell
from ..exchange.layouts import TORCH

LOW = ("bfloat16", "float16")  # formats of so few bits that little would show in them alone
TAKEN_OFF = "torch.compile was taken off: what is inside was run"
WRAPPERS = ("DataParallel", "DistributedDataParallel")  # of a module for several devices
KINDS = {  # what a module's arrays are, by the name of its class
    "LayerNorm": ("gain", "shift"),
    "RMSNorm": ("gain", "shift"),
    "GroupNorm": ("gain", "shift"),
    "Linear": ("weight", "bias"),
    "Conv1d": ("weight", "bias"),
}


def inner(module: Any) -> tuple[Any, list[str]]:
    """A copy of the module without torch.compile around it or its parts, and what was done, in words."""
    said, compiled = [], False
    while type(module).__name__ in WRAPPERS or _compiled(module):
        if type(module).__name__ in WRAPPERS:
            said.append(f"{type(module).__name__} was taken off: what is inside was run")
            module = module.module
            continue
        compiled = True
        if not hasattr(module, "_orig_mod"):
            break
        module = module._orig_mod
    module = copied(module)
    for part in list(module.modules()):
        if getattr(part, "_compiled_call_impl", None) is not None:
            compiled = True
            part._compiled_call_impl = None  # it would run the module that was copied
        for name, child in list(part.named_children()):
            if hasattr(child, "_orig_mod"):
                compiled = True
                setattr(part, name, child._orig_mod)
    return module, said + [TAKEN_OFF] * compiled


def plain_weights(module: Any) -> list[str]:
    """Weights that are computed from others become arrays of their own; what was done, in words.

    The module is changed. It must be in eval mode, where a spectral norm stays as it is.
    """
    from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm

    older = {"WeightNorm": remove_weight_norm, "SpectralNorm": remove_spectral_norm}
    removed = []
    for prefix, part in list(module.named_modules()):
        held = list(part.parametrizations) if parametrize.is_parametrized(part) else []
        for name in held:
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        for hook in list(getattr(part, "_forward_pre_hooks", {}).values()):
            if remove := older.get(type(hook).__name__):
                remove(part, hook.name)
                held.append(hook.name)
        removed += [f"{prefix}.{name}".lstrip(".") for name in held]
    return [f"computed from other arrays, and run as it comes out: {', '.join(removed)}"] if removed else []


def copied(module: Any) -> Any:
    """A copy that shares nothing with the module. Raises ValueError where it holds what has no copy."""
    if not scripted(module):
        try:
            return copied_whole(module)
        except RuntimeError:  # a tensor with a graph is kept in it
            return _without_graphs(module)
    import torch

    buffer = io.BytesIO()  # copy.deepcopy makes parameters that are no leaves
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer, map_location="cpu")


def copied_whole(given: Any) -> Any:
    """A deep copy. Raises ValueError, one line, where an object holds what has none, such as a lock."""
    try:
        return copy.deepcopy(given)
    except TypeError as error:
        kind = label(given)
        raise ValueError(
            f"{kind} cannot be copied ({error}); give its class, FILE:{kind}, or leave that out"
        ) from None


def _without_graphs(module: Any) -> Any:
    """A copy whose kept tensors have no graph."""
    import torch

    memo: dict[int, Any] = {}

    def visit(value: Any) -> None:
        if isinstance(value, torch.Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, list | tuple):
            for each in value:
                visit(each)
        elif isinstance(value, dict):
            for each in value.values():
                visit(each)

    for part in module.modules():
        visit({k: v for k, v in vars(part).items() if k not in ("_parameters", "_modules")})
    return copy.deepcopy(module, memo)


def undone(module: Any) -> Callable[[], None]:
    """Undoes what calls leave in attributes and buffers of the module and its parts, such as a kept state."""
    parts = [] if scripted(module) else list(module.modules())
    before = [(part, _own(part), {k: v.clone() for k, v in _buffers(part).items()}) for part in parts]

    def undo() -> None:
        for part, own, buffers in before:
            for name in set(_own(part)) - set(own):
                delattr(part, name)
            vars(part).update(_fresh(own))
            part._buffers.update({name: value.clone() for name, value in buffers.items()})

    return undo


def _own(part: Any) -> dict[str, Any]:
    """The attributes that somebody's code gave a part."""
    return _fresh({name: value for name, value in vars(part).items() if not name.startswith("_")})


def _fresh(own: dict[str, Any]) -> dict[str, Any]:
    """The same, with lists and dicts that later calls do not change."""
    return {k: copy.copy(v) if isinstance(v, list | dict) else v for k, v in own.items()}


def _buffers(part: Any) -> dict[str, Any]:
    return {name: value for name, value in part._buffers.items() if value is not None}


def scripted(module: Any) -> bool:
    """Whether the module is one of TorchScript."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def scripted_forward(module: Any) -> Any:
    """What a scripted module computes; torch.nn.GRU and LSTM alone have forwards for two kinds of input."""
    names = module._c._method_names()
    return module._c._get_method("forward" if "forward" in names else "forward__0")


def label(module: Any) -> str:
    """The name of the module's class, of a scripted or traced one as it was written."""
    kind = type(module)
    if hasattr(module, "parametrizations"):  # whose class was made for it
        kind = kind.__base__ or kind
    return str(getattr(module, "original_name", kind.__name__))


def _compiled(module: Any) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def check_held(module: Any, label: str) -> None:
    """Raises ValueError where the arrays hold no values."""
    empty = [name for name, leaf in module.named_parameters() if leaf.is_meta]
    empty += [name for name, held in module.named_buffers() if held.is_meta]
    if empty:
        raise ValueError(
            f"{label} is on the meta device, where {empty[0]} holds no values; give it some first:"
            " module.to_empty(device='cpu'), then module.load_state_dict(...)"
        )
    lazy = [
        name for name, leaf in module.named_parameters() if type(leaf).__name__ == "UninitializedParameter"
    ]
    if lazy:
        raise ValueError(
            f"{label} has lazy layers: {lazy[0]} has no shape yet; run it once on an input of its size"
        )


def kinds(module: Any) -> dict[str, str]:
    """gain, shift, weight or bias of each array whose module's class says it."""
    found = {}
    for prefix, part in module.named_modules():
        names = KINDS.get(label(part), ())
        for tail, kind in zip(("weight", "bias"), names, strict=False):
            found[f"{prefix}.{tail}".lstrip(".")] = kind
    return found


def signature(method: Any) -> inspect.Signature:
    """The arguments of a method, of a scripted or traced one too."""
    schema = getattr(method, "schema", None)
    if schema is None:
        return inspect.signature(method)
    kinds, parameters = inspect._ParameterKind, list[inspect.Parameter]()
    for argument in schema.arguments:
        if argument.type.kind() == "ClassType":  # self, whatever it is called
            continue
        default = argument.default_value if argument.has_default_value() else inspect.Parameter.empty
        # a traced module's names may be no Python names, so that arguments are given in their order
        named = any(p.kind is kinds.POSITIONAL_OR_KEYWORD for p in parameters)
        optional = default is not inspect.Parameter.empty
        kind = kinds.POSITIONAL_OR_KEYWORD if optional or named else kinds.POSITIONAL_ONLY
        parameters.append(inspect.Parameter(argument.name.replace(".", "_"), kind, default=default))
    return inspect.Signature(parameters)


def check_kind(module: Any, cell: GatedCell) -> None:
    """Raises ValueError where the one module of torch.nn in it is of another kind or stack than the cell.

    Its arrays would be read as others, or the call end in an error of torch.
    """
    import torch

    found = [part for part in module.modules() if isinstance(part, torch.nn.RNNBase)]
    known = cell.torch_module()
    if len(found) != 1 or scripted(module):
        return
    part = found[0]
    kind, name = type(part).__name__, label(part)
    if part.proj_size:
        raise ValueError(
            f"{name} has proj_size {part.proj_size}, and cell {cell.name!r} has no projection; check it with"
            " proj_size=0"
        )
    spec = TORCH[part.mode.partition("_")[0]]
    depth = f":layers={part.num_layers}" if part.num_layers > 1 else ""
    depth += ":bidirectional=true" if part.bidirectional else ""
    if (part.num_layers, part.bidirectional) != (cell.layers, cell.bidirectional):
        own = cell.name if known is None or known[0] == kind else spec
        raise ValueError(
            f"{name} has {_stack(part.num_layers, part.bidirectional)}, and {cell.name!r} was asked for with"
            f" {_stack(cell.layers, cell.bidirectional)}; check it --against {own}{depth}"
        )
    if known is not None and known[0] != kind and kind in ("RNN", "LSTM", "GRU"):
        raise ValueError(f"{name} is a torch.nn.{kind}, not {cell.name!r}; check it --against {spec}{depth}")


def _stack(depth: int, both: bool) -> str:
    layers = f"{depth} layer{'s' * (depth > 1)}"
    return f"{layers} of {'both directions' if both else 'one direction'}"
