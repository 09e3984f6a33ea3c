"""Folders of YAML files: cellbench's own, `./conf` of the folder that a person is in, and `--config-dir`."""

from __future__ import annotations

import re
from pathlib import Path

from .values import ConfigError

USER = Path("conf")
PROVIDER = "cellbench, folders of the user"

given: list[Path] = []  # the one of --config-dir, and those of a sweep that is gone on with, for a command


def own() -> Path:
    """The folder of cellbench's own files."""
    from cellbench import conf

    return Path(conf.__path__[0])


def give(folder: Path | None) -> None:
    """Sets the folder of --config-dir for this command. Raises ConfigError where there is none."""
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {str(folder)!r} is no folder; give one with YAML files")
    given[:] = [] if folder is None else [folder]


def give_also(folders: list[str]) -> None:
    """Adds those of a sweep that are there: it may be gone on with from another folder, without its flags."""
    given.extend(path for path in map(Path, folders) if path.is_dir())


def users() -> list[Path]:
    """The folders of the user, those that come first winning; without cellbench's own, as in its checkout."""
    there = [f for f in (*given, USER) if f.is_dir() and not f.samefile(own())]
    return [f for n, f in enumerate(there) if not any(f.samefile(other) for other in there[:n])]


def experiments(folder: Path) -> list[str]:
    """The named sets of overrides of a folder, experiment=NAME."""
    return _names(folder, "experiment")


def _names(folder: Path, group: str) -> list[str]:
    return [path.stem for path in sorted((folder / group).glob("*.yaml"))]


def files(group: str) -> dict[str, Path]:
    """The file of each experiment or workload by name, cellbench's own first, then the user's."""
    found: dict[str, Path] = {}
    for folder in (own(), *users()):
        for name in _names(folder, group):
            found.setdefault(name, folder / group / f"{name}.yaml")
    return found


def unread(error: Exception) -> str:
    """One line on a YAML file that cannot be read: the file, the place in it, and what is wrong there."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    where = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "a file of ./conf"
    return f"{where}: this is no YAML: {' '.join(problem.split())}; write a line KEY: VALUE for each key"


def without_package(file: Path) -> str:
    """A line on an experiment whose keys Hydra would put below `experiment`; '' where the file says where."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
    if re.search(r"^#\s*@package\b", text, re.MULTILINE):
        return ""
    return f"{file} does not say where its keys belong; write `# @package _global_` as its first line"


def all_experiments() -> list[str]:
    """The names of experiments."""
    return list(files("experiment"))


def all_workloads() -> list[str]:
    """The names of workloads, workload=NAME, which are the user's alone."""
    return list(files("workload"))


def register() -> None:
    """Has Hydra look into the user's folders after cellbench's own, whatever asks it."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class UserFolders(SearchPathPlugin):
        """Named as the one before, if any, whose place it takes: folders may have changed."""

        def manipulate_search_path(self, search_path: object) -> None:
            for folder in users():
                search_path.append(PROVIDER, f"file://{folder.resolve()}")  # type: ignore[attr-defined]

    known = Plugins.instance()
    if not any(
        plugin.__qualname__ == UserFolders.__qualname__ for plugin in known.discover(SearchPathPlugin)
    ):
        known.register(UserFolders)
