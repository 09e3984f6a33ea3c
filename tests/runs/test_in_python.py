"""`harness.run`: the command as a function, with classes from files and notebooks."""

from __future__ import annotations

import linecache
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from matplotlib.figure import Figure
from support import odd_cells
from support.report_rows import gradient_decay

from cellbench import cells, harness
from cellbench.cells.zoo.gru import GRU
from cellbench.harness.runs.in_python import Run, _overrides
from cellbench.harness.runs.own_class import spec_of
from cellbench.harness.runs.values import ConfigError

CHEAP = {"probes": ["parameters"], "backends": ["numpy"]}
NOTEBOOK = '''
from cellbench import cells

print("this cell of the notebook says more than a worker may")
raised = 1 / 1

def half(a):
    return a * 0.5

class Leak(cells.GatedCell):
    """A leaky unit."""

    gates = ("a",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        return cells.State(h=cells.tanh(half(wx.a + wh.a)))
'''


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return harness.run(
        cells=[GRU, odd_cells.Pair, "elman:activation=relu"], results=tmp_path_factory.mktemp("r"), **CHEAP
    )


def defined(text, name, file="/tmp/ipykernel_1/1.py"):
    """A class as a notebook defines it: the text is known to linecache alone."""
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), space)
    return space[name]


def test_classes_and_names_are_measured_side_by_side(found):
    assert found.ok
    assert list(found.summary()["cell"]) == ["gru", "Pair", "elman:activation=relu"]
    assert set(found.to_frame()["status"]) == {"ok"}


def test_the_run_is_one_of_the_command(found):
    frame = harness.load(found.folder)
    assert len(frame) == len(found.to_frame()) and set(frame["probe"]) == {"parameters"}


def test_a_run_shows_itself_in_a_notebook_and_is_short_in_a_terminal(found):
    shown = found._repr_html_()
    assert shown.startswith("<iframe") and "Parameters and operations" in shown
    assert "<script" not in shown  # it stands escaped in an attribute
    assert re.fullmatch(r"Run\(folder=.*, ok=True\)", repr(found))


def test_a_figure_is_matplotlibs(tmp_path):
    one = Run(tmp_path, ok=True)
    one.__dict__["_frame"] = pandas.DataFrame(gradient_decay())  # as read from a folder
    assert one.figure().axes[0].get_ylabel() == "gradient norm"
    axes = Figure().subplots()
    assert one.plot(axes, "gradient_decay") is axes and axes.images
    assert one.plot().images
    with pytest.raises(ConfigError, match=r"no figure 'nope'; figures: gradient_decay"):
        one.figure("nope")


class Writer:
    """Keeps what a SummaryWriter would write."""

    def __init__(self):
        self.scalars = []

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))


def test_a_run_goes_to_tensorboard_each_course_by_its_step(found, tmp_path):
    of_case = {"case": "c", "probe": "training", "cell": "gru", "backend": "numba", "task": "adding"}
    of_case |= {"options": None, "direction": None, "variant": None, "steps": 8, "batch": 2, "hidden_size": 3}
    of_case |= {"seed": 1, "status": "ok"}
    loss = [{"metric": "loss", "lag": step, "value": 1 / (1 + step)} for step in (0, 1, 1, 2)]
    one = Run(tmp_path, ok=True)
    one.__dict__["_frame"] = pandas.DataFrame([of_case | row for row in loss])
    one.to_tensorboard(writer := Writer())
    tag = "training/loss/gru/numba/adding/steps=8 batch=2 hidden_size=3 seed=1"
    assert writer.scalars == [(tag, 1.0, 0), (tag, 0.5, 1), (tag, 1 / 3, 2)]
    found.to_tensorboard(writer := Writer())
    assert any(tag.startswith("parameters/parameters/gru") for tag, _, _ in writer.scalars)


def test_a_run_without_a_figure_says_so(found):
    with pytest.raises(ConfigError, match="has no figure"):
        found.plot()


def test_a_notebooks_class_is_measured_by_what_its_cell_imports_and_defines(tmp_path, capfd):
    cls = defined(NOTEBOOK, "Leak")
    capfd.readouterr()
    one = harness.run(cells=[cls], results=tmp_path, **CHEAP)
    assert one.ok and list(one.summary()["cell"]) == ["Leak"]
    assert "says more" not in capfd.readouterr().out
    assert "half" in next((tmp_path / ".own").glob("Leak_*.py")).read_text()


def test_a_notebooks_class_uses_what_other_cells_import_and_define(tmp_path, monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    cell_of = NOTEBOOK.partition("class Leak")
    first = cell_of[0] + "import numpy as np\nSHARE = 0.25\n"
    second = "".join(cell_of[1:]).replace("half(wx", "SHARE * np.float64(1) * half(wx")
    for number, text in enumerate((first, second)):
        file = f"/tmp/ipykernel_1/other_{number}.py"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec"), vars(main))
    file, _, name = spec_of(main.Leak, tmp_path).rpartition(":")
    monkeypatch.undo()
    sizes = {"x": np.ones((3, 1, 2))}
    got, want = (
        cells.backend("numpy").prepare(c, c.init(2, 4), steps=3, batch=1, dtype="float64").forward(**sizes)
        for c in (cells.get(f"{file}:{name}"), cells.get(main.Leak))
    )
    assert np.array_equal(got.output, want.output)


def test_the_class_of_a_file_is_named_by_its_file():
    assert spec_of(odd_cells.Pair, Path("r")) == f"{Path(odd_cells.__file__).resolve()}:Pair"
    assert spec_of(GRU, Path("r")) == "gru"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%time 1\n" + NOTEBOOK, "no plain Python"),
        (None, "has no source that can be read"),
    ],
)
def test_a_class_that_no_process_can_import_is_refused_in_one_line(text, says, tmp_path):
    cls = defined(NOTEBOOK, "Leak", "/tmp/ipykernel_1/2.py")
    if text is None:
        del linecache.cache["/tmp/ipykernel_1/2.py"]
    else:
        linecache.cache["/tmp/ipykernel_1/2.py"] = (1, None, text.splitlines(True), "")
    with pytest.raises(ConfigError, match=says):
        spec_of(cls, tmp_path)


def test_a_class_whose_file_imports_from_its_package_is_refused_in_one_line(tmp_path):
    with pytest.raises(
        ConfigError, match=r"class GRU stands in torch.nn.modules.rnn, whose file imports from"
    ):
        spec_of(torch.nn.GRU, tmp_path)


def test_a_cell_in_hand_is_measured_with_its_options():
    assert spec_of(GRU(biases=1), Path("r")) == "gru:biases=1"
    assert spec_of(GRU(), Path("r")) == "gru"


def test_a_class_inside_a_function_is_refused(tmp_path):
    class Inside(GRU):
        pass

    with pytest.raises(ConfigError, match="stands inside another thing"):
        spec_of(Inside, tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cells": ["gruu"]}, "did you mean 'gru'"),
        ({"cels": ["gru"]}, "cels"),
        ({"workload": {"stepps": 3}}, "stepps"),
        ({"workload": {"steps": 0}}, "steps"),
        ({"cells": [object()]}, "is no setting"),
        ({"cells": ["a'b\"c"]}, "both kinds of quotes"),
        ({"workload": {"steps": np.ones((9, 9))}}, "is no setting"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_is_written(settings, says, tmp_path):
    with pytest.raises(ValueError, match=says) as raised:
        harness.run(results=tmp_path / "r", **settings)
    assert "\n" not in str(raised.value) and not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float64(0.5), "0.5"),
        (np.float32(0.1), "0.1"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.str_("gru"), "gru"),
        (np.array(2.0), "2.0"),
        (np.array([16, 64]), "[16,64]"),
        (np.geomspace(0.1, 10, 3), "[0.1,1.0,10.0]"),
        (np.array(["gru", "lstm"]), "[gru,lstm]"),
        ([np.int64(1), np.float64(2)], "[1,2.0]"),
        (range(0, 6, 2), "[0,2,4]"),
        ((1, "gru"), "[1,gru]"),
    ],
    ids=repr,
)
def test_numbers_of_numpy_and_ranges_are_what_they_say(value, written):
    settings = {"probe": {"training": {"max_norm": value}}}
    assert list(_overrides(settings, Path("r"))) == [f"probe.training.max_norm={written}"]


def test_sizes_and_seeds_may_be_arrays_and_ranges(tmp_path):
    workload = {"hidden_size": np.array([3, 5]), "batch": np.int64(2)}
    one = harness.run(cells=["gru"], workload=workload, seeds=range(1), results=tmp_path, **CHEAP)
    assert one.ok and set(one.to_frame()["hidden_size"]) == {3, 5}


def test_results_none_is_the_default_and_a_number_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = harness.run(cells=["gru"], results=None, **CHEAP)
    assert one.folder.resolve().is_relative_to(tmp_path / "results")
    with pytest.raises(ConfigError, match="results is 3; give the path of a folder"):
        harness.run(cells=["gru"], results=3, **CHEAP)


def test_a_file_that_measures_itself_is_told_where_the_call_belongs(tmp_path):
    text = NOTEBOOK + "\nfrom cellbench import harness\nharness.run(cells=[Leak], probes=['parameters'])\n"
    (tmp_path / "mine.py").write_text(text)
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and '__name__ == "__main__"' in done.stderr.splitlines()[-1]


def test_a_script_with_a_guard_measures_its_own_class(tmp_path):
    text = NOTEBOOK + (
        "\nif __name__ == '__main__':\n    from cellbench import harness\n"
        "    print(harness.run(cells=[Leak], probes=['parameters'], backends=['numpy'], results='r').ok)\n"
    )
    (tmp_path / "mine.py").write_text(text)
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True", done.stderr


def test_the_public_name_is_a_run(found):
    assert isinstance(found, Run)
