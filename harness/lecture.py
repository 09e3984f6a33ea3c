"""`cellbench claims [NAME ...]`: measures the claims of the lecture, a line for each as it ends, and writes their page."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from . import claim, machine
from .claim import Claim, Numbers, Ruling
from .progress import Progress
from .report.page import Section, as_html, as_markdown
from .report.panels import Figure, finish
from .report.table import Entry, Table, number
from .report.units import quantity
from .store import make

TITLE = "cellbench: the lecture's claims"


@dataclass(frozen=True)
class Outcome:
    """What became of a claim; `failed` says why there is no ruling."""

    claim: Claim
    seconds: float
    numbers: Numbers
    ruling: Ruling | None = None
    figure: Figure | None = None
    table: Table | None = None
    failed: str | None = None

    @property
    def word(self) -> str:
        return self.ruling.verdict if self.ruling else "failed"

    @property
    def why(self) -> str:
        return self.ruling.condition if self.ruling else self.failed or ""

    def __str__(self) -> str:
        return f"{self.claim.place:>2} {self.claim.name}: {self.word} ({quantity(self.seconds, 's')}). {self.why}"


def claims(specs: Sequence[str], folder: Path) -> int:
    """The exit code: 1 where a claim could not be measured. Raises ValueError for an unknown name, before anything is run."""
    chosen = {spec: claim.get(spec) for spec in specs or claim.names()}
    ordered = sorted(chosen.values(), key=lambda one: one.place)
    make(folder)
    found = outcomes(ordered)
    print(f"page: {write(found, folder)}")
    return int(any(one.failed for one in found))


def outcomes(chosen: Sequence[Claim]) -> list[Outcome]:
    """All of them, one after the other, each on one thread; prints a line for each."""
    import torch
    from threadpoolctl import threadpool_limits

    before, stdout = torch.get_num_threads(), sys.stdout  # which a bar on the terminal takes over
    found: list[Outcome] = []
    progress = Progress(sum(one.seconds for one in chosen))
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):  # the kernels' products are OpenBLAS's, whose threads cost more than such small ones take
            for one in chosen:
                found.append(measured(one, progress))
                print(found[-1], file=None if stdout.isatty() else stdout, flush=True)
                progress.finish("ok" if found[-1].ruling else "failed", None)
    finally:
        progress.close()
        torch.set_num_threads(before)
    return found


def measured(one: Claim, progress: Progress) -> Outcome:
    """One claim; whatever it raises is its reason, and the others go on."""
    start, numbers = perf_counter(), {}
    try:
        numbers = one.measure(lambda label: progress.start(f"{one.name}: {label}", one.seconds / one.parts))
        ruling, table = one.judge(numbers), one.table(numbers)
        figure = finish(one.name, one.sentence, one.caption, lambda: one.draw(numbers))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(one, perf_counter() - start, numbers, failed=reason)
    return Outcome(one, perf_counter() - start, numbers, ruling, figure, table)


def write(found: Sequence[Outcome], folder: Path) -> Path:
    """index.html, claims.md, claims.json and a figure a claim; returns the path of index.html."""
    make(folder)
    for name in claim.names():
        (folder / f"{name}.svg").unlink(missing_ok=True)  # of an earlier run
    for one in found:
        if one.figure:
            (folder / f"{one.figure.name}.svg").write_text(one.figure.svg, encoding="utf-8")
    lines, content = heading(found), [Section("Verdicts", tables=(summary(found),)), *map(section, found)]
    (folder / "claims.json").write_text(as_json(found), encoding="utf-8")
    (folder / "claims.md").write_text(as_markdown(TITLE, lines, content), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(as_html(TITLE, lines, content), encoding="utf-8")
    return page


def heading(found: Sequence[Outcome]) -> list[str]:
    seconds = sum(one.seconds for one in found)
    where = machine.fingerprint()
    return [
        f"{datetime.now():%Y-%m-%d}, {where['cpu']}, {quantity(seconds, 's')} on one thread.",
        "Each verdict is computed from the numbers of this run by the rule that stands with it; claims.json has all numbers.",
    ]


def summary(found: Sequence[Outcome]) -> Table:
    rows = tuple(
        (number(str(one.claim.place)), Entry(one.claim.sentence), Entry(one.word, kind="status"), Entry(one.why)) for one in found
    )
    return Table("Verdicts", ("", "claim", "verdict", "under what condition, or why"), rows)


def section(one: Outcome) -> Section:
    """The sentence, how it is measured, the rule, the verdict; the figure; the numbers."""
    told = (("claim", one.claim.sentence), ("measured", one.claim.how), ("rule", one.claim.rule))
    rows = [(Entry(what), Entry(text)) for what, text in told]
    rows.append((Entry("verdict"), Entry(one.word, one.why, kind="status")))
    about = Table("", ("", one.claim.name), tuple(rows))
    figures = () if one.figure is None else (one.figure,)
    return Section(f"{one.claim.place} {one.claim.name}", figures, (about, *filter(None, (one.table,))))


def as_json(found: Sequence[Outcome]) -> str:
    """Every number; what is not finite is written as a string, which JSON lacks otherwise."""
    rows = [
        {
            "claim": one.claim.name, "place": one.claim.place, "sentence": one.claim.sentence, "how": one.claim.how,
            "rule": one.claim.rule, "verdict": one.word, "condition": one.why, "seconds": one.seconds,
            "options": asdict(one.claim), "numbers": one.numbers,
        }
        for one in found
    ]  # fmt: skip
    content = {"created": f"{datetime.now():%Y-%m-%dT%H:%M:%S}", "machine": machine.fingerprint(), "versions": machine.versions()}
    return json.dumps(_plain(content | {"claims": rows}), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
