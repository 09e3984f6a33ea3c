"""Seconds to load results and to summarise them, from blocks and tables, one run and many (`nox -s loading`).

Writes results/reference/faults/loading.json. Exit code 1 where a million rows take more than 5 s or 100 000
more than 1 s of processor time (wall time is shown beside it; imports are not counted). Then 10 million rows
in 5,000 tables are summarised by Polars in a process of their own: in at most 15 s and 2 GB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from .. import store
from ..store import atomic, small
from .made import made

FOLDER = Path("results/reference/faults")
ALLOWED_S = {100_000: 1.0, 1_000_000: 5.0}
SETS = ((100_000, 1), (100_000, 1000), (1_000_000, 1))  # rows, and how many runs hold them
MANY_ROWS, MANY_RUNS, MANY_S, MANY_BYTES = 10_000_000, 5000, 15.0, 2 * 10**9
MODULE = "cellbench.harness.studies.loading"
PROCESSES, SAMPLES = 3, 28
FIRST = ("first_call_s", "peak_bytes", "check_error", "check_tolerance")
RATES = ("steps_per_s", "sequences_per_s", "flop_per_s", "ratio_to_native")
ROWS = len(FIRST) + PROCESSES * (SAMPLES + len(RATES))  # of one case


@dataclass(frozen=True)
class Loaded:
    """Seconds to load and to summarise so many rows from so many runs, from their blocks or their tables."""

    rows: int
    runs: int
    source: str
    bytes: int
    load_s: float
    load_cpu_s: float
    summary_s: float
    summary_cpu_s: float

    @property
    def holds(self) -> bool:
        return self.load_cpu_s + self.summary_cpu_s <= ALLOWED_S[self.rows]


def definitions(cases: int) -> Iterator[dict[str, Any]]:
    """Definitions of so many throughput cases: three cells, two backends, two directions, many lengths."""
    for k in range(cases):
        yield dict.fromkeys(store.DEFINITION) | {
            "probe": "throughput",
            "cell": ("elman", "gru", "lstm")[k % 3],
            "backend": ("numba", "native")[k // 3 % 2],
            "device": "cpu",
            "dtype": "float32",
            "threads": 1,
            "steps": 64 + k // 12,
            "batch": 16,
            "input_size": 32,
            "hidden_size": 64,
            "direction": ("forward", "backward")[k // 6 % 2],
        }


def write(parent: Path, rows: int, rng: np.random.Generator) -> Path:
    """A run of at least so many rows, with the blocks that the probe throughput writes, but not packed."""
    writer = store.create(parent, {"command": "cellbench run", "config": {}})
    for number, definition in enumerate(definitions(math.ceil(rows / ROWS))):
        case = f"{number:012x}"
        first = [{"metric": m, "unit": "s", "values": [rng.random()]} for m in FIRST]
        writer.append(case, definition, "ok", series=first)
        for process in range(PROCESSES):
            samples = {
                "metric": "seconds",
                "unit": "s",
                "values": rng.random(SAMPLES).tolist(),
                "process": process,
            }
            rates = [
                {"metric": m, "unit": "1/s", "values": [rng.random()], "process": process} for m in RATES
            ]
            writer.append(case, definition, "ok", series=[samples, *rates], implementation="numba 0.62")
        writer.append(case, definition, "ok", implementation="numba 0.62", done=True)
    writer.close()
    return writer.folder


def measure(parent: Path, rows: int, runs: int, source: str) -> Loaded:
    """Loads and summarises what lies below parent."""
    from ..report import terminal

    size = sum(
        file.stat().st_size
        for file in parent.glob(f"*/{store.BLOCKS if source == 'blocks' else store.TABLE}")
    )
    wall, cpu = time.perf_counter(), time.process_time()
    frame = store.load(parent)
    load_s, load_cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    assert len(frame) >= rows, f"{len(frame)} rows came back of {rows}"
    wall, cpu = time.perf_counter(), time.process_time()
    assert "elman" in terminal.summary_text(frame)
    return Loaded(
        rows, runs, source, size, load_s, load_cpu_s, time.perf_counter() - wall, time.process_time() - cpu
    )


def study(parent: Path) -> list[Loaded]:
    """All sets, from blocks and from tables; prints each as soon as it is there."""
    import pandas  # noqa: F401  importing is not what is measured
    import polars  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    results: list[Loaded] = []
    rng = np.random.default_rng(0)
    measure_small(parent / "warm")
    with mock.patch.object(os, "fsync"):  # these runs are written to be read, not to outlive a power cut
        for number, (rows, runs) in enumerate(SETS):
            place = parent / str(number)
            folders = [write(place, math.ceil(rows / runs), rng) for _ in range(runs)]
            results.append(measure(place, rows, runs, "blocks"))
            for folder in folders:
                (folder / store.BLOCKS).unlink()
            results.append(measure(place, rows, runs, "table"))
            for loaded in results[-2:]:
                print(line(loaded), flush=True)
    return results


def measure_small(parent: Path) -> None:
    """Has everything imported that is imported at first use, from both sources."""
    folders = [write(parent, 1, np.random.default_rng(0)) for _ in range(small.FEWEST)]
    measure(parent, 1, small.FEWEST, "blocks")
    for folder in folders:
        (folder / store.BLOCKS).unlink()
    store.load(parent)


@dataclass(frozen=True)
class Summarised:
    """What a process took to summarise so many rows, its start and its imports included."""

    rows: int
    runs: int
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def holds(self) -> bool:
        return self.wall_s <= MANY_S and self.peak_bytes <= MANY_BYTES

    @property
    def line(self) -> str:
        """For a person."""
        return (
            f"{self.rows:,} rows, {self.runs:,} runs, summarised in {self.wall_s:.1f} s ({self.cpu_s:.1f} s"
            f" CPU), peak {self.peak_bytes / 1e9:.2f} GB; allowed {MANY_S:g} s, {MANY_BYTES / 1e9:g} GB"
        )


def copies(run: Path, count: int, rng: np.random.Generator) -> None:
    """So many runs beside one, which holds its table alone, with other values."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(run / store.TABLE)
    manifest = {k: v for k, v in store.read_manifest(run).items() if k != "table"}  # the hash of the first
    run_at, value_at = (table.column_names.index(name) for name in ("run", "value"))
    for number in range(count):
        name = f"20260101-{number:06d}-0000"
        folder = run.parent / name
        folder.mkdir()
        texts = pyarrow.repeat(pyarrow.scalar(name), len(table))
        other = table.set_column(run_at, "run", texts)
        other = other.set_column(value_at, "value", pyarrow.array(rng.random(len(table))))
        pyarrow.parquet.write_table(other, folder / store.TABLE, write_page_checksum=True)
        (folder / store.MANIFEST).write_text(json.dumps(manifest | {"run": name}))


def summarise(parent: Path) -> None:
    """What is measured: every row of the summary of all runs, in this process."""
    from ..report import summary
    from ..store.brief import brief

    assert len(summary.summary(brief(parent, summary.METRICS)))


def measure_many(parent: Path) -> Summarised:
    """Writes many runs, and summarises them in a process of its own."""
    folder = write(parent, MANY_ROWS // MANY_RUNS, np.random.default_rng(1))
    (folder / store.BLOCKS).unlink()
    copies(folder, MANY_RUNS - 1, np.random.default_rng(2))
    code = f"from pathlib import Path; from {__name__ if __name__ != '__main__' else MODULE} import summarise"
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", f"{code}; summarise(Path({str(parent)!r}))"]) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the process that summarises has failed"
    wall_s, cpu_s = time.perf_counter() - began, used.ru_utime + used.ru_stime
    return Summarised(MANY_ROWS, MANY_RUNS, wall_s, cpu_s, used.ru_maxrss * 1024)


def line(loaded: Loaded) -> str:
    """For a person."""
    return (
        f"{loaded.rows:9,} rows, {loaded.runs:5} runs, {loaded.source:6} load {loaded.load_s:6.2f} s"
        f" ({loaded.load_cpu_s:.2f} s CPU), summary {loaded.summary_s:6.2f} s ({loaded.summary_cpu_s:.2f} s"
        f" CPU), allowed {ALLOWED_S[loaded.rows]:g} s"
    )


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where one takes too long."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.loading", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cellbench-loading-") as parent:
        results = study(Path(parent))
        many = measure_many(Path(parent) / "many")
        print(many.line)
    given.results.mkdir(parents=True, exist_ok=True)
    content = {
        "made": made("nox -s loading"),
        "measured": [
            asdict(loaded) | {"allowed_cpu_s": ALLOWED_S[loaded.rows], "holds": loaded.holds}
            for loaded in results
        ],
        "summarised": asdict(many) | {"allowed_s": MANY_S, "allowed_bytes": MANY_BYTES, "holds": many.holds},
    }
    atomic.write_json(given.results / "loading.json", content)
    return int(not (many.holds and all(loaded.holds for loaded in results)))


if __name__ == "__main__":
    sys.exit(main())
