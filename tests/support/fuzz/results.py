"""Results: runs, claims, a history, a file to import and a page, read by every command that reads them."""

import json
import secrets
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from cellbench.harness import store
from cellbench.harness.claims import _file
from cellbench.harness.claims._result import ClaimResult
from cellbench.harness.cli import main as cellbench
from cellbench.harness.store import manifest as manifests
from cellbench.harness.store import writer

from .. import stored_runs
from . import mutate
from .kind import Kind

POINT = {"schema": 1, "run": "a", "created": "2026", "commit": "a" * 40, "dirty": False, "machine": "m"}
POINT |= {"benchmark": "b", "ratio": 1.0, "low": 0.9, "high": 1.1, "ratios": [1.0, 1.1]}


class Clock(datetime):
    """The time at which all runs here were made."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, tzinfo=UTC)


class Results(Kind):
    """`file` is what is mutated; a member's commands are those that read it."""

    values = [*mutate.ODD, *mutate.NAMES_CODE]
    file = ""
    commands: tuple[str, ...] = ()
    measured = False  # whether a run that was measured is needed: it takes a worker

    def build(self):
        names = mock.patch.object(secrets, "token_hex", side_effect=[f"{n:04x}" for n in range(99)])
        with names, mock.patch.object(writer, "datetime", Clock):
            cases = (stored_runs.program(), stored_runs.native(), stored_runs.parameters(100))
            for _ in range(2):
                stored_runs.a_run(Path("runs"), *cases, created="2026")
            if self.measured:
                cellbench(["run", "cells=[gru]", "probes=[parameters]", "results=mine"])
        for n, run in enumerate(sorted(Path("runs").iterdir())):
            run.rename("ab"[n])
        shutil.rmtree("runs")
        if self.measured:
            next(Path("mine").iterdir()).rename("c")
            shutil.rmtree("mine")
        _claims(Path("claims"))
        Path("history.jsonl").write_text("".join(json.dumps(POINT | {"run": r}) + "\n" for r in "abc"))
        Path("import.json").write_text(json.dumps(_benchmarks()))
        if self.file.startswith("page"):
            cellbench(["report", "a", "--output", "page"])

    def ways(self):
        file = Path(self.file)
        return [(c, lambda c=c: cellbench(shlex.split(c)), file) for c in self.commands]


def _claims(folder):
    words = ("gates", "gates", 5, "It holds.", "by doing", "always", "holds", "Once.")
    point = {"cell": "lstm", "bias": 1.0, "seed": 0, "alone": True, "log_keep": -0.1, "rate": -0.1}
    numbers = {"points": [point, point | {"alone": False}], "correlation": {"lstm": 1.0, "gru": 1.0}}
    source = {"created": "2026", "git": {}, "versions": {"numpy": "2"}, "machine": {"cpu": "a chip"}}
    folder.mkdir()
    result = ClaimResult(*words, 1.0, {}, numbers, source=source)
    _file.write(_file.Record(source, (result,)), folder)


def _benchmarks():
    benchmark = {"fullname": "test_a", "group": "g", "extra_info": {"steps": 64, "cell": "gru"}}
    benchmark["stats"] = {"data": [1e-3, 1.1e-3], "min": 1e-3, "median": 1e-3, "max": 1e-3}
    described = {"datetime": "2026", "version": "5", "machine_info": {"node": "a", "cpu": {"count": 2}}}
    commit = {"id": "a" * 40, "dirty": False, "branch": "main"}
    return described | {"commit_info": commit, "benchmarks": [benchmark, benchmark | {"fullname": "b"}]}


OF_RUN = (
    "report a --output new",
    "report a b --output new --claims claims",
    "compare a b",
    "compare b a --json c.json",
    "history a --file new.jsonl --output new",
    "history a --file history.jsonl --output new",
    "export a --as csv --output new",
    "export a b --as tex --output new",
)


class Manifest(Results):
    name, file, commands = "manifest", "a/manifest.json", OF_RUN


class Blocks(Results):
    name, file, commands = "blocks", "a/cases.jsonl", OF_RUN


class Table(Results):
    name, file, commands = "table", "a/cases.parquet", OF_RUN

    def mutated(self, file, rng):
        if rng.random() < 0.9:
            file.with_name(store.BLOCKS).unlink()
        if rng.random() < 0.5:  # a manifest of another version, which has no hash of the table
            path = file.with_name(store.MANIFEST)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"table": None}))
        super().mutated(file, rng)


class OwnManifest(Results):
    """A run that this user made, with a manifest as this user's own program would have written it."""

    name, file, commands = "own manifest", "c/manifest.json", ("run resume=c",)
    values, measured = mutate.ODD, True

    def mutated(self, file, rng):
        """Now and then another one's, which names code of theirs."""
        ours = rng.random() < 0.7
        found = mutate.value(json.loads(file.read_text()), rng, self.values if ours else Results.values)
        if isinstance(found, dict) and ours:
            found = manifests.sealed(found)
        file.write_text(json.dumps(found))


class OwnBlocks(Results):
    name, file, commands = "own blocks", "c/cases.jsonl", ("run resume=c",)
    values, measured = mutate.ODD, True


class Claims(Results):
    name, file = "claims", "claims/claims.json"
    commands = ("report a --output new --claims claims", "claims --resume --output claims")


class History(Results):
    name, file = "history", "history.jsonl"
    commands = (
        "history --file history.jsonl --output new",
        "history a --file history.jsonl --output new",
    )


class Import(Results):
    name, file = "import", "import.json"
    commands = ("import import.json --results new",)

    def tried(self, rng):
        """What was imported is read by every command too."""
        label, file, wrong = super().tried(rng)
        for run in Path("new").glob("*"):
            for command in (
                f"report {run} --output page2",
                f"compare {run} {run}",
                f"history {run} --file h",
            ):
                wrong += self.again(f"{command} --output page3" if "history" in command else command)
        return label, file, wrong

    def again(self, command):
        from .watch import taken

        _, _, wrong = taken(self.seen, lambda: cellbench(shlex.split(command)))
        return [f"then {command}: {one}" for one in wrong]


class Page(Results):
    """What says which files of a page are ours."""

    name, file = "page", "page/.cellbench-files"
    commands = ("report b --output page", "history a --file new.jsonl --output page")


KINDS = (Manifest, Blocks, Table, OwnManifest, OwnBlocks, Claims, History, Import, Page)
