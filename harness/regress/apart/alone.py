"""One side of a comparison, as a script in a process and an environment of its own.

It may use nothing but a revision's public API, for the revision may be an older one. How far a result may be
off is told by the file of this one.

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
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

TEXT = bytes(range(256)) * 4096  # 1 MiB
FEWEST_ROUNDS, SAMPLE_S = 5, 0.002
Run = Callable[[], object]


class NotOk(Exception):
    """(status, reason)"""


def main() -> None:
    job, out = json.load(sys.stdin), os.fdopen(os.dup(1), "w", encoding="utf8")
    os.dup2(2, 1)  # whatever else prints, a library in C too, must not come between the lines
    cells = library(job["root"])
    for case in job["cases"]:
        try:
            seconds = measured(cells, case, job["seconds"], job["builds"], random.Random(job["seed"]))
            line = {"status": "ok", **seconds}
        except NotOk as error:
            line = {"status": error.args[0], "reason": error.args[1]}
        except MemoryError as error:
            line = {"status": "out_of_memory", "reason": str(error)}
        except (Exception, SystemExit) as error:  # whatever the revision raises is told of its case
            line = {"status": "failed", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:400]}
        print(json.dumps({"name": case["name"], **line}), file=out, flush=True)


def search_path(root: str) -> str:
    """The folder that a revision's package is imported from: src, or the top before it had one name."""
    src = Path(root) / "src"
    return str(src) if (src / "cellbench").is_dir() else root


def library(root: str) -> Any:
    """The revision's package. Another one that came first in the path must not be taken for it."""
    cells = import_module("cells" if search_path(root) == root else "cellbench.cells")

    if Path(str(cells.__file__)).resolve().parent.parent != Path(root).resolve():
        raise SystemExit(f"cells came from {cells.__file__}, not from {root}")
    return cells


def measured(cells: Any, case: Any, seconds: float, builds: int, rng: random.Random) -> dict[str, Any]:
    """Seconds of one run, builds by rounds, of the benchmark and of the anchor, after its check."""
    arguments = inputs(cells, case)
    checked(cells, case, *arguments)
    benchmark: list[list[float]] = []
    anchored: list[list[float]] = []
    for _ in range(builds):
        moved = np.empty(rng.randrange(1, 1 << 16), np.uint8)  # moves the arrays after it from build to build
        program = prepared(cells, case, *arguments)
        work: dict[str, Run] = {"benchmark": once(program), "anchor": anchor}
        run_s = {name: warm(run) for name, run in work.items()}
        loops = {name: max(1, round(max(SAMPLE_S, run_s["benchmark"]) / run_s[name])) for name in work}
        rounds = max(FEWEST_ROUNDS, round(seconds / builds / 2 / max(SAMPLE_S, run_s["benchmark"])))
        samples = timed(work, loops, rounds, rng)
        benchmark.append(samples["benchmark"])
        anchored.append(samples["anchor"])
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


def once(program: Any) -> Run:
    """One run of a program, waited for."""

    def run() -> None:
        program.run()
        program.sync()

    return run


def anchor() -> bytes:
    return hashlib.sha256(TEXT).digest()


def timed(
    work: dict[str, Run], loops: dict[str, int], rounds: int, rng: random.Random
) -> dict[str, list[float]]:
    """Each round times each once, in random order, with the collector off."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        rng.shuffle(names)
        for name in names:
            seconds[name].append(seconds_of(work[name], loops[name]))
    gc.enable()
    return seconds


def seconds_of(run: Run, loops: int) -> float:
    start = perf_counter()
    for _ in range(loops):
        run()
    return (perf_counter() - start) / loops


def warm(run: Run, at_least_s: float = 0.02, at_least_runs: int = 3) -> float:
    """The shortest of the runs; the first ones compile."""
    taken: list[float] = []
    while len(taken) < at_least_runs or sum(taken) < at_least_s:
        taken.append(seconds_of(run, 1))
    return min(taken)


def inputs(cells: Any, case: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(params, x, d_output) in the case's dtype. Raises NotOk without such a cell or backend."""
    if case["dtype"] not in ("float32", "float64"):
        raise NotOk(
            "unsupported", f"two environments are compared in float32 or float64, not {case['dtype']}"
        )
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
    x, d_output = (
        rng.standard_normal((case["steps"], case["batch"], n)).astype(case["dtype"]) for n in sizes
    )
    return params, x, d_output


def prepared(cells: Any, case: Any, params: Any, x: Any, d_output: Any, **other: Any) -> Any:
    how = {name: case[name] for name in ("backend", "dtype", "device", "direction")} | other
    backend = cells.backend(how.pop("backend"))
    program = backend.prepare(
        cells.get(case["spec"]), params, steps=case["steps"], batch=case["batch"], **how
    )
    program.load(x, None, d_output if case["direction"] == "backward" else None)
    return program


def checked(cells: Any, case: Any, params: Any, x: Any, d_output: Any) -> None:
    """Raises NotOk unless every array is as near to this revision's float64 reference as a run asks for."""
    model, dtype, steps = tolerances(), case["dtype"], case["steps"]
    vocabulary = sys.modules.get(f"{cells.__name__}.vocabulary.primitives")
    plainly = {"backend": "numpy", "device": "cpu"}
    want = computed(cells, case, params, x, d_output, **plainly, dtype="float64")
    have = computed(cells, case, params, x, d_output)
    if set(have) != set(want):
        raise NotOk("wrong", f"the arrays {', '.join(sorted(set(have) ^ set(want)))} are on one side only")
    errors = model.relative_errors(have, want, steps)
    allowed = dict.fromkeys(errors, model.tolerance(dtype, steps))
    for times in model.TIMES:
        if not all(errors[name] <= allowed[name] for name in errors):
            more = model.when_moved(
                lambda params, x, within: computed(cells, case, params, x, d_output, **plainly, dtype=within),
                *(params, x, want),
                steps=steps,
                dtype=dtype,
                times=times,
                # of the revision's own vocabulary, which may be older than that
                changed=getattr(vocabulary, "changed", nullcontext),
            )
            allowed = {name: max(allowed[name], more[name]) for name in want}
    for name, error in errors.items():
        if not error <= (most := allowed[name]):  # NaN is wrong too
            off = f"{name} is off the float64 reference by {error:.2g} of its largest entry"
            raise NotOk("wrong", f"{off}; {most:.2g} is allowed")


def computed(cells: Any, case: Any, *arguments: Any, **other: Any) -> dict[str, np.ndarray]:
    """All arrays of one run by name."""
    program = prepared(cells, case, *arguments, **other)
    program.run()
    program.sync()
    return arrays(*program.read())


def tolerances() -> Any:
    """How far an array may be off, as this file's own revision has it, whatever the other one has.

    The module and the formats that it imports need NumPy alone: they are found beside this file, under a name
    that no package of the revision has.
    """
    package = sys.modules.setdefault("_own_programs", ModuleType("_own_programs"))
    package.__path__ = [str(Path(__file__).resolve().parents[3] / "cells" / "programs")]
    return import_module("_own_programs.tolerance")


def arrays(out: Any, grads: Any) -> dict[str, np.ndarray]:
    """All arrays of a result by name."""
    named = {"output": out.output} | {f"state {k}": v for k, v in out.state.items()}
    if grads is not None:
        named |= {f"d_{k}": v for k, v in grads.params.items()} | {"d_x": grads.x}
        named |= {f"d_state {k}": v for k, v in grads.state.items()}
    return named


if __name__ == "__main__":
    main()
