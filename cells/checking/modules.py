"""A torch module as somebody has it, compiled, scripted or of few bits, made ready to be run."""

from __future__ import annotations

import copy
import inspect
from typing import Any

KINDS = {  # what a module's arrays are, by the name of its class
    "LayerNorm": ("gain", "shift"),
    "RMSNorm": ("gain", "shift"),
    "GroupNorm": ("gain", "shift"),
    "Linear": ("weight", "bias"),
    "Conv1d": ("weight", "bias"),
}


def inner(module: Any) -> tuple[Any, list[str]]:
    """A copy of the module without torch.compile around it or its parts, and what was done, in words."""
    compiled = _compiled(module)
    module = copy.deepcopy(getattr(module, "_orig_mod", module))
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if hasattr(child, "_orig_mod"):
                compiled = True
                setattr(part, name, child._orig_mod)
    said = "torch.compile was taken off: the module inside was run"
    return module, [said] if compiled else []


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
    lazy = [name for name, leaf in module.named_parameters() if type(leaf).__name__ == "UninitializedParameter"]
    if lazy:
        raise ValueError(
            f"{label} has lazy layers: {lazy[0]} has no shape yet; run it once on an input of its size"
        )


def kinds(module: Any) -> dict[str, str]:
    """gain, shift, weight or bias of each array whose module's class says it."""
    found = {}
    for prefix, part in module.named_modules():
        names = KINDS.get(getattr(part, "original_name", type(part).__name__), ())
        for tail, kind in zip(("weight", "bias"), names, strict=False):
            found[f"{prefix}.{tail}".lstrip(".")] = kind
    return found


def signature(method: Any) -> inspect.Signature:
    """The arguments of a method, of a scripted or traced one too."""
    schema = getattr(method, "schema", None)
    if schema is None:
        return inspect.signature(method)
    parameters = []
    for argument in schema.arguments:
        if argument.name == "self":
            continue
        default = argument.default_value if argument.has_default_value() else inspect.Parameter.empty
        name = argument.name.replace(".", "_")
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        if name != argument.name or default is inspect.Parameter.empty:
            kind = inspect.Parameter.POSITIONAL_ONLY  # a traced module's names are no Python names
        if any(p.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters):
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)
