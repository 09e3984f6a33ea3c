"""The command `cellbench`: names its commands, reads the arguments of one, and runs it.

A command is a file in harness/commands with `add(parser)` and `do(arguments)`. It is imported when it is
used; for the list of commands its docstring is read and nothing is imported, so that help comes at once.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import math
import pkgutil
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from . import commands as package
from .measure.supervisor import FORWARDED, Shared, supervised
from .screen import shortened, shown

DESCRIPTION = "Benchmarks and diagnostics for recurrent cells."
EXIT_CODES = """\
exit codes: 0 all well; 1 a case, claim or check failed, or a benchmark became slower; 2 bad input;
3 a comparison cannot tell; 130 interrupted. `cellbench COMMAND --help` says what each command takes."""
HELP = ("-h", "--help")
INTERRUPTED = 130
LONGEST = 120  # characters of a file's name in an error
TWICE_S = 0.5  # in which a second signal is the first one once more


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. Bad input is one line on standard error and code 2.

    Code 0 comes from a command that did all of its work, whatever code of a person's it ran: that of the
    process works in a child, under a supervisor.
    """
    if argv is not None:
        return _command(list(argv))
    arguments = sys.argv[1:]
    return supervised(lambda shared: _command(arguments, shared), _tell)


def _tell(text: str) -> None:
    """Prints a line of the supervisor's, or one that it was left."""
    with shown():
        print(f"cellbench: {text}", file=sys.stderr)


def _command(arguments: list[str], shared: Shared | None = None) -> int:
    """The exit code of one command. `shared` is what it tells the supervisor of its process."""
    with shown() as (out, err), _signals(shared is not None) as received:
        code, line = _outcome(arguments, shared)
        if code == INTERRUPTED:
            line = "interrupted"
            if shared is not None and shared.overdue:
                code, line = 1, ""  # the supervisor has said why
            elif shared is not None and not received:
                code, line = (
                    1,
                    f"{' '.join(arguments[:1])} is not done: code that it ran raised KeyboardInterrupt",
                )
        out.flush()
        if not line and out.error is not None and not out.gone:
            code, line = code or 1, f"standard output cannot be written: {_reason(out.error)}"
        if line:
            print(f"cellbench: {line}", file=err, flush=True)
        if line and err.error is not None and shared is not None:
            shared.leave(line)  # a person's code may have closed the streams, and the supervisor has its own
    return 128 + received[0] if received and code == INTERRUPTED else code


def _outcome(arguments: list[str], shared: Shared | None) -> tuple[int, str]:
    """The exit code, and a line for an error that a person can do something about."""
    try:
        return _run(arguments, shared), ""
    except KeyboardInterrupt:
        return INTERRUPTED, ""
    except ValueError as error:  # ConfigError, ResultsError, EquationError: one line each
        code, text = 2, str(error)
    except OSError as error:
        code, text = 2, _of_system(error)
    except MemoryError as error:
        code, text = 2, f"there is not enough memory: {error}; choose smaller sizes"
    except Exception as error:
        from cellbench.cells import foreign

        if not any(foreign.is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__)):
            raise  # a fault of cellbench's own is told whole
        code, text = 1, f"{type(error).__name__}: {foreign.message_of(error)}{foreign.place(error)}"
    except BaseException as error:  # a person's code ended the interpreter
        from cellbench.cells.foreign import ending

        code, text = 1, f"{' '.join(arguments[:1])} is not done: code that it ran {ending(error)}"
    return code, shortened(text)


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
    """Has these signals end a command as Ctrl-C does, once, so that what it holds is given back.

    SIGUSR1 is among them, which schedulers send before they take a machine away.

    Yields the signals that came. One that is ignored, as by nohup, stays so.
    """
    received: list[int] = []
    last_s = -math.inf
    before = {n: signal.getsignal(n) for n in (*FORWARDED, signal.SIGUSR1)} if of_process else {}

    def end(number: int, frame: Any) -> None:
        nonlocal last_s
        received.append(number)
        # a signal to the whole group comes twice: from its sender, and from the supervisor
        again, last_s = monotonic() < last_s + TWICE_S, monotonic()
        if not again:
            raise KeyboardInterrupt

    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str], shared: Shared | None) -> int:
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
    if arguments[0] in ("--completion", "--complete"):
        return _complete(arguments[0])
    if arguments[0] != name:
        raise ValueError(_unknown("flag", arguments[0], ("--help", "--version", "--completion"), "cellbench"))
    if name not in known:
        raise ValueError(_unknown("command", name, known, "cellbench"))
    parsed = command_parser(name).read(arguments[1:])
    from cellbench.cells import background, foreign, seal

    from .measure import watchdog

    for variable in seal.VARIABLES:
        seal.folder_of(variable)
    watchdog.patience_s()
    if shared is not None:
        foreign.in_hand = shared.hand
        background.tell_what_it_raises(_tell)
    with foreign.staying():
        return _module(name).do(parsed)


def _complete(flag: str) -> int:
    """Prints the shell's function, or what the last word of the line can be that it hands over."""
    from .commands import _completion

    words = _completion.line()
    if flag == "--completion":
        print(_completion.SCRIPT, end="")
    elif words[1:2] == ["run"] and len(words) > 2:
        if members := _completion.members(words[-1]):
            print("\n".join(members))
            return 0
        _module("run").do(command_parser("run").read(["--shell-completion", "query=bash"]))
    else:
        print("\n".join(_completion.completions(words, names(), command_parser)))
    return 0


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
    top.add_argument(
        "--completion", action="store_true", help='for bash and zsh: eval "$(cellbench --completion)"'
    )
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
