"""What a file of another tool brings in, whatever its format: benchmarks, their times, and where they ran."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..screen import one_line
from ..store import imported

MOST_VALUES = 10_000_000  # of all times in a file


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by name and group; metric -> the seconds of each process.

    A reason says why it has no times, or what is strange about them.
    """

    name: str
    times: Mapping[str, Sequence[Sequence[float]]]
    group: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    implementation: str | None = None
    reason: str | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """The columns of its case."""
        group = {"task": self.group} if self.group else {}
        return {"probe": imported.PROBE, "variant": self.name} | group | dict(self.columns)

    @property
    def series(self) -> list[dict[str, Any]]:
        """Its times as the store keeps them."""
        return [
            {"metric": metric, "unit": "s", "values": list(values), "process": process}
            for metric, processes in self.times.items()
            for process, values in enumerate(processes)
        ]


@dataclass(frozen=True)
class Brought:
    """All benchmarks of a file.

    key has what two files must have in common for their times to be compared; None where a file says nothing
    of its machine.
    """

    tool: str
    benchmarks: Sequence[Benchmark]
    version: str | None = None
    created: str | None = None
    git: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    key: Mapping[str, Any] | None = None
    left_out: Sequence[str] = ()

    def twice(self) -> str | None:
        """The name of a benchmark that another one has too."""
        names = Counter(one.name for one in self.benchmarks)
        return next((name for name, count in names.items() if count > 1), None)

    def manifest(self, command: str) -> dict[str, Any]:
        """The manifest of the run that holds them."""
        described = {
            "created": self.created,
            "command": command,
            "config": {},
            "git": self.git,
            "versions": {self.tool: self.version},
            "machine": self.machine,
            "machine_key": self.key or None,
        }
        return {name: cleaned(value) for name, value in described.items()}


def cleaned(value: Any) -> Any:
    """The same without control characters, which would go on to terminals and figures."""
    if isinstance(value, dict):
        return {one_line(k): cleaned(v) for k, v in value.items()}
    return one_line(value) if isinstance(value, str) else value


def name_of(value: Any) -> str:
    """A benchmark's name on one line. Raises ValueError for what is no text."""
    if not isinstance(value, str) or not value:
        raise ValueError
    return one_line(value)


def seconds(values: Iterable[Any]) -> list[float]:
    """Times as numbers. Raises ValueError for one that no clock can say, and for no time at all."""
    times = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError
        times.append(float(value))
    if not times or len(times) > MOST_VALUES:
        raise ValueError
    return times


def known(table: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any] | None:
    """The plain values of a table that are not empty; None where it has none of them."""
    found = {name: table[name] for name in names if isinstance(table.get(name), str | int | float)}
    return {name: value for name, value in found.items() if value != ""} or None
