"""A repository's modules at a revision, loaded beside those of the working tree into one process.

They are submodules of a made-up package whose search path is the revision's folders, and their imports of the
repository's own modules, absolute ones too, are led there as they are compiled. Not led there: modules that
are named in a string (importlib.import_module) and what git does not hold (compiled extensions, generated
files). Where a module of the working tree was loaded by the revision's all the same, that is an error and
never a measurement.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ..probe import NotOk
from .functions import Function


@dataclass(frozen=True)
class Base:
    """A revision: the repository's folder, where the revision's files lie, and how a person calls it."""

    repository: str
    place: str
    name: str

    def counterpart(self, path: Path) -> Path | None:
        """Where the revision has a path of the repository; None for one outside it, or of an environment
        inside it.
        """
        if not path.is_relative_to(self.repository) or "site-packages" in path.parts:
            return None
        return Path(self.place) / path.relative_to(self.repository)


@dataclass(frozen=True)
class AtBase:
    """A function as the revision has it."""

    function: Function
    base: Base

    def load(self) -> Callable[..., Any]:
        """In the worker. Raises NotOk, status `no baseline`, where the revision has none that can be loaded."""
        assert self.function.file
        now = Path(self.function.file)
        file = self.base.counterpart(now)
        where = f"{now.relative_to(self.base.repository)} at {self.base.name}"
        if file is None or not file.is_file():
            raise NotOk("no baseline", f"there is no {where}")
        before = set(sys.modules)
        try:
            module = importlib.import_module(_name_beside(self.function, self.base))
        except Exception as error:  # whatever the module raises
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise NotOk("no baseline", f"{where} cannot be imported: {text}") from None
        if Path(module.__file__ or "") != file:
            raise NotOk("no baseline", f"{where} is hidden by {module.__file__}")
        refuse_mixture(before, self.base, where)
        try:
            return operator.attrgetter(self.function.name)(module)
        except AttributeError:
            raise NotOk("no baseline", f"{where} has no {self.function.name}") from None


def refuse_mixture(before: Collection[str], base: Base, what: str, known: Collection[str] = ()) -> None:
    """Raises NotOk where modules of the working tree were loaded since; `known` are packages that may be."""
    new = [name for name in sys.modules if name not in before and name.partition(".")[0] not in known]
    mixed = [
        n
        for n in new
        if (file := getattr(sys.modules[n], "__file__", None)) and base.counterpart(Path(file).resolve())
    ]
    if mixed:
        raise NotOk(
            "no baseline",
            f"{what} loads {', '.join(sorted(mixed)[:3])} of the working tree: that would be a mixture",
        )


def _name_beside(function: Function, base: Base) -> str:
    """The module's name in the made-up package, which is there after this."""
    assert function.file
    file, names = Path(function.file), function.module.split(".")
    parts = file.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    root = Path(*parts[: -len(names)]) if list(parts[-len(names) :]) == names else None
    package = _package(base)
    _search(package, base, root or file.parent)
    return ".".join([package.__name__, *(names if root else [file.stem])])


def _package(base: Base) -> ModuleType:
    """The made-up package of a revision, whose search path has the counterparts of this process's own."""
    name = f"_at_{Path(base.place).name}"
    if name not in sys.modules:
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = []
        for entry in sys.path:
            _search(module, base, Path(entry).resolve())
        sys.meta_path.insert(0, _Finder(module, base))
    return sys.modules[name]


def _search(package: ModuleType, base: Base, folder: Path) -> None:
    place = base.counterpart(folder)
    if place is not None and place.is_dir() and str(place) not in package.__path__:
        package.__path__.append(str(place))


class _Finder(MetaPathFinder):
    """Finds the modules of the made-up package."""

    def __init__(self, package: ModuleType, base: Base) -> None:
        self.package, self.base = package, base

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith(self.package.__name__ + "."):
            return None
        portions = []
        for entry in path:
            found = FileFinder(entry, (partial(_Loader, self), SOURCE_SUFFIXES)).find_spec(fullname)
            if found is not None and found.loader is not None:
                return found
            portions += found.submodule_search_locations if found is not None else []
        if not portions:
            return None
        namespace = ModuleSpec(fullname, None, is_package=True)
        namespace.submodule_search_locations = portions
        return namespace

    def own(self, name: str) -> bool:
        """Whether a top-level name is a module of the repository."""
        if any(
            (Path(p) / f"{name}.py").is_file() or (Path(p) / name / "__init__.py").is_file()
            for p in self.package.__path__
        ):
            return True
        try:  # one that an import hook finds, or without an __init__.py: where does the working tree have it?
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return False
        places = list(spec.submodule_search_locations or []) or [spec.origin or ""] if spec else []
        homes = [Path(p).resolve() for p in places]
        inside = [p for p in homes if (there := self.base.counterpart(p)) is not None and there.exists()]
        for p in inside:
            _search(self.package, self.base, p.parent)
        return bool(inside)


class _Loader(SourceFileLoader):
    """Compiles a module with its imports led to the made-up package; nothing is cached."""

    def __init__(self, finder: _Finder, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self.finder = finder

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        tree = _Led(self.finder).visit(ast.parse(self.get_data(path), filename=path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Led(ast.NodeTransformer):
    """Absolute imports of the repository's own modules, as imports from the made-up package."""

    def __init__(self, finder: _Finder) -> None:
        self.own, self.package = finder.own, finder.package.__name__

    def visit_ImportFrom(self, node):
        if not node.level and self.own(node.module.partition(".")[0]):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Import(self, node):
        return [ast.copy_location(new, node) for alias in node.names for new in self.led(alias)]

    def led(self, alias: ast.alias) -> list[ast.stmt]:
        """`import a.b` becomes an import of the whole, which binds the made-up name, and one of `a` from it."""
        top = alias.name.partition(".")[0]
        if not self.own(top):
            return [ast.Import([alias])]
        whole = ast.Import([ast.alias(f"{self.package}.{alias.name}", alias.asname)])
        return [whole] if alias.asname else [whole, ast.ImportFrom(self.package, [ast.alias(top)], 0)]
