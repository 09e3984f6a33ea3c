"""`show` and `list`: what they print comes from the class, its source and its derivation."""

import inspect
import re
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from cellbench import cells
from cellbench.cells.kernels import fused
from cellbench.cells.kernels.unprintable import unprintable
from cellbench.harness.cli import main
from cellbench.harness.commands import list as listing
from cellbench.harness.commands.show import fitting
from cellbench.harness.runs import launch

pytestmark = pytest.mark.quick

ODD = Path(__file__).parents[1] / "support" / "odd_cells.py"


def printed(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def stripped(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", cells.names())
def test_show_prints_a_cells_own_source_shapes_and_count(name, capsys):
    cell, lines = cells.get(name), stripped(printed(capsys, "show", name))
    assert lines[0] == name and stripped(inspect.getdoc(type(cell)))[0] in lines
    function = cell.step if cell.written_out else cell.equations
    source = stripped(inspect.getsource(function))
    assert any(lines[k : k + len(source)] == source for k in range(len(lines)))
    sizes = fitting(cell, None, 64)
    text = "\n".join(lines)
    assert f"{cell.parameter_count(*sizes):,} at I {sizes[0]}, H 64" in text
    assert all(f"{array} {shape}" in text for array, shape in cell.parameter_shapes(*sizes).items())
    assert f"{cell.operations(*sizes).forward:,} FLOP forward" in text
    assert all(f"{backend}: " in text for backend in cells.backend_names())


def test_show_takes_options_sizes_and_paths(capsys):
    text = printed(capsys, "show", "elman:activation=relu", "--input-size", "3", "--hidden-size", "5")
    assert "activation=relu (default tanh)" in text and "weight_ih (5, 3)" in text
    text = printed(capsys, "show", f"{ODD}:Heads")
    assert "W_hh in 2 diagonal blocks" in text and "torch.nn has no module for cell 'Heads'" in text
    assert "def emit(self, params, x, output):" in text and "def project" not in text


def test_show_says_why_a_backend_cannot_run_a_cell_and_that_there_is_no_kernel(capsys):
    text = printed(capsys, "show", f"{ODD}:Written")
    assert "numba: unsupported, cell 'Written' writes out its step" in text
    assert "none: cell 'Written' writes out its step, so it has no kernel of numba" in text
    assert "runs it" in text


def test_the_kernel_that_show_names_is_the_one_that_runs(capsys):
    text = printed(capsys, "show", "gru", "--dtype", "float64")
    path = Path(next(line for line in stripped(text) if line.startswith("kernel")).split()[1])
    kernel = printed(capsys, "show", "gru", "--dtype", "float64", "--kernel")
    assert path.read_text() == kernel == fused.text(cells.get("gru"), "float64")
    compile(kernel, str(path), "exec")


MODULE = """
import torch

class MyGRU(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = torch.nn.GRU(input_size, hidden_size)

    def forward(self, x):
        return self.rnn(x)[0]
"""
WRONG = {
    "show lstn": "did you mean 'lstm'",
    "show": "CELL",
    "show lstm --hidden-size 0": "whole number",
    "show lstm --dtype float23": "float64",
    f"show {ODD}:Heads --hidden-size 5": "2 heads",
    f"show {ODD}:Written --kernel": "leave out --kernel",
    "show gru --kernel --resources sm_90": "leave out --kernel, or give --kernel triton",
    "show gru --resources sm_90 --dtype float64": "have no dtype float64; they have float32, bfloat16",
    "show gru --dtype bfloat16": "--dtype bfloat16 needs --resources TARGET; without it there are float32",
    "show lstm:gates=3": "no option 'gates'",
}


@pytest.mark.parametrize("kind", ["numba", "triton"])
@pytest.mark.parametrize("cell", ["mlstm", "mgu", "mine.py:MyGRU", "lstm:proj_size=3"])
def test_show_and_check_say_in_the_same_words_why_a_cell_has_no_kernel(
    cell, kind, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODULE)
    why = unprintable(cells.get(cell), kind)
    if why is None:
        assert kind == "numba" and cell in ("mgu", "lstm:proj_size=3")
        return
    for command in ("show", "check"):
        assert main([command, cell, "--kernel", kind]) == 2
        assert capsys.readouterr().err.startswith(f"cellbench: {why}")


def test_a_torch_module_is_shown_with_its_submodules(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODULE)
    text = printed(capsys, "show", "mine.py:MyGRU", "--input-size", "3", "--hidden-size", "5")
    count = re.search(r"([\d,]+) FLOP forward", text)[1]
    assert re.search(rf"^    rnn +GRU +\(4, 1, 5\) +150 +5 +{count}$", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", WRONG)
def test_what_cannot_be_shown_is_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err.strip()
    assert WRONG[arguments] in error and "\n" not in error


def test_list_cells_has_a_line_for_each_cell_with_its_count_and_source(capsys):
    text = printed(capsys, "list", "cells")
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert set(cells.names()) < set(rows) and "\x1b" not in text
    assert (
        "25,088" in rows["lstm"] and "Hochreiter & Schmidhuber 1997" in rows["lstm"] and "h c" in rows["lstm"]
    )


def test_a_cell_that_cannot_be_used_is_listed_with_the_reason(capsys, tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from cellbench.cells import GatedCell\n\nclass Broken(GatedCell):\n    gates = ('a',)\n    states ="
        " ('h',)\n"
    )
    monkeypatch.setitem(listing.NAMES, "cells", lambda: ["gru", str(broken)])
    text = printed(capsys, "list", "cells")
    assert "Broken has no equations" in text and "18,816" in text


@pytest.mark.parametrize("kind", ["backends", "probes", "tasks", "launchers"])
def test_list_of_another_kind_says_what_each_member_is(kind, capsys):
    rows = printed(capsys, "list", kind).splitlines()[1:]
    assert [row.split()[0] for row in rows] == listing.NAMES[kind]()
    assert all(len(row.split()) > 3 for row in rows)


@pytest.mark.parametrize(("kind", "group"), [("launchers", launch.GROUP), ("sweepers", launch.SWEEPER)])
def test_list_names_the_launchers_and_sweepers_that_hydra_has(kind, group, capsys, monkeypatch):
    Plugins.instance()  # which registers those of installed packages
    known = [file for file in ConfigStore.instance().list(group) if file.endswith(".yaml")]
    names = [row.split()[0] for row in printed(capsys, "list", kind).splitlines()[1:]]
    assert sorted(names) == sorted(file.removesuffix(".yaml") for file in known)
    assert f"{kind}: {', '.join(names)}" in printed(capsys, "list").splitlines()
    for _, package in launch.PLUGINS[group].values():
        if package:
            monkeypatch.setitem(sys.modules, package, None)
    assert listing.NAMES[kind]() == ["basic"]


def test_list_names_a_launcher_of_ones_own_with_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf" / "hydra" / "launcher" / "cluster.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# Our cluster.\ndefaults:\n  - basic\n")
    row = printed(capsys, "list", "launchers").splitlines()[-1]
    assert row.split(maxsplit=1) == ["cluster", "Our cluster. (conf/hydra/launcher/cluster.yaml)"]


def test_a_citation_is_found_in_a_docstring():
    assert (
        listing.source("h = f(x) (Elman 1990,\n  Cognitive Science 14).")
        == "Elman 1990, Cognitive Science 14"
    )
    assert listing.source("Mine (fast).\n\nMore.") == "Mine (fast)."
