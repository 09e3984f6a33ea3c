"""Every file of examples/ does what its first lines say."""

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from support.judges import functions_here
from support.notebooks import executed
from support.pages import ROOT
from support.public_results import returning

from cellbench import cells, harness
from cellbench.harness.cli import main

FOLDER = ROOT / "examples"
FILES = sorted(FOLDER.glob("*.py"))
SMALL = ["workload.steps=4", "workload.batch=2", "workload.hidden_size=3", "seeds=1"]


def module(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def drawn(shape):
    """Numbers that depend on nothing but their shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def frame_of(arguments, tmp_path):
    """The rows of a small run of what an example adds."""
    assert main(["run", *arguments, *SMALL, f"results={tmp_path}"]) == 0
    frame = harness.load(tmp_path)
    assert set(frame.status) == {"ok"}
    return frame


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_says_what_it_shows_and_how_to_run_it(file, monkeypatch, capsys):
    text = file.read_text()
    told = text.split('"""')[1]
    assert re.match(r"[A-Z].*[?.:]", told) and file.name in told
    assert len(text.splitlines()) <= 90
    monkeypatch.chdir(FOLDER)
    for line in re.findall(r"^    cellbench run (.*)$", told, re.M):
        assert main(["run", "--plan", *line.replace("'", "").split()]) == 0


def test_every_example_is_on_the_page_of_examples():
    page = (ROOT / "docs" / "examples.md").read_text()
    shown = {file.name for file in (*FILES, *FOLDER.glob("*.ipynb"))}
    assert shown == set(re.findall(r"^\| \[(\w+\.\w+)\]", page, re.M))


def test_the_port_deviates_by_its_exchanged_gate_and_the_mended_one_is_right():
    ports = module("port_check")
    wrong, right = (cells.check(port, against="gru") for port in (ports.MyGRU, ports.MendedGRU))
    assert not wrong.ok and "z and 1 - z exchanged" in wrong.diagnosis
    assert right.ok


def test_the_own_cell_has_the_gradients_of_the_reference():
    differences = module("own_cell").main()
    assert set(differences) == {"weight_ih", "weight_hh", "bias_ih"}
    assert max(differences.values()) < 1e-12


def test_the_own_probe_measures_every_cell_by_step(tmp_path):
    frame = frame_of(["cells=[elman,lstm]", f"probes=[{FOLDER}/own_probe.py:StateSize]"], tmp_path)
    assert set(frame.cell) == {"elman", "lstm"} and set(frame.metric) == {"state_rms"}
    assert sorted(frame[frame.cell == "lstm"].lag) == [1, 2, 3, 4]
    assert frame.value.between(0, 1, inclusive="neither").all()
    page = tmp_path / "page"
    probe = f"--probe={FOLDER}/own_probe.py:StateSize"
    assert main(["report", f"--results={tmp_path}", f"--output={page}", probe]) == 0
    assert (page / "state_size.svg").exists()
    assert re.search(r"\| lstm \| 0\.\d+ \|", (page / "report.md").read_text())


def test_the_own_task_is_learned_beside_its_rivals(tmp_path):
    options = ["probe.training.epochs=1", "probe.training.hidden_size=4", "probe.training.verdict=false"]
    task = [f"tasks=[{FOLDER}/own_task.py:Echo:delay=5]", "probes=[training]", "backends=[numba]"]
    frame = frame_of([*task, "cells=[elman]", *options], tmp_path)
    assert {"test_loss"} <= set(frame.metric) and frame.metric.str.startswith("rival_loss.").any()


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru:biases=0"])
def test_the_own_backend_agrees_with_the_reference(cell):
    looped, cell = module("own_backend").Looped(), cells.get(cell)
    params = cell.init(3, 5, seed=0)
    outputs = {}
    for name, backend in (("looped", looped), ("numpy", cells.backend("numpy"))):
        program = backend.prepare(cell, params, steps=6, batch=2, dtype="float64")
        x = drawn((6, 2, 3))
        out, grads = program.forward(x), program.backward(drawn((6, 2, 5)), trace=True)
        outputs[name] = {"output": out.output, "x": grads.x, **grads.params, **grads.trajectory}
    for name, array in outputs["numpy"].items():
        assert abs(outputs["looped"][name] - array).max() < 1e-12, name


def test_the_own_backend_says_what_it_cannot_compute():
    assert "no step module" in module("own_backend").Looped().unsupported(cells.get("mgu"))


def test_the_training_that_stands_still_has_vanished(capsys):
    verdicts = module("why_not_learning").main(updates=20)
    assert verdicts["torch"].label == "VANISHED" and verdicts["torch"].lag == 39
    assert verdicts["chrono(40)"].label in ("LEARNING", "CONVERGED")
    assert capsys.readouterr().out.count("loss") > 2


def test_the_recorded_training_was_clipped_at_every_update(capsys):
    gradients = module("record_training").main(updates=5)
    assert len(gradients.rows) == 5 and gradients.fraction_clipped == 1.0
    assert all(row.norm > 1 and abs(row.kept_norm - 1) < 1e-3 for row in gradients.rows)


def test_the_gate_against_a_base_runs_once_and_skips_without_one():
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "base", "-rs"]
    done = subprocess.run([*pytest_here, "test_speed.py"], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED [1]" in done.stdout and "--cellbench-compare=REV measures against" in done.stdout


def test_the_swapped_model_learns_what_torch_s_learns():
    example = module("train_faster")
    losses = [example.Training(swapped, steps=6, updates=4).run() for swapped in (False, True)]
    assert abs(losses[0] - losses[1]) < 1e-5 and 0 < losses[0] < 1
    plain, swapped = (build() for build in example.sides(5))
    assert abs(plain.run() - swapped.run()) < 1e-5


@pytest.mark.parametrize("notebook", sorted(FOLDER.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_shows_every_kind_of_result(notebook, tmp_path, monkeypatch):
    functions_here(monkeypatch)
    monkeypatch.chdir(tmp_path)
    values = [value for value in executed(notebook, monkeypatch) if hasattr(value, "_repr_html_")]
    pages = {type(value).__name__: value._repr_html_() for value in values}
    drawn = {name: page for name, page in pages.items() if name not in ("DataFrame", "Verdict")}
    assert all("<img" in page or "<iframe" in page for page in drawn.values())
    returned = {classes[-1].__name__ for _, _, classes in returning()}
    assert returned <= set(pages)
    assert not any(cell.get("outputs") for cell in json.loads(notebook.read_text())["cells"])
