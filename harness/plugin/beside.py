"""A repository's modules at a revision, loaded beside those of the working tree into one process.

They are submodules of a made-up package whose search path is the revision's folders. Their imports of the
repository's own modules, absolute ones too, are led there as they are compiled. Two things are not led there:
modules that are named in a string (importlib.import_module), and what git does not hold (compiled extensions,
generated files). A module of the working tree that is loaded all the same is an error and never a measurement
(`base.refuse_mixture`).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from cellbench.cells.foreign import message_of

from ..functions.function import Function
from ..probe import NotOk
from ..regress.base import Base, refuse_mixture


@dataclass(frozen=True)
class BaseFunction:
    """A function as the revision has it."""

    function: Function
    base: Base

    def load(self) -> Callable[..., Any]:
        """The function, in the worker. Raises NotOk, status `no baseline`, where it cannot be loaded."""
        assert self.function.file
        path = Path(self.function.file)
        file = self.base.counterpart(path)
        where = f"{path.relative_to(self.base.repository)} at {self.base.name}"
        if file is None or not file.is_file():
            raise NotOk("no baseline", f"there is no {where}")
        before = set(sys.modules)
        try:
            module = import_beside(self.function, self.base)
        except Exception as error:  # whatever the module raises
            text = " ".join(f"{type(error).__name__}: {message_of(error)}".split())[:300]
            raise NotOk("no baseline", f"{where} cannot be imported: {text}") from None
        if Path(module.__file__ or "").resolve() != file.resolve():
            raise NotOk("no baseline", f"{where} is hidden by {module.__file__}")
        refuse_mixture(before, self.base, where)
        try:
            return operator.attrgetter(self.function.name)(module)
        except AttributeError:
            raise NotOk("no baseline", f"{where} has no {self.function.name}") from None


def import_beside(function: Function, base: Base) -> ModuleType:
    """The module of a function as the revision has it. Raises whatever the module raises."""
    finder = _finder(base)
    return importlib.import_module(f"{finder.package.__name__}.{_name_in(finder, function)}")


def _name_in(finder: _Finder, function: Function) -> str:
    """The name under which the made-up package has the function's module.

    That is the module's own name wherever it leads to the same file of the revision. It does not where the
    revision has its folders below another name, or where pytest made a name up (import mode importlib): then
    the folders with an __init__.py say it.
    """
    assert function.file
    file, names = Path(function.file), function.module.split(".")
    there = finder.base.counterpart(file)
    assert there
    folders = list(file.with_suffix("").parts)
    folders = folders[:-1] if file.stem == "__init__" else folders
    if folders[-len(names) :] == names:
        finder.search(Path(*folders[: -len(names)]))
    finder.owns(names[0])  # one that an import hook finds may have its folder nowhere in sys.path
    if finder.leads_to(names, there):
        return function.module
    root, names = _by_packages(there)
    finder.search_in(root)
    return ".".join(names)


def _by_packages(file: Path) -> tuple[Path, list[str]]:
    """(the folder that a module is imported from, its name there), as the files named __init__.py say."""
    names, folder = [] if file.stem == "__init__" else [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, names


@cache
def _finder(base: Base) -> _Finder:
    """The finder of a revision's modules, one for each revision taken out and process."""
    digest = hashlib.sha256(base.place.encode()).hexdigest()[:8]
    package = ModuleType(f"_at_{Path(base.place).name}_{digest}")
    package.__path__ = []
    sys.modules[package.__name__] = package
    finder = _Finder(package, base)
    for entry in sys.path:
        finder.search(Path(entry).resolve())
    sys.meta_path.insert(0, finder)
    return finder


class _Finder(MetaPathFinder):
    """Finds the modules of the made-up package, whose search path is counterparts of this process's own."""

    def __init__(self, package: ModuleType, base: Base) -> None:
        self.package, self.base = package, base

    def search(self, folder: Path) -> None:
        """Adds the revision's counterpart of a folder to the search path, where there is one."""
        if (place := self.base.counterpart(folder)) is not None:
            self.search_in(place)

    def search_in(self, place: Path) -> None:
        if place.is_dir() and str(place) not in self.package.__path__:
            self.package.__path__.append(str(place))

    def leads_to(self, names: Sequence[str], file: Path) -> bool:
        """Whether a module's name leads to this file of the revision, through links too."""
        modules = [Path(entry, *names) for entry in self.package.__path__]
        files = [f for m in modules for f in (m.with_name(f"{m.name}.py"), m / "__init__.py")]
        return any(f.resolve() == file.resolve() for f in files)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self.package.__name__ + "."):
            return None
        portions: list[str] = []
        for entry in path or ():
            spec = FileFinder(entry, (self.loader, SOURCE_SUFFIXES)).find_spec(fullname)  # type: ignore[arg-type]
            if spec is not None and spec.loader is not None:
                return spec
            portions += (spec.submodule_search_locations if spec is not None else None) or []
        if not portions:
            return None
        namespace = ModuleSpec(fullname, None, is_package=True)
        namespace.submodule_search_locations = portions
        return namespace

    def loader(self, fullname: str, path: str) -> _Loader:
        return _Loader(self, fullname, path)

    def owns(self, name: str) -> bool:
        """Whether the revision has a top-level module of this name; its folder is searched from then on."""
        if any(
            (Path(p) / f"{name}.py").is_file() or (Path(p) / name / "__init__.py").is_file()
            for p in self.package.__path__
        ):
            return True
        # An import hook may find it (an editable install), or it has no __init__.py: where is it in the
        # working tree?
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return False
        places = list(spec.submodule_search_locations or []) or [spec.origin or ""] if spec else []
        homes = [Path(p).resolve() for p in places]
        inside = [p for p in homes if (there := self.base.counterpart(p)) is not None and there.exists()]
        for p in inside:
            self.search(p.parent)
        return bool(inside)


class _Loader(SourceFileLoader):
    """Compiles a module with its imports led to the made-up package; nothing is cached."""

    def __init__(self, finder: _Finder, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self.finder = finder

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _LedImports(self.finder).visit(ast.parse(self.get_data(path), filename=path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _LedImports(ast.NodeTransformer):
    """Absolute imports of the repository's own modules, as imports from the made-up package."""

    def __init__(self, finder: _Finder) -> None:
        self.owns, self.package = finder.owns, finder.package.__name__

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if not node.level and node.module and self.owns(node.module.partition(".")[0]):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> Any:
        return [ast.copy_location(new, node) for alias in node.names for new in self.led(alias)]

    def led(self, alias: ast.alias) -> list[ast.stmt]:
        """`import a.b` as an import that binds the made-up name, and one of `a` from it."""
        top = alias.name.partition(".")[0]
        if not self.owns(top):
            return [ast.Import([alias])]
        whole = ast.Import([ast.alias(f"{self.package}.{alias.name}", alias.asname)])
        return [whole] if alias.asname else [whole, ast.ImportFrom(self.package, [ast.alias(top)], 0)]
