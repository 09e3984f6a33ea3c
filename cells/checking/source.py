"""What the text of somebody's function says: which arrays it takes, and whether it is written in torch."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

from ..cell import GatedCell
from .names import roles, size_role


def uses_torch(function: Callable) -> bool:
    """Whether the function, or one of its module that it calls, names torch or something of it."""
    seen, todo = set(), [inspect.unwrap(function)]
    while todo:
        now = todo.pop()
        code = getattr(now, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        space = now.__globals__
        for name in code.co_names:
            value = space.get(name)
            home = (
                str(getattr(value, "__name__", ""))
                if inspect.ismodule(value)
                else str(getattr(value, "__module__", ""))
            )
            if home.split(".")[0] == "torch":
                return True
            if inspect.isfunction(value):
                todo.append(value)
    return False


def text(function: Callable) -> str:
    """The function's text and docstring, as far as they can be had."""
    try:
        return inspect.getsource(function) + (inspect.getdoc(function) or "")
    except (OSError, TypeError):
        return inspect.getdoc(function) or ""


def array_arguments(function: Callable, cell: GatedCell) -> tuple[list[str], str | None]:
    """Names of the arrays that a function takes, and of the argument that they are entries of, or None."""
    signature = inspect.signature(function)
    said_by = roles(signature.parameters, cell)
    collection = next((name for name, r in said_by.items() if r == "params"), None)
    if collection is not None:
        return entries(function, collection), collection
    return [
        n
        for n, p in signature.parameters.items()
        if said_by[n] is None
        and p.default is p.empty
        and p.kind <= p.KEYWORD_ONLY
        and p.kind != p.VAR_POSITIONAL
        and not size_role(n)
    ], None


def entries(function: Callable, argument: str) -> list[str]:
    """What a function takes from one of its arguments: p["W"], p.W, p.get("W"), or names it unpacks p into."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and _is(node.value, argument)
            and isinstance(node.slice, ast.Constant)
        ):
            found[str(node.slice.value)] = None
        elif (
            isinstance(node, ast.Subscript)
            and _is(node.value, argument)
            and isinstance(node.slice, ast.JoinedStr)
        ):
            found.update(dict.fromkeys(_formatted(node.slice, tree)))
        elif (
            isinstance(node, ast.Attribute)
            and _is(node.value, argument)
            and node.attr not in ("get", "values", "items", "keys")
        ):
            found[node.attr] = None
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and _is(node.func.value, argument)
            and node.args
        ):
            if isinstance(node.args[0], ast.Constant):
                found[str(node.args[0].value)] = None
        elif isinstance(node, ast.Assign) and (_is(node.value, argument) or _is_values(node.value, argument)):
            for target in node.targets:
                if isinstance(target, ast.Tuple):
                    found.update(dict.fromkeys(t.id for t in target.elts if isinstance(t, ast.Name)))
        elif isinstance(node, ast.Assign):
            found.update(dict.fromkeys(_several(node.value, argument)))
    return list(found)


def _several(value: ast.expr, argument: str) -> list[str]:
    """Keys of `(p[k] for k in ("W", "U"))`."""
    if (
        isinstance(value, ast.GeneratorExp | ast.ListComp)
        and isinstance(value.elt, ast.Subscript)
        and _is(value.elt.value, argument)
    ):
        over = value.generators[0].iter
        if isinstance(over, ast.Tuple | ast.List):
            return [str(e.value) for e in over.elts if isinstance(e, ast.Constant)]
    return []


def _formatted(text: ast.JoinedStr, tree: ast.AST) -> list[str]:
    """f"W_{g}" for each constant that the function it is in is called with, or loops over."""
    parts = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
    values = [
        n.value
        for n in ast.walk(tree)
        if id(n) not in parts
        and isinstance(n, ast.Constant)
        and isinstance(n.value, str)
        and len(n.value) <= 6
    ]
    return [
        "".join(p.value if isinstance(p, ast.Constant) else v for p in text.values)
        for v in {*values, *"".join(values)}
    ]  # type: ignore[misc]


def _is(node: ast.expr, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def _is_values(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is(node.func.value, name)
