"""`cellbench compare A B`: two stored runs, through the partner that both timed inside their processes."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import store
from ..measure.judge import Judgement, corrected
from ..measure.unpaired import decide
from ..measure.verdict import FLOOR, Verdict
from ..screen import annotate
from ..store import atomic, code, provenance
from ..store.imported import is_imported
from . import imported, imported_times, outputs
from .benchmarks import SIZES, Comparison, name_of
from .exact import facts, other_work
from .imported_times import Times
from .stored_run import PARTNER, StoredCase, StoredRun, find, read
from .usable import left_out, strange, usable

READ = ("seconds", "ratio_to_native")
NOT_REPEATED = (
    f"nothing was repeated, so a change needs {100 * FLOOR:g} %, processes that do not overlap, and Welch's p"
    " over the suite; to see smaller changes, measure both runs with probe.throughput.processes=5 or more,"
    " or use `cellbench regress`"
)


def compare(a: str, b: str, results: Path, json: Path | None = None) -> int:
    """Exit code of `cellbench compare A B`: 0, 1 for a failure, 3 where it cannot tell.

    Raises ResultsError for what is no whole run of throughput.
    """
    before, now = (throughput(find(name, results)) for name in (a, b))
    one_kind(before, now)
    each_once([a, b], [before, now])
    if imported.imported_sides(before, now):
        outcome = imported.compared(before, now)
        header, rows = imported_times.table(imported_times.side_by_side([before, now]))
        text = outputs.text(outcome, table=([header[0], "A", "B", header[-1]], rows))
    else:
        outcome = compared(before, now)
        text = outputs.text(outcome)
    print(text, flush=True)
    if json:
        write_json(json, outputs.record(outcome))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(outputs.annotations(outcome))
    return outputs.exit_code(outcome)


def side_by_side(names: Sequence[str], results: Path) -> Times:
    """The times of several imported runs.

    Raises ResultsError where one was measured by cellbench, or is given twice.
    """
    runs = [read(find(name, results)) for name in names]
    if own := [run for run in runs if not is_imported(run.manifest)]:
        raise store.ResultsError(
            f"run {own[0]} was measured by cellbench; compare judges two of its runs, and shows any number"
            " of imported ones: `cellbench report` has several runs side by side"
        )
    each_once(names, runs)
    return imported_times.side_by_side(runs)


def each_once(names: Sequence[str], runs: Sequence[StoredRun]) -> None:
    """Raises ResultsError for a run that is given twice, by two names perhaps."""
    known: dict[str, str] = {}
    for name, run in zip(names, runs, strict=True):
        number = run.manifest["run"]
        if number in known:
            raise store.ResultsError(
                f"{known[number]!r} and {name!r} are the same run, {number}; give different ones"
            )
        known[number] = name


def one_kind(a: StoredRun, b: StoredRun) -> None:
    """Raises ResultsError for a run that was imported beside one that was measured here."""
    if imported.imported_sides(a, b) == 1:
        names = [run.manifest["run"] for run in sorted((a, b), key=lambda r: is_imported(r.manifest))]
        raise store.ResultsError(
            f"run {names[0]} was measured by cellbench, {names[1]} was imported: they have no benchmark in"
            " common; give two imported runs, or `cellbench report` both to see them side by side"
        )


def throughput(folder: Path) -> StoredRun:
    """The run in a folder. Raises ResultsError for one that is not whole or has nothing to compare."""
    run = read(folder)
    if not run.of("throughput") and not is_imported(run.manifest):
        raise store.ResultsError(
            f"run {folder} holds no throughput, which compare judges; measure it with probes=[throughput]"
        )
    return run


def compared(a: StoredRun, b: StoredRun) -> Comparison:
    """The comparison of two runs; without a judgement where they are of two machines."""
    if why := no_baseline(a.manifest, b.manifest):
        return Comparison("stored runs", str(a), str(b), (), notes=(f"no baseline: {why}",))
    names = [n for n, case in a.of("throughput").items() if case.ok and n in b.cases and b.cases[n].ok]
    partners = {n for n in names if any(partner_of(a.cases[other]) == n for other in names if other != n)}
    rng = np.random.default_rng(0)  # the same two runs are told the same
    odd = [value for run in (a, b) for value in strange(read_of(run), run.manifest["run"])]
    judgements = corrected([judge(name, a, b, rng) for name in names if name not in partners])
    return Comparison(
        "stored runs",
        str(a),
        str(b),
        tuple(judgements),
        commands=commands([j.name for j in judgements], a),
        missing=tuple(missing(a, b)),
        notes=(*notes(a, b, partners), *left_out(odd), NOT_REPEATED),
        facts=facts(a, b),
    )


def no_baseline(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """The reason why times of two runs cannot be compared, or None.

    A machine key differs, or one has none.
    """
    for manifest in (a, b):
        if provenance.key_of(manifest) is None:
            return f"run {manifest['run']} does not say its machine key (an older version made it)"
    if provenance.key_of(a) == provenance.key_of(b):
        return None
    return f"another machine, {'; '.join(provenance.differences(a['machine_key'], b['machine_key']))}"


def judge(name: str, a: StoredRun, b: StoredRun, rng: np.random.Generator) -> Judgement:
    """One benchmark of both runs."""
    sides = a.cases[name], b.cases[name]
    logs = [
        [-float(np.log(ratio)) for ratio in case.by_process("ratio_to_native").values()] for case in sides
    ]
    timed_s = sum(sum(usable(s["values"])) for case in sides for s in case.series if s["metric"] == "seconds")
    if reason := other_work(name, a, b):
        return Judgement(name, Verdict.INVALID, reason, timed_s=timed_s)
    if reason := no_partner(sides, a, b, logs):
        return Judgement(
            name, Verdict.UNSURE, f"{reason}; {levels(sides)}", processes=_processes(sides), timed_s=timed_s
        )
    verdict, reason, effect, p = decide(logs[0], logs[1], rng)
    if verdict is Verdict.UNSURE:
        reason += f"; {levels(sides)}"
    return Judgement(name, verdict, reason, effect, min(map(len, logs)), p=p, timed_s=timed_s)


def no_partner(
    sides: tuple[StoredCase, StoredCase], a: StoredRun, b: StoredRun, logs: list[list[float]]
) -> str | None:
    """The reason why the times of a benchmark have nothing in common, or None.

    Throughput writes ratio_to_native only where native was timed in the same process, so that is what shows
    it.
    """
    if sides[0].definition["backend"] == PARTNER:
        return f"no partner: {PARTNER} is what others are held against"
    if not all(logs):
        return f"no partner: {PARTNER} was not timed in its processes"
    old, new = (run.cases.get(partner_of(case)) for run, case in zip((a, b), sides, strict=True))
    texts = [case.implementation if case else None for case in (old, new)]
    return (
        None
        if texts[0] and texts[0] == texts[1]
        else f"its partner {PARTNER} is another: {texts[0]!r}, then {texts[1]!r}"
    )


def partner_of(case: StoredCase) -> str:
    """The name of the case whose program is timed beside this one."""
    return name_of(case.definition | {"backend": PARTNER})


def levels(sides: tuple[StoredCase, StoredCase]) -> str:
    """Median seconds of both sides and their range over processes.

    They are for the eye alone, since levels drift from run to run.
    """

    def level(case: StoredCase) -> str:
        ms = [1e3 * v for v in case.by_process("seconds").values()]
        return f"{statistics.median(ms):.4g} ms ({min(ms):.4g} .. {max(ms):.4g})" if ms else "no time"

    return f"levels: {', then '.join(level(case) for case in sides)}"


def missing(a: StoredRun, b: StoredRun) -> list[str]:
    """A line for each case that was ok in A and is not in B.

    A probe that B never ran is a note instead.
    """
    new = [name for name in b.cases if name not in a.cases]
    lines = []
    for name, case in a.cases.items():
        now = b.cases.get(name)
        if case.ok and now is None and b.of(case.probe):
            near = _near(name, [n for n in new if b.cases[n].probe == case.probe])
            lines.append(f"{name}: ok in A, not in B{f'; renamed to {near!r}?' if near else ''}")
        elif case.ok and now and not now.ok:
            lines.append(f"{name}: ok in A, {now.status} in B: {now.reason or 'no reason given'}")
    return lines


def notes(a: StoredRun, b: StoredRun, partners: set[str]) -> list[str]:
    """Notes on what is not judged: partners, new cases, probes of one run, other versions."""
    lines = [
        f"{n}: the partner, not judged itself; {levels((a.cases[n], b.cases[n]))}"
        for n in a.cases
        if n in partners
    ]
    for name, case in b.cases.items():
        was = a.cases.get(name)
        if was is None and a.of(case.probe):
            lines.append(f"{name}: new in B ({case.status}), not judged")
        elif was and not was.ok:
            lines.append(f"{name}: {was.status} in A, {case.status} in B, not judged")
    probes = [{case.probe for case in run.cases.values()} for run in (a, b)]
    lines += [
        f"probe {probe} was run in one of the two only, and is not compared"
        for probe in sorted(probes[0] ^ probes[1])
    ]
    codes = [run.manifest.get("code") or {} for run in (a, b)]
    if all(codes) and (changed := code.changed(*codes)):
        lines.append(f"other code: {', '.join(changed)} changed between the two")
    versions = provenance.differences(*(run.manifest.get("versions") or {} for run in (a, b)))
    return [*lines, *(f"another version of {line}" for line in versions)]


def read_of(run: StoredRun) -> list[dict[str, Any]]:
    """The series of throughput that are read."""
    cases = [case for case in run.of("throughput").values() if case.ok]
    return [one for case in cases for one in case.series if one["metric"] in READ]


def commands(names: Iterable[str], a: StoredRun) -> dict[str, str]:
    """The command that judges each benchmark with repetition: regress against A's commit.

    There is none where that commit is not all of A's code.
    """
    git = a.manifest.get("git") or {}
    if git.get("dirty") or not git.get("commit"):
        return {}
    overrides = {name: _options(a.cases[name].definition, a.manifest["config"]) for name in names}
    return {
        name: f"cellbench regress base={git['commit'][:12]} {shlex.join(o)}"
        for name, o in overrides.items()
        if o
    }


def _options(definition: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """The overrides that ask for one case.

    There are none for a cell by path, whose file a run does not know.
    """
    spec = ":".join(str(definition[k]) for k in ("cell", "options") if definition.get(k))
    cells = config.get("cells") or []
    if cells != "all" and spec not in cells:
        return []
    sizes = [f"workload.{k}={definition[k]}" for k in SIZES.values()]
    rest = [f"{k}={definition[k]}" for k in ("direction", "dtype", "device", "threads")]
    return [f"cells=[{spec}]", f"backends=[{definition['backend']}]", *sizes, *rest]


def _processes(sides: tuple[StoredCase, StoredCase]) -> int:
    return min(len(case.by_process("seconds")) for case in sides)


def _near(name: str, known: list[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def write_json(file: Path, text: str) -> None:
    """Writes the file of --json. Raises ResultsError where it cannot be written."""
    try:
        atomic.write_text(file, text)
    except OSError as error:
        raise store.ResultsError(
            f"--json={str(file)!r} cannot be written: {error.strerror}; give another file"
        ) from None
