"""Functions as the two sides of a comparison: how a worker finds them, and their arguments."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import operator
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ..measure.timing import Timed
from ..probe import NotOk
from .first import first_call

ADVICE = (
    "give one that stands by its name in a module, or 'module:function'; what it is called with goes into"
    " args="
)
# pytest shows the line of the test, not ours
__tracebackhide__ = operator.methodcaller("errisinstance", ValueError)


class GateError(ValueError):
    """A gate was asked for what it cannot compare; the message names it."""


class Side(Protocol):
    """A function, of the working tree or of a revision (`beside.BaseFunction`)."""

    def load(self) -> Callable[..., Any]:
        """In the worker: the function itself."""
        ...


@dataclass(frozen=True)
class Function:
    """A function of the working tree: its module, its name there, the file (None if built in)."""

    module: str
    name: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    def load(self) -> Callable[..., Any]:
        return operator.attrgetter(self.name)(_module(self.module, self.file))


@dataclass(frozen=True)
class Work:
    """The arguments of both sides, pickled (args, kwargs), so that every build has its own."""

    arguments: bytes
    setup: Function | None = None
    equal: Function | None = None

    def given(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs), made anew."""
        args, kwargs = pickle.loads(self.arguments)
        if self.setup is not None:
            arguments = self.setup.load()()
            args = arguments if isinstance(arguments, tuple) else (arguments,)
        return args, kwargs

    def bound(self, function: Callable[..., Any]) -> Callable[[], Any]:
        """The function with arguments of its own; it is the function itself where there are none."""
        args, kwargs = self.given()
        return partial(function, *args, **kwargs) if args or kwargs else function


def reference(function: Any, folder: Path | None = None) -> Function:
    """How a worker finds a callable, or "module:function". Raises GateError where it could not.

    What a notebook defines is kept in a file of the folder, where one is given.
    """
    module, name = _address(function)
    if folder and module == "__main__" and not hasattr(sys.modules[module], "__file__"):
        from ..runs.own_class import place  # it loads cells, which a plugin and a worker do not need

        _refuse_what_does_no_work(function, f"{module}:{name}")
        kept, name = place(function, folder)
        return Function(kept.stem, name, str(kept))
    try:
        there = importlib.import_module(module)
        target = operator.attrgetter(name)(there)
    except (ImportError, AttributeError):
        raise GateError(f"fresh processes could not find {module}:{name}; {ADVICE}") from None
    if not isinstance(function, str) and not target == function:
        raise GateError(
            f"{module}:{name} is another object than {function!r}, which fresh processes could not find;"
            f" {ADVICE}"
        )
    _refuse_what_does_no_work(target, f"{module}:{name}")
    file = getattr(there, "__file__", None)
    return Function(module, name, str(Path(file).resolve()) if file else None)


def _address(function: Any) -> tuple[str, str]:
    """(module, name in it)."""
    if isinstance(function, str):
        module, _, name = function.partition(":")
    else:
        module, name = (getattr(function, key, "") for key in ("__module__", "__qualname__"))
    if not (isinstance(module, str) and isinstance(name, str) and module and name):
        raise GateError(
            f"{function!r} is no function by name, and fresh processes could not find it; {ADVICE}"
        )
    return module, name


def _refuse_what_does_no_work(target: Any, name: str) -> None:
    if not callable(target):
        raise GateError(f"{name} is a {type(target).__name__}, which cannot be called; {ADVICE}")
    lazy = inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction
    if any(is_lazy(target) for is_lazy in lazy):
        raise GateError(f"{name} does no work when it is called; give a function that runs it to its end")


def work(
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    setup: Any = None,
    equal: Any = None,
    folder: Path | None = None,
) -> Work:
    """Raises GateError for arguments that cannot be pickled, or are given twice."""
    if setup is not None and (args or kwargs):
        raise GateError("args and setup both say what the functions are called with; give one of them")
    if not isinstance(args, tuple):
        raise GateError(f"args is a {type(args).__name__}; it must be a tuple, such as args=(x,)")
    try:
        arguments = pickle.dumps((args, kwargs or {}))
    except Exception as error:  # whatever an object's own __reduce__ raises
        raise GateError(
            f"args cannot be pickled ({error}); make them in a module-level function, setup=FUNCTION"
        ) from None
    return Work(arguments, *(None if f is None else reference(f, folder) for f in (setup, equal)))


def make(a: Side, b: Side, work: Work) -> tuple[Callable[[], Timed], Callable[[], Timed]]:
    """Runs in the worker: how each side is built. Raises NotOk where `equal` finds their results to differ.

    A is loaded first: a revision shows what it takes from the working tree before the working tree's modules
    are there.
    """
    function_a, function_b = a.load(), b.load()
    results = first_call(function_a, *work.given()), first_call(function_b, *work.given())
    if work.equal is not None:
        _hold_against(results, work.equal.load())
    return partial(timed, function_a, work), partial(timed, function_b, work)


def timed(function: Callable[..., Any], work: Work) -> Timed:
    """A function with arguments of its own, ready to be timed."""
    return Timed(work.bound(function), _sync())


def _sync() -> Callable[[], Any]:
    """Waits for the GPU where PyTorch has begun to use one; any other work must end inside the function."""
    torch = sys.modules.get("torch")
    return torch.cuda.synchronize if torch is not None and torch.cuda.is_initialized() else _nothing


def _nothing() -> None:
    pass


def _hold_against(results: tuple[Any, Any], equal: Callable[[Any, Any], Any]) -> None:
    try:
        answer = equal(*results)
    except AssertionError as error:
        raise NotOk("wrong", f"the results differ: {' '.join(str(error).split())[:300]}") from None
    if answer is not None and not answer:  # None is the answer of a function that asserts
        raise NotOk("wrong", f"the results differ, says {equal.__qualname__}")


def _module(name: str, file: str | None) -> ModuleType:
    """The module of that file: by its name where that leads there, else from the file.

    Under pytest's import mode importlib a name may lead nowhere.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if file is None or (spec is not None and spec.origin and Path(spec.origin).resolve() == Path(file)):
        return importlib.import_module(name)
    from cellbench.cells.find import module_of  # cells is not loaded with the plugin

    if getattr(sys.modules.get(name), "__file__", file) != file:  # another file's module has the name
        del sys.modules[name]
    return module_of(Path(file), name)
