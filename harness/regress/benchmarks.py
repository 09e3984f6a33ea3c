"""A comparison of benchmarks, as the commands hand it to who prints or writes it; a benchmark's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..measure.judge import Judgement

if TYPE_CHECKING:
    from ..case import Case

THROUGHPUT = "throughput"  # the probe whose cases are judged; a name leaves it out
SIZES = {"T": "steps", "B": "batch", "I": "input_size", "H": "hidden_size"}
USUAL = {"dtype": "float32", "device": "cpu"}  # a name says them only where they are another


@dataclass(frozen=True)
class Fact:
    """An exact value that differs between the sides; `gated` where the difference is a failure."""

    name: str
    a: str
    b: str
    gated: bool = True


@dataclass(frozen=True)
class Comparison:
    """The judgements of B against A, and what belongs beside them.

    `commands` has for a judgement's name the command that measures it again. `missing` has a line for each
    benchmark of A that B lacks, which begins with its name. `notes` are about the whole suite, `study` is the
    line of the committed A/A study, `facts` are exact values that differ.
    """

    title: str
    a: str
    b: str
    judgements: tuple[Judgement, ...]
    commands: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    study: str = ""
    facts: tuple[Fact, ...] = ()


def name_of(
    columns: Mapping[str, Any], usual: Mapping[str, str] | None = None, extra: Iterable[str] = ()
) -> str:
    """The name of a benchmark, from the columns of its case: 'lstm numba T=64 B=16 I=32 H=64 backward'.

    dtype and device stand in it unless they are the usual ones; `extra` stands behind the sizes.
    """
    usual = USUAL if usual is None else usual
    known = {key: value for key, value in columns.items() if value is not None}
    words = [known["probe"]] if known.get("probe", THROUGHPUT) != THROUGHPUT else []
    words += [cell] if (cell := ":".join(str(known[k]) for k in ("cell", "options") if k in known)) else []
    words += [known[key] for key in ("backend", "task") if key in known]
    words += [f"{letter}={known[size]}" for letter, size in SIZES.items() if size in known]
    words += extra
    words += [known[key] for key in ("direction", "variant") if key in known]
    words += [known[key] for key in USUAL if key in known and known[key] != usual.get(key)]
    words += [f"{key} {known[key]}" for key in ("match", "seed") if key in known]
    return " ".join(map(str, words))


def columns_of(case: Case) -> dict[str, Any]:
    """A case's columns for its name; the cell as asked for, since two files may have cells of one name."""
    return vars(case) | {"cell": case.spec}
