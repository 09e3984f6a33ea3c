"""What all printed kernels of one dtype share, as a module of its own: the vocabulary, the product, a mean.

Compiled once a machine. A kernel imports what it uses; LLVM still inlines it, for Numba keeps its code.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from . import modules

FILES = ("pointwise", "product", "averages")


def module(dtype: str) -> ModuleType:
    """The shared functions in this dtype."""
    from . import tiles  # which imports Numba

    tiles.ready(dtype)  # before compiled code is read that asks for it
    return modules.load(_stem(dtype), text(dtype))


@lru_cache
def text(dtype: str) -> str:
    """The printed module: the dtype's constants, then the functions that all dtypes share."""
    from . import tiles

    constants, *functions = (_source(name) for name in (dtype, *FILES))
    docstring, *_ = ast.parse(constants).body
    imports = dict.fromkeys(line for source in functions for line in _imports(source))
    title = f'"""What the printed kernels in {dtype} share."""'
    head = [title, "", *imports, _from_line(constants, (docstring.end_lineno or 0) + 1)]
    head.append(f'PRODUCT = "{tiles.name(dtype)}"  # tiles.py {tiles.VERSION}')
    return "\n\n\n".join(["\n".join(head), *map(_functions, functions)]) + "\n"


@lru_cache  # a program of another shape asks for it again
def kernel(dtype: str, title: str, *functions: str) -> str:
    """A printed kernel module: a title, an import of what the functions use, the functions."""
    uses = {node.id for node in ast.walk(ast.parse("\n".join(functions))) if isinstance(node, ast.Name)}
    names = ",\n    ".join(sorted(uses & _defined(dtype) | {"PANEL"}))  # for who packs the weights
    name = modules.name(_stem(dtype), text(dtype))
    head = f'"""{title}"""\n\nfrom {name} import (\n    {names},\n)'
    return "\n\n\n".join([head, *functions]) + "\n"


def barrier() -> str:
    """What kernels of blocks of units have before their own functions."""
    source = _source("barrier")
    imports = [n for n in ast.parse(source).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    return _from_line(source, (imports[-1].end_lineno or 0) + 1)


def _stem(dtype: str) -> str:
    return f"shared_{dtype}"


@lru_cache
def _defined(dtype: str) -> set[str]:
    """The names that the shared module defines, or imports."""
    names: set[str] = set()
    for node in ast.parse(text(dtype)).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        else:  # constants
            stored = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names |= {n.id for n in stored}
    return names


def _source(name: str) -> str:
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf8")


def _imports(source: str) -> list[str]:
    """The imports of a file, but for those of this folder."""
    nodes = ast.parse(source).body
    return [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    ]


def _functions(source: str) -> str:
    """The file from its first function on."""
    first = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return _from_line(source, min([first.lineno, *(node.lineno for node in first.decorator_list)]))


def _from_line(source: str, line: int) -> str:
    """The source from this line on, counted from 1."""
    return "\n".join(source.splitlines()[line - 1 :]).strip()
