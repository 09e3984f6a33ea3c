"""Cells are found by name, in the zoo's folder, and by path; a bad file is one clear line."""

import cProfile
import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from support.comparison import compare, computed, named, prepare, problem, tolerance
from support.oracle import float64_autograd

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.vocabulary.primitives import FUNCTIONS
from cellbench.harness import probe, task

pytestmark = pytest.mark.quick

BODY = '''

class {name}(GatedCell):
    """A leaky unit."""

    gates = ("a",)
    states = ("h",)
    leak: float = 0.25

    def equations(self, wx, wh, prev):
        return State(h=(1 - self.leak) * prev.h + self.leak * tanh(wx.a + wh.a))
'''
ABSOLUTE = "from cellbench.cells import GatedCell, State, tanh" + BODY
RELATIVE = "from .. import GatedCell\nfrom ..contract import State\nfrom ..primitives import tanh" + BODY


@pytest.fixture
def file(tmp_path):
    def write(text, name="leaky.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def works(cell):
    case = problem(cell)
    for backend in ("numpy", "torch"):
        compare(
            computed(prepare(backend, case), case), float64_autograd(case), tolerance("float64", case.steps)
        )


@pytest.mark.parametrize("text", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
def test_a_cell_by_path_works_with_and_without_its_name(file, text):
    path = file(text.format(name="Leaky"))
    works(cells.get(str(path)))
    works(cells.get(f"{path}:Leaky"))
    assert cells.get(f"{path}:Leaky") == cells.get(str(path))
    assert cells.get(str(path)).name == "Leaky"


def test_a_cell_by_path_takes_options(file):
    path = file(ABSOLUTE.format(name="Leaky"))
    assert cells.get(f"{path}:Leaky:leak=0.5").leak == 0.5
    assert cells.get(f"{path}:leak=0.5:biases=0").biases == 0
    assert cells.get(str(path), leak=0.5) == cells.get(f"{path}:leak=0.5")
    works(cells.get(f"{path}:leak=0.5:readout=2"))


@pytest.mark.parametrize("name", ["my.cell.v2.py", "my-cell.py", "steps=64/leaky.py", "with space/leaky.py"])
@pytest.mark.parametrize("text", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
def test_any_file_name_will_do(file, name, text):
    assert cells.get(f"{file(text.format(name='Leaky'), name)}:Leaky").name == "Leaky"


def test_a_relative_path_and_a_home_folder_will_do(file, monkeypatch):
    path = file(ABSOLUTE.format(name="Leaky"))
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    assert cells.get("leaky.py:Leaky") == cells.get("./leaky.py") == cells.get("~/leaky.py")


def test_an_edited_file_is_read_again(file):
    path = file(ABSOLUTE.format(name="Leaky"))
    assert cells.get(str(path)).leak == 0.25
    file(ABSOLUTE.format(name="Leaky").replace("0.25", "0.5"))
    assert cells.get(str(path)).leak == 0.5


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        (None, "", "no file"),
        (ABSOLUTE, ":Leeky", "did you mean 'Leaky'"),
        ("def broken(:\n", "", "SyntaxError"),
        ("import nosuch", "", "nosuch"),
        ("x = 1", "", "defines 0 classes"),
        (ABSOLUTE + BODY.format(name="Other"), "", "defines 2 classes"),
        (
            "def step(x, h): ...",
            ":step",
            "leaky.py:step is a function; it must be a class of GatedCell or of",
        ),
        ("step = 3", ":step", "leaky.py:step is a value of type int; it must be a class of GatedCell"),
        ("from .operations import squash", "", "imports .operations, and a file that is given by its path"),
        ("import nosuch", "", "install it here, or put the folder that holds it into PYTHONPATH"),
    ],
)
def test_a_bad_file_is_one_clear_line(file, tmp_path, text, asked, words):
    path = tmp_path / "leaky.py" if text is None else file(text.replace("{name}", "Leaky"))
    with pytest.raises(ValueError, match=words) as caught:
        cells.get(f"{path}{asked}")
    assert "leaky.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_may_have_any_name_that_python_takes(file):
    path = file(ABSOLUTE.format(name="Größe") + BODY.format(name="Other"))
    assert cells.get(f"{path}:Größe:leak=0.5").leak == 0.5
    assert find.short_name(f"{path}:Größe:leak=0.5") == "Größe:leak=0.5"


KINDS = {"cell": cells.get, "backend": cells.backend, "probe": probe.get, "task": task.get}


@pytest.mark.parametrize("package", ["cells", "harness"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["from {0} import Anything\n", "import {0}.anything\n"])
def test_a_file_that_imports_by_the_old_name_is_told_the_new_one(file, monkeypatch, kind, package, text):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not is_ours(p)])  # a package of this name here
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    path = file(text.format(package))
    with pytest.raises(ValueError) as caught:
        KINDS[kind](str(path))
    assert str(caught.value) == (
        f"{path} imports {package!r}, which is installed as cellbench.{package}; "
        f"write `from cellbench.{package} import ...` or `from cellbench import {package}`"
    )


def is_ours(folder):
    """Whether a folder on the path holds this project's own folders, which Python takes for packages."""
    return (Path(folder) / "cells" / "contract.py").is_file()


def test_a_file_in_the_zoo_is_a_cell_by_its_file_s_name(file, monkeypatch):
    path = file(RELATIVE.format(name="Leaky"))
    monkeypatch.setattr(cells.zoo, "__path__", [*cells.zoo.__path__, str(path.parent)])
    monkeypatch.delitem(sys.modules, "cellbench.cells.zoo.leaky", raising=False)
    assert "leaky" in cells.names()
    assert cells.get("leaky").name == "leaky"
    works(cells.get("leaky"))
    monkeypatch.delitem(sys.modules, "cellbench.cells.zoo.leaky")


def test_every_name_gives_a_cell_of_that_name():
    assert cells.names() == sorted(cells.names())
    assert [cells.get(n).name for n in cells.names()] == cells.names()
    assert [cells.backend(n).name for n in cells.backend_names()] == cells.backend_names()


def test_importing_cells_imports_no_heavy_library():
    heavy = {"torch", "numba", "sympy", "scipy", "pandas", "hydra", "cellbench.harness"}
    code = (
        "import sys; from cellbench import cells; cells.names(); cells.backend_names(); cells.get('lstm'); "
    )
    code += f"print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_design_s_code_runs_as_written():
    cell = cells.get("elman", activation="relu", biases=1)
    params = cell.init(3, 4, seed=0, scheme="torch")
    program = cells.backend("numpy").prepare(
        cell, params, steps=2, batch=5, dtype="float32", device="cpu", direction="backward"
    )
    out = program.forward(np.ones((2, 5, 3)), state=None)
    grads = program.backward(np.ones((2, 5, 4)), d_state=None, trace=True)
    assert {k: v.shape for k, v in named(out, grads).items()} == {
        "output": (2, 5, 4),
        "state.h": (5, 4),
        "d_weight_ih": (4, 3),
        "d_weight_hh": (4, 4),
        "d_bias_ih": (4,),
        "d_x": (2, 5, 3),
        "d_state.h": (5, 4),
        "trajectory.h": (3, 5, 4),
    }


OLD_PATHS = {
    "matrices": ("concatenate", "expm", "linear", "skew"),
    "primitives": ("VOCABULARY", "sigmoid", "tanh"),
    "program": ("Backend", "Program", "Forward", "Gradients"),
    "contract": ("State", "split"),
}


@pytest.mark.parametrize("path", OLD_PATHS)
def test_paths_that_users_files_import_from_stay(path):
    module = import_module(f"cellbench.cells.{path}")
    assert all(hasattr(module, name) for name in OLD_PATHS[path])


def test_what_an_author_needs_is_exported_and_all_that_is_exported_is_there():
    needed = {*FUNCTIONS, "GatedCell", "State", "split", "linear", "blocks", "concatenate", "expm", "skew"}
    assert needed <= set(cells.__all__)
    assert all(hasattr(cells, name) for name in cells.__all__)


def test_a_cell_is_found_while_cprofile_watches_and_goes_on_watching():
    watching = cProfile.Profile()
    watching.enable()
    try:
        cells.get("gru")
        sorted([2, 1])
    finally:
        watching.disable()
    assert any("sorted" in str(entry.code) for entry in watching.getstats())


@pytest.mark.parametrize("value", ["nowhere_to_be_found.cells:Leaky", "cellbench.cells:Leaky"])
def test_an_installed_cell_that_cannot_be_loaded_is_one_line_that_names_it(monkeypatch, value):
    broken = EntryPoint("leaky", value, "cellbench.cells")
    monkeypatch.setattr(find, "_entry_points", lambda group: [broken] if group == broken.group else [])
    assert "leaky" in cells.names()
    with pytest.raises(ValueError) as caught:
        cells.get("leaky")
    assert value in str(caught.value) and "\n" not in str(caught.value)
