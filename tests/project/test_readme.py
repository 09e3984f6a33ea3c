"""What the README says, done as it is written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cellbench import cells, harness
from cellbench.harness.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_two_commands_come_first():
    commands = re.search(r"```\n(.*?)```", README, re.S)[1].strip().splitlines()
    assert [c.rpartition(" ")[2] for c in commands] == ["report", "tests"]
    assert all(
        c.startswith("python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox -s ")
        for c in commands
    )


def test_the_cell_of_the_readme_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(PYTHON[0].splitlines()) < 40
    Path("mgu.py").write_text(PYTHON[0])
    small = [
        "workload.steps=4",
        "workload.batch=2",
        "workload.hidden_size=3",
        "backends=[numpy,numba]",
        "probe.throughput.processes=1",
    ]
    command = re.search(r"cellbench run ('cells=\[mgu.*)", README)[1].replace("'", "").split()
    assert main(["run", *command, *small]) == 0
    assert set(harness.load("results/runs").cell) == {"MGU", "gru"}
    assert main(["report"]) == 0


def test_the_python_of_the_readme_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "load", lambda path: None)
    rng = np.random.default_rng(0)
    names = {"x": rng.standard_normal((100, 8, 16)), "d_output": np.ones((100, 8, 32))}
    exec(PYTHON[1], names)
    assert names["grads"].trajectory["c"].shape == (101, 8, 32)


def test_the_vocabulary_of_the_readme_is_the_one_there_is():
    from cellbench.cells.vocabulary.primitives import FUNCTIONS

    named = re.search(r"`(sigmoid tanh .*?)` from `cells`", README, re.S)[1].split()
    assert sorted(named) == sorted(FUNCTIONS) and all(hasattr(cells, name) for name in named)


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_the_public_api_equals_torchs_own_modules():
    import torch

    rng = np.random.default_rng(0)
    for name, module in (("elman", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-10)):
            cell = cells.get(name)
            params = cell.init(5, 7, seed=0, scheme="torch")
            program = cells.backend("numba").prepare(
                cell, params, steps=9, batch=3, dtype=dtype, device="cpu", direction="backward"
            )
            x = rng.standard_normal((9, 3, 5))
            out, grads = program.forward(x, state=None), program.backward(np.ones((9, 3, 7)))
            torch_module = module(5, 7, dtype=getattr(torch, dtype))
            torch_module.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in params.items()})
            output, _ = torch_module(torch.tensor(x, dtype=getattr(torch, dtype)))
            output.sum().backward()
            pairs = [
                (out.output, output.detach()),
                *((grads.params[k], getattr(torch_module, f"{k}_l0").grad) for k in params),
            ]
            for ours, theirs in pairs:
                assert np.abs(ours - theirs.numpy()).max() <= tolerance * np.abs(theirs.numpy()).max()


def test_every_command_of_the_readme_is_one():
    from cellbench.harness.cli import parser

    known = next(action for action in parser()._actions if action.choices).choices
    blocks = "\n".join(
        text for language, text in re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M) if not language
    )
    named = set(re.findall(r"^cellbench (\w+)", blocks, re.M)) | set(re.findall(r"`cellbench (\w+)", README))
    assert named <= set(known) and {"run", "report", "list", "show"} <= named


def test_the_schemes_of_the_readme_are_those_there_are():
    from cellbench.cells.derived.init import SCHEMES

    named = re.findall(r"`(\w+)(?:\(.*?\))?`", re.search(r"Schemes of `init`:(.*?)\n\n", README, re.S)[1])
    assert sorted(named) == sorted(SCHEMES)


def test_the_task_of_the_readme_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (text,) = [block for block in PYTHON if "class Echo" in block]
    assert len(text.splitlines()) < 40
    Path("echo.py").write_text(text)
    command = re.search(r"cellbench run ('tasks=\[echo.*?)`", README)[1].replace("'", "").split()
    small = [
        "cells=[gru]",
        "backends=[numba]",
        "seeds=1",
        "probe.training.epochs=1",
        "probe.training.hidden_size=4",
    ]
    assert main(["run", *command, *small]) == 0
    frame = harness.load("results/runs")
    assert set(frame.status) == {"ok"} and frame.metric.str.startswith("rival_loss.").any()
    assert main(["report"]) == 0


def test_the_error_rates_of_the_readme_are_those_of_the_committed_study():
    from cellbench.harness.measure.verdict import reliability

    study = json.loads((ROOT / "results" / "reference" / "aa" / "study.json").read_text())
    assert reliability() == study["line"] and " ".join(study["line"].split()) in " ".join(README.split())
    trials = [
        json.loads(line)
        for line in (ROOT / "results" / "reference" / "aa" / "trials.jsonl").read_text().splitlines()
    ]
    unchanged = [t for t in trials if t["added"] == 0]
    assert len(unchanged) == study["rows"][0]["trials"] >= 300
    assert study["rows"][0]["called"] == sum(t["verdict"] in ("SLOWER", "FASTER") for t in unchanged)
