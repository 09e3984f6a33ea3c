"""Results on disk. One run is one folder with one writer: manifest.json, cases.jsonl, and cases.parquet once it has ended.

A line of cases.jsonl is a block: one case's definition, status, and series of values. It is appended with one write and
fsync, so that a kill at any instant loses at most the block in hand. Numbers are SI; NaN and Infinity are written as such.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
MANIFEST, BLOCKS, TABLE = "manifest.json", "cases.jsonl", "cases.parquet"
DEFINITION = (
    "probe", "cell", "options", "variant", "backend", "device", "dtype", "threads", "steps", "batch", "input_size",
    "hidden_size", "match", "direction", "task", "seed",
)  # fmt: skip
COLUMNS = (
    "run", "case", *DEFINITION[:5], "implementation", *DEFINITION[5:], "metric", "unit", "value", "lag", "process", "sample",
    "status", "reason",
)  # fmt: skip
WHOLE = ("threads", "steps", "batch", "input_size", "hidden_size", "seed", "lag", "process", "sample")


class ResultsError(ValueError):
    """A results folder or file cannot be used; the message names it."""


class RunWriter:
    """The one writer of a run's folder."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.folder, self.attempt = folder, attempt
        self._file = os.open(folder / BLOCKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResultsError(f"{folder} is being written by another process; wait for it to end") from None

    def append(self, case: str, definition: dict[str, Any], status: str, *, series: Iterable[dict[str, Any]] = (),
               reason: str | None = None, implementation: str | None = None, done: bool = False) -> None:  # fmt: skip
        """Adds a block; `done` says that the case is finished. A series has metric, unit, values, and may have lag, process."""
        block = {
            "case": case, "attempt": self.attempt, "done": done, "status": status, "reason": reason,
            "implementation": implementation, "definition": definition, "series": list(series),
        }  # fmt: skip
        os.write(self._file, (json.dumps(block) + "\n").encode())
        os.fsync(self._file)

    def close(self) -> None:
        """Ends the run: packs the tidy table beside the blocks."""
        temporary = self.folder / (TABLE + ".tmp")
        _tidy([self.folder]).to_parquet(temporary, index=False)
        temporary.replace(self.folder / TABLE)
        os.close(self._file)


def create(parent: Path, manifest: dict[str, Any]) -> RunWriter:
    """A new run's folder below the parent, with its manifest. Raises ResultsError where it cannot be written."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = parent / name
    make(parent)
    folder.mkdir()
    _write_json(folder / MANIFEST, {"schema": SCHEMA, "run": name, **manifest})
    return RunWriter(folder, attempt=0)


def make(folder: Path) -> None:
    """The folder, with those above it. Raises ResultsError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"results {str(folder)!r} cannot be written: {error.strerror}; give another folder, results=DIR"
        ) from None


def reopen(folder: Path) -> tuple[RunWriter, set[str]]:
    """A writer that goes on with an interrupted run, and the cases that are finished and ok. The torn end is cut off."""
    writer = RunWriter(folder, attempt=0)  # takes the lock before anything is read or cut
    blocks = list(read_blocks(folder))
    path = folder / BLOCKS
    text = path.read_bytes()
    if text and not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)
    writer.attempt = 1 + max((b["attempt"] for b in blocks), default=0)
    return writer, {b["case"] for b in blocks if b["done"] and b["status"] == "ok"}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises ResultsError for a folder that is no run, or one of another schema."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf8"))
    except FileNotFoundError:
        raise ResultsError(f"{folder} is no run: it has no {MANIFEST}") from None
    except ValueError:
        raise ResultsError(f"{folder / MANIFEST} is damaged") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ResultsError(f"{folder / MANIFEST} is not of schema {SCHEMA}, which this version reads")
    return manifest


def read_blocks(folder: Path) -> Iterator[dict[str, Any]]:
    """The run's blocks. A last line without its newline is dropped with a warning; any other damage raises ResultsError."""
    path = folder / BLOCKS
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    if lines.pop():
        warnings.warn(f"{path}: the last line was cut off while it was written; it is left out", stacklevel=2)
    for number, line in enumerate(lines, 1):
        try:
            block = json.loads(line)
            block["case"], block["series"], block["definition"]["probe"]
        except (ValueError, KeyError, TypeError):
            raise ResultsError(f"{path} line {number} is damaged; remove the line or the run") from None
        yield block


def runs(path: Path) -> list[Path]:
    """The run folders at a path: itself, or those in it, oldest first. Raises ResultsError where there is none."""
    if (path / MANIFEST).exists():
        return [path]
    found = sorted(p.parent for p in path.glob(f"*/{MANIFEST}"))
    if not found:
        raise ResultsError(f"no run in {str(path)!r}; `cellbench run` makes one, results=DIR says where")
    return found


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs: a run's folder, a folder of runs, or several of them.

    One observation a row, with the columns of COLUMNS. Every row of a case has the status that the case ended with; one that
    is not ok has a row without a metric, and keeps what was measured before its end. `lag` is
    the position on any per-step axis (lag, optimiser step, epoch); a column that does not apply is null.
    """
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    return _tidy([run for p in paths for run in runs(Path(p))], packed=True)


def _tidy(folders: list[Path], packed: bool = False) -> pandas.DataFrame:
    import pandas

    frames = [_frame(f, packed) for f in folders]
    frames = [f for f in frames if len(f)] or frames[:1]
    return pandas.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _frame(folder: Path, packed: bool) -> pandas.DataFrame:
    import pandas

    run = read_manifest(folder)["run"]
    table, written = folder / TABLE, folder / BLOCKS
    if packed and table.exists() and not (written.exists() and written.stat().st_mtime > table.stat().st_mtime):
        return pandas.read_parquet(table).reindex(columns=list(COLUMNS))  # an older table has fewer
    blocks = list(read_blocks(folder))
    last = {b["case"]: b for b in blocks}  # a case that was measured again counts once, as its last block says
    kept = [b for b in blocks if b["attempt"] == last[b["case"]]["attempt"]]
    return _expand(run, [b | _end(last[b["case"]]) for b in kept])


def _end(block: dict[str, Any]) -> dict[str, Any]:
    """Status and reason of a case whose last block this is."""
    if block["done"]:
        return {k: block[k] for k in ("status", "reason")}
    return {"status": "skipped", "reason": "the run ended before this case; cellbench run resume=RUN goes on with it"}


def _expand(run: str, blocks: list[dict[str, Any]]) -> pandas.DataFrame:
    """The frame of a run's blocks: every value of every series a row."""
    import numpy as np
    import pandas

    heads, counts = [], []
    columns: dict[str, list[np.ndarray]] = {"value": [], "lag": [], "sample": []}
    for block in blocks:
        head = {"run": run, "case": block["case"], **{k: block["definition"].get(k) for k in DEFINITION}}
        head |= {k: block[k] for k in ("implementation", "status", "reason")}
        bare = block["done"] and block["status"] != "ok"
        for s in block["series"] or ([{"metric": None, "unit": None, "values": [np.nan]}] if bare else []):
            values, lags = s["values"], s.get("lag")
            heads.append(head | {"metric": s["metric"], "unit": s["unit"], "process": s.get("process")})
            counts.append(len(values))
            columns["value"].append(np.asarray(values, float))
            columns["lag"].append(np.full(len(values), np.nan) if lags is None else np.asarray(lags, float))
            sample = np.arange(len(values)) if lags is None else np.full(len(values), s.get("sample", 0))
            columns["sample"].append(sample)
    if not heads:
        return pandas.DataFrame({c: [] for c in COLUMNS})
    frame = pandas.DataFrame(heads).loc[np.repeat(np.arange(len(heads)), counts)].reset_index(drop=True)
    for name, parts in columns.items():
        frame[name] = np.concatenate(parts)
    for name in WHOLE:
        frame[name] = frame[name].astype("Int64")
    return frame.astype({c: "object" for c in COLUMNS if c not in (*WHOLE, "value")})[list(COLUMNS)]


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf8") as file:
        json.dump(value, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
