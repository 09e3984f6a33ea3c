"""The public functions that return results, found by what they are annotated with."""

import ast
import dataclasses
import inspect
import typing

from cellbench import cells, harness
from cellbench.cells.display import Displayed
from cellbench.cells.programs.backend import Backend
from cellbench.harness import gradients

COMPUTES = (cells.GatedCell, Backend)  # members, which are no results


def results_of(hint):
    """The classes of results in the annotation of what a function returns."""
    inside = [c for arg in typing.get_args(hint) for c in results_of(arg)]
    kind = typing.get_origin(hint) or hint
    own = inspect.isclass(kind) and kind.__module__.startswith("cellbench.")
    a_result = own and (issubclass(kind, Displayed) or dataclasses.is_dataclass(kind))
    return inside + ([kind] if a_result and not issubclass(kind, COMPUTES) else [])


def hint_of(function):
    """The annotation of what a function returns; what is imported for types alone is imported here."""
    written = inspect.unwrap(function)
    module = inspect.getmodule(written)
    space = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module.__file__, "exec"), space)
    text = written.__annotations__.get("return")
    return eval(text, space) if isinstance(text, str) else text


def returning():
    """Every public function that returns a result, with the classes of it."""
    for package in (harness, gradients, cells):
        for name in package.__all__:
            function = getattr(package, name)
            if inspect.isfunction(function) and (classes := results_of(hint_of(function))):
                yield name, function, classes
