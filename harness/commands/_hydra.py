"""Hydra's own flags of `run`: what only shows something is answered by Hydra, the rest is refused by name."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._arguments import word
from ._completion import SCRIPT, line

SHOWN = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
REFUSED = {
    "--config-path": "cellbench's own files stay; --config-dir DIR adds yours",
    "--experimental-rerun": "resume=RUN goes on with a run",
}
QUERY, INSTALL = "query=bash", "install=bash"


def add(parser: argparse.ArgumentParser) -> None:
    """Names the flags."""
    parser.add_argument("--cfg", "-c", choices=SHOWN, help="print the configuration; run nothing")
    parser.add_argument("--resolve", action="store_true", help="beside --cfg: with references replaced")
    parser.add_argument(
        "--package", "-p", type=word, metavar="KEY", help="beside --cfg: the part below a key"
    )
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFO, help="print what Hydra knows")
    parser.add_argument("--hydra-help", action="store_true", help="print Hydra's own help")
    parser.add_argument(
        "--config-dir", "-cd", type=word, metavar="DIR", help="a folder of YAML files, beside ./conf"
    )
    parser.add_argument(
        "--config-name", "-cn", type=word, metavar="NAME", default="config", help="the first file of all"
    )
    parser.add_argument(
        "--shell-completion",
        "-sc",
        action="store_true",
        help=f"{INSTALL} prints what cellbench --completion does, as Hydra's programs do",
    )
    for flag, instead in REFUSED.items():
        parser.add_argument(flag, help=f"not taken: {instead}", nargs="?", const="")


def asked(arguments: argparse.Namespace) -> list[str]:
    """The flags by which Hydra shows something. Raises ConfigError for those that are refused."""
    from ..runs import places
    from ..runs.values import ConfigError

    for flag, instead in REFUSED.items():
        if getattr(arguments, flag.removeprefix("--").replace("-", "_")) is not None:
            raise ConfigError(f"{flag} is not taken: {instead}")
    places.give(None if arguments.config_dir is None else Path(arguments.config_dir).expanduser())
    flags = [f"--cfg={arguments.cfg}"] if arguments.cfg else []
    flags += [f"--info={arguments.info}"] if arguments.info else []
    flags += ["--hydra-help"] if arguments.hydra_help else []
    flags += ["--shell-completion"] if arguments.shell_completion else []
    if len(flags) > 1 or (flags and (arguments.multirun or arguments.plan)):
        others = [*flags, *(["-m"] if arguments.multirun else []), *(["--plan"] if arguments.plan else [])]
        raise ConfigError(f"{' and '.join(others)}: one at a time")
    for flag, given in (("--resolve", arguments.resolve), ("--package", arguments.package)):
        if given and not arguments.cfg:
            raise ConfigError(f"{flag} stands beside --cfg job, hydra or all")
    flags += ["--resolve"] if arguments.resolve else []
    return flags + ([f"--package={arguments.package}"] if arguments.package else [])


def typed(arguments: argparse.Namespace) -> list[str]:
    """The flags that say where the configuration comes from, for the command that a manifest keeps."""
    flags = [] if arguments.config_dir is None else ["--config-dir", arguments.config_dir]
    return [*flags, *([] if arguments.config_name == "config" else ["--config-name", arguments.config_name])]


def show(flags: list[str], overrides: list[str], primary: str) -> int:
    """Has Hydra print what was asked for; returns the exit code."""
    from ..runs import compose, launch

    if "--shell-completion" in flags:
        return _complete(overrides, primary)
    if "--hydra-help" not in flags:
        compose.compose(overrides, primary)
    with _handlers_kept():
        return launch.shown([*flags, *overrides], primary)


def _complete(words: list[str], primary: str) -> int:
    """Prints the function of bash, or the completions of the line in hand, which bash hands over."""
    from ..runs import launch
    from ..runs.values import ConfigError

    if words == [INSTALL]:
        print(SCRIPT, end="")
        return 0
    if words != [QUERY]:
        raise ConfigError(f"--shell-completion takes {INSTALL}, for bash alone")
    program, _, *asked = line()
    os.environ["COMP_LINE"] = " ".join([program, *asked])
    os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
    return launch.shown(["--shell-completion", QUERY], primary)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Takes back the handlers that Hydra gives to the root of all loggers."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        sys.stdout.flush()
