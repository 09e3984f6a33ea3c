"""The command `cellbench`. Only `run` needs Hydra, and nothing heavy is imported before it is used."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DESCRIPTION = "Benchmarks and diagnostics for recurrent cells."
RUN_HELP = """\
measure: cellbench run [KEY=VALUE ...]
  cells=[elman,lstm,gru]       names, path/to/file.py:Name, options as elman:activation=relu; or all
  backends=[numpy,numba,torch,native]     probes=[parameters,throughput,gradient_decay,clipping,training]
  tasks=[adding,spoken_digits]            experiment=quick|report|shapes|tasks|speed|regress
  workload.steps=[64,256] workload.batch=16 workload.input_size=32 workload.hidden_size=64
  match=parameters|operations|state       hidden sizes at which every cell has the first one's budget
  direction=[forward,backward] dtype=float32 device=cpu threads=1 seeds=2 results=DIR budget_s=N case_timeout_s=N
  probe.NAME.OPTION=VALUE      an option of a probe
  --plan                       print the cases and about how long they take, run nothing
  -m                           Hydra multirun: KEY=A,B makes a run of each
  resume=RUN                   go on with an interrupted run"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 1 where a case ended in an error, 2 for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["run"]:
            from .commands.run import run

            return run(arguments[1:])
        if arguments[:1] == ["regress"]:
            from .regress.regress import regress

            return regress(arguments[1:])
        if arguments[:1] == ["compare"] and any(map(_measured_now, arguments[1:])):
            from .regress.selectors import compare

            return compare(arguments[1:])
        parsed = parser().parse_args(arguments)
        code = parsed.do(parsed)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("cellbench: interrupted", file=sys.stderr)
        return 130
    except ValueError as error:  # ConfigError, ResultsError, EquationError: one line each
        print(f"cellbench: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise ValueError(f"{message}; `cellbench --help` shows what there is")


def parser() -> argparse.ArgumentParser:
    """The commands but `run`, whose arguments are Hydra's."""
    top = _Parser(
        "cellbench",
        description=DESCRIPTION,
        epilog=RUN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"cellbench {_version()}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("run", help="measure; see below", add_help=False)
    commands.add_parser(
        "regress",
        help="regress base=REV [KEY=VALUE ...]: the working tree against a revision",
        add_help=False,
    )
    comparing = commands.add_parser(
        "compare", help="two runs; or A:B [KEY=VALUE ...], two backends or cells, measured now"
    )
    comparing.add_argument(
        "runs", nargs="*", metavar="RUN", help="two, the older first: folders, or names below results/runs"
    )
    comparing.add_argument(
        "--results", type=Path, default=Path("results/runs"), help="where runs are looked for by name"
    )
    comparing.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON too")
    comparing.set_defaults(do=_compare)
    report = commands.add_parser(
        "report", help="write the page and the tables of runs (the newest one if none is given)"
    )
    report.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run's folder, or a folder of runs"
    )
    report.add_argument(
        "--results", type=Path, default=Path("results/runs"), help="where to look for the newest run"
    )
    report.add_argument("--output", type=Path, help="folder of the page (default: results/reports/RUN)")
    report.add_argument(
        "--claims",
        type=Path,
        metavar="DIR",
        help="what `claims` wrote, for the last section (default: claims beside the runs' folder)",
    )
    report.set_defaults(do=_report)
    history = commands.add_parser(
        "history", help="add runs to the history, and show its trends and change points"
    )
    history.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run's folder, or a folder of runs"
    )
    history.add_argument(
        "--file", type=Path, default=Path("results/history/history.jsonl"), help="default: %(default)s"
    )
    history.add_argument(
        "--output",
        type=Path,
        default=Path("results/reports/history"),
        help="folder of the page (default: %(default)s)",
    )
    history.set_defaults(do=_history)
    listing = commands.add_parser("list", help="what there is; of one kind a table")
    listing.add_argument("kind", nargs="?", choices=["cells", "backends", "probes", "tasks"])
    listing.set_defaults(do=_list)
    showing = commands.add_parser("show", help="a cell's equations, shapes, counts, backends, and its kernel")
    showing.add_argument(
        "cell", metavar="CELL", help="a name, path/to/file.py:Name, options as elman:activation=relu"
    )
    showing.add_argument(
        "--input-size", type=_size, metavar="I", help="default: 32, or H where the cell needs them alike"
    )
    showing.add_argument("--hidden-size", type=_size, metavar="H", default=64, help="default: 64")
    showing.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    showing.add_argument(
        "--kernel", action="store_true", help="print the text of its fused Numba kernel, nothing else"
    )
    showing.set_defaults(do=_show)
    checking = commands.add_parser(
        "check", help="hold your own implementation of a cell against the float64 reference"
    )
    checking.add_argument(
        "thing", metavar="FILE:NAME", help="a torch module, class, object or function; or a file of ONNX"
    )
    checking.add_argument(
        "--against", required=True, metavar="CELL", help="a name, path/to/file.py:Name, options as for show"
    )
    checking.add_argument("--input-size", type=_size, metavar="I", help="default: 5, or what the thing has")
    checking.add_argument("--hidden-size", type=_size, metavar="H", help="default: 7, or what the thing has")
    checking.add_argument("--steps", type=_size, metavar="T", default=11, help="default: 11")
    checking.add_argument("--batch", type=_size, metavar="B", default=3, help="default: 3")
    checking.add_argument("--dtype", choices=["float32", "float64"], help="default: the thing's own")
    checking.add_argument("--weights", type=Path, metavar="FILE.npz", help="the cell's arrays, by name")
    checking.add_argument("--seed", type=int, default=0)
    checking.set_defaults(do=_check)
    examining = commands.add_parser(
        "doctor", help="what this machine can run, how well it can be measured on, and advice"
    )
    examining.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="of the noise test; 0: none (default: 20)"
    )
    examining.add_argument("--json", action="store_true", help="print one object instead of lines")
    examining.set_defaults(do=_doctor)
    data = commands.add_parser(
        "data", help="fetch: download the real data of tasks; list: where it comes from, what is here"
    )
    data.add_argument("action", choices=["fetch", "list"])
    data.add_argument("tasks", nargs="*", metavar="TASK", help="default: all that have an archive")
    data.set_defaults(do=_data)
    claiming = commands.add_parser(
        "claims", help="the lecture's claims, measured and judged, and their page (about 8 minutes)"
    )
    claiming.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    claiming.add_argument(
        "--output",
        type=Path,
        default=Path("results/claims"),
        help="folder of the page (default: %(default)s)",
    )
    claiming.set_defaults(do=_claims)
    importing = commands.add_parser("import", help="take over pytest-benchmark's JSON as a run")
    importing.add_argument("file", type=Path)
    importing.add_argument("--results", type=Path, default=Path("results/runs"))
    importing.set_defaults(do=_import)
    return top


def _version() -> str:
    try:
        return version("cellbench")
    except PackageNotFoundError:
        return "(not installed)"


def _size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _list(arguments: argparse.Namespace) -> int:
    from .commands import list as listing

    if arguments.kind:
        listing.print_table(arguments.kind)
    else:
        print(listing.names())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from .commands import show

    if arguments.kernel:
        print(show.kernel(arguments.cell, arguments.dtype), end="")
    else:
        print(show.show(arguments.cell, arguments.input_size, arguments.hidden_size, arguments.dtype))
    return 0


def _measured_now(argument: str) -> bool:
    """Whether an argument of compare is A:B, two backends or cells, rather than a run's folder or KEY=VALUE."""
    return (
        ":" in argument.partition("=")[0]
        and not argument.startswith("-")
        and not Path(argument).expanduser().exists()
    )


def _compare(arguments: argparse.Namespace) -> int:
    from .regress.stored import compare

    if len(arguments.runs) != 2:
        given = " ".join(arguments.runs) or "nothing"
        raise ValueError(f"compare takes two runs, or one A:B of two backends or cells; it got {given}")
    a, b = arguments.runs
    return compare(a, b, arguments.results, arguments.json)


def _report(arguments: argparse.Namespace) -> int:
    from . import report, store
    from .claims._page import last_section
    from .measure import reliability

    runs = [run for path in arguments.runs for run in store.runs(path)] or [store.runs(arguments.results)[-1]]
    frame, manifests = store.load(runs), [store.read_manifest(run) for run in runs]
    folder = arguments.output or Path("results/reports") / "+".join(m["run"] for m in manifests)[:120]
    last, warned = last_section(runs[0], manifests, arguments.claims)
    page = report.write(frame, manifests, folder, reliability.line(), last)
    print(report.terminal.text(frame))
    for line in warned:
        print(f"claims: {line}")
    print(f"page: {page}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from .commands.history import history

    return history(arguments.runs, arguments.file, arguments.output)


def _check(arguments: argparse.Namespace) -> int:
    from cellbench.cells.checking import check
    from cellbench.cells.checking.files import weights

    given = weights(arguments.weights) if arguments.weights else None
    names = ("input_size", "hidden_size", "steps", "batch", "dtype", "seed")
    found = check(
        arguments.thing, arguments.against, given, **{name: getattr(arguments, name) for name in names}
    )
    print(found)
    return 0 if found.ok else 1


def _doctor(arguments: argparse.Namespace) -> int:
    from .commands.doctor import doctor

    return doctor(arguments.seconds, arguments.json)


def _data(arguments: argparse.Namespace) -> int:
    from .commands import data

    if arguments.action == "fetch":
        return data.fetch(arguments.tasks)
    data.print_table(arguments.tasks)
    return 0


def _claims(arguments: argparse.Namespace) -> int:
    from .commands.claims import claims

    return claims(arguments.names, arguments.output)


def _import(arguments: argparse.Namespace) -> int:
    from .commands.import_ import import_benchmarks

    print(f"run: {import_benchmarks(arguments.file, arguments.results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
