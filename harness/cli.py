"""The command `cellbench`: names its commands, reads the arguments of one, and runs it.

A command is a file in harness/commands with `add(parser)` and `do(arguments)`. It is imported when it is
used; for the list of commands its docstring is read and nothing is imported, so that help comes at once.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from . import commands as package
from .screen import shown

DESCRIPTION = "Benchmarks and diagnostics for recurrent cells."
EXIT_CODES = """\
exit codes: 0 all well; 1 a case, claim or check failed, or a benchmark became slower; 2 bad input;
3 a comparison cannot tell; 130 interrupted. `cellbench COMMAND --help` says what each command takes."""
HELP = ("-h", "--help")
INTERRUPTED = 130
LONGEST = 120  # characters of a file's name in an error
HEAD, TAIL = 700, 300  # characters of an error's line that are told: what was wrong, and the next step


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. Bad input is one line on standard error and code 2.

    Code 0 comes from a command that did all of its work, whatever code of a person's it ran.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    of_process = argv is None
    with shown() as (out, err), _signals(of_process) as received:
        code = _outcome(arguments, of_process)
        out.flush()
        if out.error is not None and not out.gone:
            print(f"cellbench: standard output cannot be written: {_reason(out.error)}", file=err)
            code = code or 1
    return 128 + received[0] if received and code == INTERRUPTED else code


def _outcome(arguments: list[str], of_process: bool) -> int:
    """The exit code; an error that a person can do something about is one line."""
    try:
        return _run(arguments, of_process)
    except KeyboardInterrupt:
        return _said("interrupted", INTERRUPTED)
    except ValueError as error:  # ConfigError, ResultsError, EquationError: one line each
        return _said(str(error), 2)
    except OSError as error:
        return _said(_of_system(error), 2)
    except MemoryError as error:
        return _said(f"there is not enough memory: {error}; choose smaller sizes", 2)
    except Exception as error:
        from cellbench.cells.foreign import is_own, place

        if not any(is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__)):
            raise  # a fault of cellbench's own is told whole
        return _said(f"{type(error).__name__}: {error}{place(error)}", 1)
    except BaseException as error:  # a person's code ended the interpreter
        from cellbench.cells.foreign import ending

        return _said(f"{' '.join(arguments[:1])} is not done: code that it ran {ending(error)}", 1)


def _said(text: str, code: int) -> int:
    line = " ".join(text.split())
    if len(line) > HEAD + TAIL:  # a value in it came from a file
        line = f"{line[:HEAD]} ... {line[-TAIL:]}"
    print(f"cellbench: {line}", file=sys.stderr, flush=True)
    return code


def _of_system(error: OSError) -> str:
    """What the system refused, and of which file."""
    try:
        Path.cwd()
    except OSError:
        return "the working directory was deleted; change to another one"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names]
    return f"{' and '.join(map(repr, shown))}: {_reason(error)}" if shown else _reason(error)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def _signals(of_process: bool) -> Iterator[list[int]]:
    """Has SIGTERM and SIGHUP end a command as Ctrl-C does, so that what it holds is given back.

    Yields the signals that came. One that is ignored, as by nohup, stays so.
    """
    received: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)} if of_process else {}

    def end(number: int, frame: Any) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str], of_process: bool) -> int:
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
    parsed = command_parser(name).read(arguments[1:])
    from cellbench.cells.foreign import staying

    with staying(for_good=of_process):
        return _module(name).do(parsed)


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
