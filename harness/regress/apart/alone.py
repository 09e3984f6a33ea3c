"""One side of a comparison in a process and an environment of its own. A script: it may use a revision's
public API alone.

It reads {root, cases, seconds, builds, seed} from standard input as JSON and prints one JSON line for each
case, in order. It runs with the python of the revision's environment and PYTHONPATH at the revision's
package. The anchor is timed in turn with the benchmark: SHA-256 of a fixed text by the interpreter's own
hashlib, since NumPy's products change with what may differ here.
"""

import gc
import hashlib
import json
import os
import random
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np

TEXT = bytes(range(256)) * 4096  # 1 MiB
FEWEST_ROUNDS, SAMPLE_S = 5, 0.002


class NotOk(Exception):
    """(status, reason)"""


def main() -> None:
    job, out = json.load(sys.stdin), os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # whatever else prints, a library in C too, must not come between the lines
    cells = library(job["root"])
    for case in job["cases"]:
        try:
            found = {
                "status": "ok",
                **measured(cells, case, job["seconds"], job["builds"], random.Random(job["seed"])),
            }
        except NotOk as error:
            found = {"status": error.args[0], "reason": error.args[1]}
        except MemoryError as error:
            found = {"status": "out_of_memory", "reason": str(error)}
        except Exception as error:
            found = {"status": "failed", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:400]}
        print(json.dumps({"name": case["name"], **found}), file=out, flush=True)


def search_path(root: str) -> str:
    """Where a revision's package is imported from: src, or the top for revisions from before the packages had
    one name.
    """
    src = Path(root) / "src"
    return str(src) if (src / "cellbench").is_dir() else root


def library(root: str):
    """The revision's package. Another one that came first in the path must not be taken for it."""
    cells = import_module("cells" if search_path(root) == root else "cellbench.cells")

    if Path(str(cells.__file__)).resolve().parent.parent != Path(root).resolve():
        raise SystemExit(f"cells came from {cells.__file__}, not from {root}")
    return cells


def measured(cells, case: dict, seconds: float, builds: int, rng: random.Random) -> dict:
    """Seconds of one run, builds by rounds, of the benchmark and of the anchor, after its check."""
    arguments = inputs(cells, case)
    checked(cells, case, *arguments)
    benchmark: list[list[float]] = []
    anchored: list[list[float]] = []
    for _ in range(builds):
        moved = np.empty(
            rng.randrange(1, 1 << 16), np.uint8
        )  # where the arrays lie differs from build to build
        program = prepared(cells, case, *arguments)
        work = {
            "benchmark": lambda p=program: (p.run(), p.sync()),
            "anchor": lambda: hashlib.sha256(TEXT).digest(),
        }
        run_s = {name: warm(run) for name, run in work.items()}
        loops = {name: max(1, round(max(SAMPLE_S, run_s["benchmark"]) / run_s[name])) for name in work}
        rounds = max(FEWEST_ROUNDS, round(seconds / builds / 2 / max(SAMPLE_S, run_s["benchmark"])))
        found = timed(work, loops, rounds, rng)
        benchmark.append(found["benchmark"])
        anchored.append(found["anchor"])
        del moved
    versions = {
        name: version(name) for name in ("numpy", case["backend"]) if name in ("numpy", "numba", "torch")
    }
    return {
        "benchmark": benchmark,
        "anchor": anchored,
        "implementation": program.implementation,
        "versions": versions,
    }


def timed(work: dict, loops: dict[str, int], rounds: int, rng: random.Random) -> dict[str, list[float]]:
    """Each round times each once, in random order, with the collector off."""
    found: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        rng.shuffle(names)
        for name in names:
            found[name].append(seconds_of(work[name], loops[name]))
    gc.enable()
    return found


def seconds_of(run, loops: int) -> float:
    start = perf_counter()
    for _ in range(loops):
        run()
    return (perf_counter() - start) / loops


def warm(run, at_least_s: float = 0.02, at_least_runs: int = 3) -> float:
    """The shortest of the runs; the first ones compile."""
    taken: list[float] = []
    while len(taken) < at_least_runs or sum(taken) < at_least_s:
        taken.append(seconds_of(run, 1))
    return min(taken)


def inputs(cells, case: dict) -> tuple:
    """(params, x, d_output) in the case's dtype. Raises NotOk where this revision has no such cell or
    backend.
    """
    try:
        cell, backend = cells.get(case["spec"]), cells.backend(case["backend"])
    except ValueError as error:
        raise NotOk("absent", str(error)) from None
    for status, reason in (
        ("unavailable", backend.unavailable(case["device"])),
        ("unsupported", backend.unsupported(cell, case["dtype"], case["device"], case["direction"])),
    ):
        if reason:
            raise NotOk(status, reason)
    rng, (i, h) = np.random.default_rng(0), (case["input_size"], case["hidden_size"])
    params = {name: value.astype(case["dtype"]) for name, value in cell.init(i, h, seed=0).items()}
    sizes = (i, cell.output_size(i, h))
    return params, *(
        rng.standard_normal((case["steps"], case["batch"], n)).astype(case["dtype"]) for n in sizes
    )


def prepared(cells, case: dict, params, x, d_output, **other):
    how = {name: case[name] for name in ("backend", "dtype", "device", "direction")} | other
    backend = cells.backend(how.pop("backend"))
    program = backend.prepare(
        cells.get(case["spec"]), params, steps=case["steps"], batch=case["batch"], **how
    )
    program.load(x, None, d_output if case["direction"] == "backward" else None)
    return program


def checked(cells, case: dict, *arguments) -> None:
    """Raises NotOk unless every array is within 32 eps (1 + sqrt T) of this revision's float64 reference."""
    program = prepared(cells, case, *arguments)
    expected = prepared(cells, case, *arguments, backend="numpy", dtype="float64", device="cpu")
    for one in (program, expected):
        one.run()
        one.sync()
    have, want = arrays(*program.read()), arrays(*expected.read())
    if set(have) != set(want):
        raise NotOk("wrong", f"the arrays {', '.join(sorted(set(have) ^ set(want)))} are on one side only")
    allowed, sizes = (
        tolerance(case["dtype"], case["steps"]),
        {k: np.max(np.abs(v), initial=0) for k, v in want.items()},
    )
    largest = max(sizes.values())
    for name, value in want.items():
        cancelled = sizes[name] <= tolerance("float64", case["steps"]) * largest
        error = np.max(np.abs(have[name] - value), initial=0) / max(
            largest if cancelled else sizes[name], 1e-30
        )
        if not error <= allowed:  # NaN is wrong too
            raise NotOk(
                "wrong",
                f"{name} is off the float64 reference by {error:.2g} of its largest entry; {allowed:.2g} is"
                " allowed",
            )


def tolerance(dtype: str, steps: int) -> float:
    return float(32 * np.finfo(dtype).eps * (1 + np.sqrt(steps)))


def arrays(out, grads) -> dict[str, np.ndarray]:
    """All arrays of a result by name."""
    found = {"output": out.output} | {f"state {k}": v for k, v in out.state.items()}
    if grads is not None:
        found |= {f"d_{k}": v for k, v in grads.params.items()} | {"d_x": grads.x}
        found |= {f"d_state {k}": v for k, v in grads.state.items()}
    return found


if __name__ == "__main__":
    main()
