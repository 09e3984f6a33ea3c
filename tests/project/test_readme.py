"""What README says: its numbers are those of the committed results, its examples those of examples/."""

import json
import re

import numpy as np
import pytest
from support import pages
from support.pages import README, ROOT

from cellbench import cells, harness
from cellbench.cells.derived.init import SCHEMES
from cellbench.cells.vocabulary.primitives import FUNCTIONS
from cellbench.harness.cli import main
from cellbench.harness.measure.verdict import reliability
from cellbench.harness.studies import aa

TEXT = pages.text(README)
CELLS = pages.text(ROOT / "docs" / "cells.md")


def test_installing_and_running_come_first_and_the_test_command_is_that_of_ci():
    install, run = pages.blocks(README, "")[0].code.strip().splitlines()
    assert install.startswith("python3 -m venv .venv") and "pip install" in install
    assert run.startswith("cellbench run")
    last = pages.blocks(README, "")[-1].code.strip()
    assert last.endswith("nox -s tests") and last in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_table_is_that_of_the_committed_page():
    page = (ROOT / "results" / "reference" / "speed" / "report.md").read_text(encoding="utf8")
    first = page.partition("## Throughput\n")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in first.splitlines() if line.startswith("| ")][2:]
    time = {(row[0], row[1]): row[4].split(" (")[0] for row in rows}
    speed_up = {row[0]: row[5] for row in rows if row[1] == "numba"}
    stated = re.findall(r"^\| (\w+) \| ([\d.]+ .s) \| ([\d.]+ .s) \| (.*?) \|$", TEXT, re.M)
    assert [cell for cell, *_ in stated] == ["elman", "lstm", "gru"]
    for cell, native, numba, ratio in stated:
        assert (native, numba, ratio) == (time[cell, "native"], time[cell, "numba"], speed_up[cell])
    assert "T = 256" in first and "B 1, I 128, H 128" in first


def test_the_line_of_numba_lies_on_top_in_the_run_that_the_figure_is_of():
    frame = harness.load(ROOT / "results" / "reference" / "cpu" / "run")
    rate = frame[(frame.probe == "throughput") & (frame.metric == "steps_per_s")]
    rate = rate.groupby(["cell", "steps", "direction", "backend"]).value.median().unstack()
    assert set(rate.columns) == {"native", "numba", "numpy", "torch"} and len(rate) == 12
    assert (rate.idxmax(axis=1) == "numba").all()
    lead = frame[
        (frame.probe == "throughput") & (frame.metric == "ratio_to_native") & (frame.backend == "numba")
    ]
    lead = lead.groupby(["cell", "steps", "direction"]).value.median()
    assert lead.groupby("cell").min().idxmin() == "lstm"  # the closest
    assert f"{lead['lstm'].min():.1f} to {lead['lstm'].max():.1f} times as fast as `native`" in TEXT


def test_the_check_answers_what_readme_shows(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (shown,) = (block.code for block in pages.blocks(README, "text"))
    assert main(["check", "examples/port_check.py:MyGRU", "--against", "gru"]) == 1
    assert capsys.readouterr().out.startswith(shown)


def test_the_gates_on_speed_that_readme_shows_exist():
    from cellbench.harness.plugin.gate import Gate

    named = re.findall(r"cellbench\.(\w+)\(", TEXT + pages.text(ROOT / "docs" / "regress.md"))
    assert "not_slower_than_base" in named and all(callable(getattr(Gate, name)) for name in named)


def test_the_vocabulary_of_the_docs_is_the_one_there_is():
    named = re.search(r"`(sigmoid tanh .*?)`", CELLS, re.S)[1].split()
    assert sorted(named) == sorted(FUNCTIONS) and all(hasattr(cells, name) for name in named)


def test_the_schemes_of_the_docs_are_those_there_are():
    listed = re.search(r"^Schemes of `init`:(.*)$", CELLS, re.M)[1]
    assert sorted(re.findall(r"`(\w+)(?:\(.*?\))?`", listed)) == sorted(SCHEMES)


def test_the_members_of_the_docs_are_those_there_are():
    from cellbench.harness import probe, task

    running, told = (pages.text(ROOT / "docs" / f"{page}.md") for page in ("running", "tasks"))
    table = running.partition("## The probes")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.M)) == sorted(probe.names())
    table = told.partition("## What there is")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(task.names())
    rows = re.findall(r"^\| `(\w+)` \|", pages.text(ROOT / "docs" / "backends.md"), re.M)
    assert set(cells.backend_names()) <= set(rows)


def test_the_columns_of_the_docs_are_those_there_are():
    from cellbench.harness.store import COLUMNS
    from cellbench.harness.store.reader import MACHINE

    table = pages.text(ROOT / "docs" / "results.md").partition("## The tidy frame")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted([*COLUMNS, MACHINE])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("name, kind", [("elman", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_the_public_api_equals_torchs_own_modules(name, kind, dtype, tolerance):
    import torch

    cell, x = cells.get(name), np.random.default_rng(0).standard_normal((9, 3, 5))
    params = cell.init(5, 7, seed=0, scheme="torch")
    program = cells.backend("numba").prepare(
        cell, params, steps=9, batch=3, dtype=dtype, device="cpu", direction="backward"
    )
    out, grads = program.forward(x, state=None), program.backward(np.ones((9, 3, 7)))
    module = getattr(torch.nn, kind)(5, 7, dtype=getattr(torch, dtype))
    module.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in params.items()})
    output, _ = module(torch.tensor(x, dtype=getattr(torch, dtype)))
    output.sum().backward()
    pairs = [
        (out.output, output.detach()),
        *((grads.params[k], getattr(module, f"{k}_l0").grad) for k in params),
    ]
    for ours, theirs in pairs:
        assert np.abs(ours - theirs.numpy()).max() <= tolerance * np.abs(theirs.numpy()).max()


def test_the_error_rates_of_verdicts_are_told_in_plain_sentences():
    sentences = re.split(r"(?<=\.) (?=[A-Z])", reliability())
    assert len(sentences) == 7
    for sentence in sentences:
        assert len(sentence.split()) <= 25 and not set(";:(") & set(sentence), sentence


def test_the_error_rates_of_the_docs_are_those_of_the_committed_study():
    folder = ROOT / "results" / "reference" / "aa"
    study = json.loads((folder / "study.json").read_text())
    told = " ".join(pages.text(ROOT / "docs" / "measuring.md").split())
    assert reliability() == study["line"] == aa.line(study) and " ".join(study["line"].split()) in told
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    unchanged = [t for t in trials if t["added"] == 0]
    assert len(unchanged) == study["rows"][0]["trials"] >= 300
    assert study["rows"][0]["called"] == sum(t["verdict"] in ("SLOWER", "FASTER") for t in unchanged)
