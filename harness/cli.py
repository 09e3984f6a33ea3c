"""The command `cellbench`: names its commands, reads the arguments of one, and runs it.

A command is a file in harness/commands with `add(parser)` and `do(arguments)`. It is imported when it is
used; for the list of commands its docstring is read and nothing is imported, so that help comes at once.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from . import commands as package

DESCRIPTION = "Benchmarks and diagnostics for recurrent cells."
EXIT_CODES = """\
exit codes: 0 all well; 1 a case, claim or check failed, or a benchmark became slower; 2 bad input;
3 a comparison cannot tell; 130 interrupted. `cellbench COMMAND --help` says what each command takes."""
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. Bad input is one line on standard error and code 2."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("cellbench: interrupted", file=sys.stderr)
        return 130
    except ValueError as error:  # ConfigError, ResultsError, EquationError: one line each
        print(f"cellbench: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _run(arguments: list[str]) -> int:
    known = names()
    if not arguments:
        parser().print_help(sys.stderr)
        return 2
    asks_help = not {*HELP}.isdisjoint(arguments)
    name = next((a for a in arguments if not a.startswith("-")), None)
    if asks_help and (name is None or name in known):
        (parser() if name is None else command_parser(name)).print_help()
        return 0
    if arguments[0] == "--version":
        print(f"cellbench {_version()}")
        return 0
    if arguments[0] != name:
        raise ValueError(_unknown("flag", arguments[0], ("--help", "--version"), "cellbench"))
    if name not in known:
        raise ValueError(_unknown("command", name, known, "cellbench"))
    return _module(name).do(command_parser(name).read(arguments[1:]))


def names() -> list[str]:
    """The commands: the files in harness/commands, without those that begin with an underscore."""
    files = (m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))
    return sorted(file.removesuffix("_") for file in files)  # import_.py, since import is a word of Python


def parser() -> argparse.ArgumentParser:
    """The parser of `cellbench` itself; its help has a line for each command."""
    known = {name: summary(name) for name in names()}
    width = max(map(len, known))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in known.items())
    top = Parser(
        "cellbench",
        usage="cellbench COMMAND [ARGUMENTS]",
        description=f"{DESCRIPTION}\n\ncommands:\n{lines}",
        epilog=EXIT_CODES,
    )
    top.add_argument("command", choices=list(known), help=argparse.SUPPRESS)
    top.add_argument("--version", action="store_true", help="print the version and exit")
    return top


def command_parser(name: str) -> Parser:
    """The parser of one command, which is imported for it."""
    module = _module(name)
    text = (module.__doc__ or "").strip()
    result = Parser(f"cellbench {name}", description=text)
    module.add(result)
    return result


def summary(name: str) -> str:
    """The first line of a command's docstring, read without importing it."""
    for folder in map(Path, package.__path__):
        for file in (folder / f"{name}.py", folder / f"{name}_.py"):
            if file.exists():
                text = ast.get_docstring(ast.parse(file.read_bytes())) or ""
                return text.partition("\n")[0]
    return ""


def _module(name: str) -> Any:
    files = {m.name for m in pkgutil.iter_modules(package.__path__)}
    return importlib.import_module(f"{package.__name__}.{name if name in files else f'{name}_'}")


class Parser(argparse.ArgumentParser):
    """Raises ValueError instead of ending the process, and names the nearest flag to a wrong one."""

    def __init__(self, prog: str, **options: Any) -> None:
        self.flags: list[str] = []
        super().__init__(
            prog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # an abbreviation would change its meaning with a flag that comes later
            **options,
        )

    def add_argument(self, *flags: Any, **options: Any) -> argparse.Action:
        """Adds an argument as argparse does, and keeps the flags' names."""
        self.flags += [flag for flag in flags if flag.startswith("-")]
        return super().add_argument(*flags, **options)

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """Flags and other arguments in any order. Raises ValueError for what the command does not take."""
        for argument in arguments:  # before argparse, which would first ask for what is missing
            flag = argument.partition("=")[0]
            if flag.startswith("-") and flag not in self.flags and not _is_number(flag):
                self.refuse(flag)
        parsed, rest = self.parse_known_intermixed_args(arguments)
        if rest:
            self.error(f"{rest[0]!r} is one argument too many")
        return parsed

    def refuse(self, flag: str) -> NoReturn:
        """Raises ValueError for a flag that there is not, and says how keys are written if it is one."""
        from .commands._overrides import KEYS

        key = flag.lstrip("-").replace("-", "_")
        if "KEY=VALUE" in (self.usage or "") and any(key == name for name, *_ in KEYS):
            raise ValueError(f"unknown flag {flag!r}; keys have no dashes before them: write {key}=VALUE")
        raise ValueError(_unknown("flag", flag, self.flags, self.prog))

    def error(self, message: str) -> NoReturn:
        """Called by argparse for arguments that it cannot read."""
        raise ValueError(f"{message}; `{self.prog} --help` shows the arguments")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown(kind: str, name: str, known: Iterable[str], prog: str) -> str:
    from cellbench.cells.find import nearest

    return f"unknown {kind} {name!r}{nearest(name, known)} {kind}s of {prog}: {', '.join(known)}"


def _version() -> str:
    try:
        return version("cellbench")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
