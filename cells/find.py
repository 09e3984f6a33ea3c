"""Finds members (cells, backends, probes, tasks): in their folder, by entry point, or by path `file.py:Name`.

A member is written `name` or `name:option=value:option=value`. Listing imports nothing.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .foreign import IMPORTS, TAKEN, ForeignError, guarded, message_of, patiently

LONGEST = 120  # characters of a path in an error
MOST = 1 << 26  # bytes of a file of code
NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)  # of what can be no file, whatever is made of it
T = TypeVar("T")
Adapted = Callable[[type], Any]
FOLDERS = ("zoo", "backends", "probes", "tasks", "claims")
BY_PATH = re.compile(r"(?P<member>(?P<file>.*?\.py)(?::[^\W\d]\w*)?)(?P<options>(?::\w*=[^:]*)*)")


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'lstm'?`, or a semicolon where nothing is near, to go on after."""
    import difflib  # for errors alone, and slow to import

    names = [str(name) for name in known]
    same = [name for name in names if name.lower() == str(word).lower()]  # LSTM is lstm
    close = same or difflib.get_close_matches(str(word), names, 1)
    return f"; did you mean {close[0]!r}?" if close else ";"


def names(package: str, group: str) -> list[str]:
    """Public names of all members: the files of the package, then the entry points of the group."""
    files = _files(package)
    return files + sorted(e.name for e in _entry_points(group) if e.name not in files)


def _files(package: str) -> list[str]:
    return _listed(_dated(importlib.import_module(package).__path__))


def _entry_points(group: str) -> Iterable[Any]:
    return _installed(group, _dated(sys.path))


Dated = tuple[tuple[str, int], ...]


def _dated(folders: Iterable[str]) -> Dated:
    """Folders, each with the time of its last change: what was found in them holds until then."""
    paths = (Path(folder).absolute() for folder in folders)
    return tuple((str(path), path.stat().st_mtime_ns if path.exists() else 0) for path in paths)


@lru_cache
def _listed(folders: Dated) -> list[str]:
    paths = [path for path, _ in folders]
    return sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_"))


@lru_cache
def _installed(group: str, _: Dated) -> Iterable[Any]:
    from importlib.metadata import entry_points  # takes as long to import as all else here

    return entry_points(group=group)


def member(
    spec: str,
    base: type[T],
    package: str,
    group: str,
    options: Mapping[str, Any] | None = None,
    adapted: Adapted | None = None,
) -> T:
    """The member that a spec names, with its options and the given ones set.

    `adapted` makes a class of the base from one of another kind in a file, or says None.

    Raises ValueError, with the nearest name, for one that is unknown.
    """
    name, texts = _split(spec)
    cls = _from_path(name, base, package, adapted) if path_of(name) else _by_name(name, base, package, group)
    return of_class(cls, name, dict(text.partition("=")[::2] for text in texts), options)


def of_class(
    cls: type[T], name: str, texts: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> T:
    """A member of this class, with options as texts and as values. Raises ValueError for an unknown one."""
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    for key in (*(texts or {}), *(options or {})):
        if key not in known:
            raise ValueError(
                f"{name!r} has no option {key!r}{nearest(key, known)} options: {', '.join(known) or 'none'}"
            )
    values = {k: convert(v, known[k].default, f"option {k} of {name!r}") for k, v in (texts or {}).items()}
    return cls(**values | dict(options or {}))


def path_of(spec: str) -> Path | None:
    """The file that a spec names, or None for a member by name."""
    match = BY_PATH.fullmatch(spec)
    return given_path(match["file"]).resolve() if match else None


def short_name(spec: str) -> str:
    """A spec by path as 'Name' or 'Name:option=value', by its file's name where it names no class."""
    match = BY_PATH.fullmatch(spec)
    if match is None:
        return spec
    name = match["member"].rpartition(".py")[2].removeprefix(":") or Path(match["file"]).stem
    return name + match["options"]


def _split(spec: str) -> tuple[str, list[str]]:
    """The member's name (or path and class), and its options as written. A path may hold `=` and dots."""
    match = BY_PATH.fullmatch(spec)
    name, colon, rest = (
        (match["member"], match["options"][:1], match["options"][1:]) if match else spec.partition(":")
    )
    texts = rest.split(":") if colon else []
    if not all(texts):
        raise ValueError(f"{spec!r} has an empty option; leave the colon out (an empty variable?)")
    return name, texts


def _by_name(name: str, base: type[T], package: str, group: str) -> type[T]:
    kind = group.partition(".")[2].rstrip("s")
    if name in _files(package):
        qualified = f"{package}.{name}"
        with patiently(qualified):  # it and what it imports is installed
            module = _once(qualified, qualified, lambda: importlib.import_module(qualified))
        return _only_class(module, base, name)
    for entry in _entry_points(group):
        if entry.name == name:
            with importing(f"{entry.value} (entry point {name!r} of {group})"):
                return entry.load()
    known = names(package, group)
    meant = _called(name, base, package) or nearest(name, known)
    folder = package.removeprefix("cellbench.").replace(".", "/")
    raise ValueError(
        f"unknown {kind} {name!r}{meant} {kind}s: {', '.join(known)}. "
        f"A new {kind} is a file in {folder}/, or path/to/file.py:Name."
    )


def _called(name: str, base: type, package: str) -> str:
    """`; that is 'elman' here;` for another name of a member that says its other names, else ""."""
    if not hasattr(base, "other_names"):
        return ""
    plain = re.sub("[^a-z0-9]", "", name.lower())
    for known in _files(package):
        cls: type = _by_name(known, base, package, "")
        if plain in getattr(cls, "other_names", ()):
            return f"; that is {known!r} here;"
    return ""


def _from_path(spec: str, base: type[T], package: str, adapted: Adapted | None) -> type[T]:
    file = path_of(spec)
    assert file is not None
    path, _, name = spec.partition(".py:")
    path = path.removesuffix(".py") + ".py"
    if not file.is_file():
        raise ValueError(f"no file {path!r}; give path/to/file.py:Name")
    # inside the package, so that the file may also import relatively, as the members that ship with it do
    digest = hashlib.sha256(_text(file) + os.fsencode(file)).hexdigest()[:12]
    module_name = f"{package}._{re.sub('[^a-zA-Z0-9]', '_', file.stem)}_{digest}"
    module = _once(module_name, path, lambda: module_of(file, module_name))
    if not name:
        return _only_class(module, base, path)
    cls = getattr(module, name, None)
    if adapted and inspect.isclass(cls) and not issubclass(cls, base):
        cls = adapted(cls) or cls
    if cls is not None and not inspect.isclass(cls):
        raise ValueError(_no_class(f"{path}:{name}", cls, base))
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        known = [
            k for k, v in vars(module).items() if inspect.isclass(v) and issubclass(v, base) and v is not base
        ]
        raise ValueError(
            f"{path} has no {base.__name__} {name!r}{nearest(name, known)} it has:"
            f" {', '.join(known) or 'none'}"
        )
    return cls


def _no_class(spec: str, value: object, base: type) -> str:
    """Why a function or a value is no member."""
    kind = "a function" if inspect.isroutine(value) else f"a value of type {type(value).__name__}"
    cell = base.__name__ == "GatedCell"
    more = " or of torch.nn.Module; `cellbench check` holds a function against a cell" if cell else ""
    return f"{spec} is {kind}; it must be a class of {base.__name__}{more}"


def _once(name: str, file: str, load: Callable[[], ModuleType]) -> ModuleType:
    """The module of this name. A member is asked for often; it is imported once, and guarded then alone."""
    if name in sys.modules:
        return sys.modules[name]
    with importing(file):
        return load()


def _text(file: Path) -> bytes:
    try:
        _check_size(file)
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def _check_size(file: Path) -> None:
    if (size := file.stat().st_size) > MOST:
        raise ValueError(f"{file} has {size} bytes, which no file of code has; at most {MOST} are read")


def module_of(file: Path, name: str) -> ModuleType:
    """The module in a file, imported under this name, or what the process has under it already.

    It stands in sys.modules before it runs, for its classes, its own imports and Numba's cache look it up
    there; not after a failure. The file may be the `__init__.py` of a package. Whatever the file raises is
    passed on: `importing` makes one line of it.
    """
    if name in sys.modules:
        return sys.modules[name]
    _check_size(file)
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)] if file.stem == "__init__" else None
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    TAKEN.add(os.path.realpath(file.parent) + os.sep)
    TAKEN.add(os.path.abspath(file.parent) + os.sep)  # noqa: PTH100  as its code has it
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def importing(file: str) -> Iterator[None]:
    """Makes a ValueError of one line, which names the file, of whatever goes wrong while it is imported."""
    with guarded(file):
        IMPORTS.append(file)
        try:
            yield
        except Exception as error:
            raise ForeignError(_not_imported(file, error)) from error
        finally:
            IMPORTS.pop()


def _not_imported(file: str, error: Exception) -> str:
    # this project's packages were installed under these names once; a folder of that name may be found
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else None
    if name in ("cells", "harness"):
        return (
            f"{file} imports {name!r}, which is installed as cellbench.{name}; "
            f"write `from cellbench.{name} import ...` or `from cellbench import {name}`"
        )
    fault = f"{file} cannot be imported: {type(error).__name__}: {' '.join(message_of(error).split())}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package, _, relative = error.name.rpartition(".")
        if package.startswith("cellbench.") and imports_relatively(file):
            return (
                f"{file} cannot be imported: it imports .{relative}, and a file that is given by its path is"
                f" in no package; write the package's name, as in `from package.{relative} import ...`, and"
                " put the folder above it into PYTHONPATH"
            )
        return f"{fault}; install it here, or put the folder that holds it into PYTHONPATH"
    return fault


def imports_relatively(file: str) -> bool:
    """Whether a file imports from its own package, which it has only where it is imported by its name."""
    return Path(file).is_file() and re.search(rb"^\s*from\s+\.", _text(Path(file)), re.MULTILINE) is not None


def given_path(text: str) -> Path:
    """The path that a person wrote, `~` taken as a home. Raises ValueError for one that no file can have."""
    if not text.strip():
        raise ValueError("a path is empty; give a file or a folder (an empty variable?)")
    if "\0" in text:
        raise ValueError(f"path {text!r} has a null character, which no file can have")
    try:
        path = Path(text).expanduser()
        path.lstat()
        path.stat()
    except RuntimeError:  # of expanduser
        raise ValueError(f"path {text!r}: there is no user {text[1:].partition('/')[0]!r}") from None
    except OSError as error:
        if error.errno in NO_NAME:
            shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
            raise ValueError(f"path {shown!r} cannot be used: {error.strerror}") from None
    return path


def _only_class(module: Any, base: type[T], name: str) -> type[T]:
    classes = [
        v
        for v in vars(module).values()
        if inspect.isclass(v) and issubclass(v, base) and v.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ValueError(
            f"{name} defines {len(classes)} classes of kind {base.__name__}; it must define one, or be given"
            " as file.py:Name"
        )
    return classes[0]


def public_name(member: object) -> str:
    """The name of a member: its file's name where it lies in its kind's folder, else its class's."""
    package, _, module = type(member).__module__.rpartition(".")
    in_folder = package.rpartition(".")[2] in FOLDERS and not module.startswith("_")
    return module if in_folder else type(member).__name__


def convert(text: str, like: Any, what: str) -> Any:
    """The text as the type of `like`. Raises ValueError, naming `what`."""
    if isinstance(like, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{what} is {text!r}; it must be true or false")
        return text.lower() == "true"
    try:
        return type(like)(text)
    except ValueError:
        raise ValueError(
            f"{what} is {text!r}; it must be of type {type(like).__name__}, as {like!r} is"
        ) from None
