"""A case: one thing to measure, fully resolved. Its id is a hash of its definition."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from cellbench import cells
from cellbench.cells import find

from .store import DEFINITION, code

CONVOLUTION = "tcn"  # the spec of the causal convolution, the one model that is no cell


@dataclass(frozen=True)
class Case:
    """One thing to measure. `spec` finds the cell again in a worker; a field that does not apply is None.

    probe_options are the options of the probe and of the task, so that another option is another case. match
    is the budget that the hidden_size was chosen for, refused the reason why there was none to choose.
    """

    probe: str
    spec: str
    # Any, though each is what its comment says or None: a probe sets the fields that it then reads
    backend: Any = None  # str
    device: Any = None  # str
    dtype: Any = None  # str
    threads: int = 1
    steps: Any = None  # int, as all sizes
    batch: Any = None
    input_size: Any = None
    hidden_size: Any = None
    direction: Any = None  # str
    task: Any = None  # str
    seed: Any = None  # int
    variant: Any = None  # str
    match: Any = None  # str
    refused: Any = None  # str
    probe_options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def definition(self) -> dict[str, Any]:
        """The columns that every row of the case carries."""
        values = asdict(self) | _cell_columns(self.spec)
        return {name: values.get(name) for name in DEFINITION}

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits, equal for equal definitions.

        The text of a file by path, and of what it imports beside it, is part of the definition: a cell that
        was changed is another case.
        """
        of_task = _source(self.task)
        files = [_source(self.spec), *([of_task] if of_task else [])]
        text = json.dumps([asdict(self), *files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        sizes = {"T": self.steps, "B": self.batch, "I": self.input_size, "H": self.hidden_size}
        size = " ".join(f"{k}={v}" for k, v in sizes.items() if v and (self.steps or self.match))
        members = [spec and find.short_name(spec) for spec in (self.spec, self.backend, self.task)]
        words = (self.probe, *members, size, self.direction, self.variant)
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        match = ["no size to match with" if self.refused else f"match={self.match}"] if self.match else []
        return " ".join([str(p) for p in words if p] + seed + match)


@lru_cache
def _cell_columns(spec: str) -> dict[str, str | None]:
    if spec == CONVOLUTION:
        return {"cell": spec, "options": None}
    cell = cells.get(spec)
    return {"cell": cell.name, "options": cell.options or None}


@lru_cache
def _source(spec: str | None) -> str | None:
    return code.source(spec)
