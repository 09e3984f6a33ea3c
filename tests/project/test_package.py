"""The wheel: one name beside everybody else's packages, whole, and at work outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HIDDEN = """
import sys

for name in {names!r}:
    sys.modules[name] = None  # importing it raises ImportError, as where it is not installed
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source") / "copy"
    # what an earlier build left must not fill in for what is missing
    leave_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "results", "site")
    shutil.copytree(ROOT, source, ignore=leave_out, symlinks=True)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture
def installed(wheel, tmp_path):
    """Runs Python with the wheel in its path, and none of the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}

    def python(*arguments, folder=tmp_path):
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return python


def test_the_wheel_installs_one_name_and_holds_every_package_and_data_file(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if not name.startswith("cellbench-")} == {"cellbench"}
    tracked = subprocess.run(
        ["git", "ls-files", "cells", "harness", "conf"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("no git checkout, whose files could be listed")
    assert {f"cellbench/{name}" for name in tracked.stdout.split()} <= set(names)


def test_the_wheel_works_outside_the_checkout(installed, tmp_path):
    overrides = ["experiment=quick", "probes=[parameters,gradient_decay]", "cells=[gru]"]
    installed("-m", "cellbench.harness.cli", "run", *overrides)
    installed("-m", "cellbench.harness.cli", "report")
    assert list((tmp_path / "results").glob("reports/*/index.html"))


def test_projects_with_folders_named_cells_and_harness_keep_them(installed, tmp_path):
    """The pytest plugin is loaded in every project of the environment, such folders first in its path."""
    project = tmp_path / "project"
    for name in ("cells", "harness"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f"NAME = 'our {name}'\n")
    (project / "test_project.py").write_text(
        "import cells, harness\n"
        "from cellbench import cells as ours\n\n"
        "def test_names():\n"
        "    assert (cells.NAME, harness.NAME) == ('our cells', 'our harness')\n"
        "    assert 'gru' in ours.names() and ours.__name__ == 'cellbench.cells'\n\n"
        "def test_the_fixture_is_there(cellbench):\n"
        "    assert type(cellbench).__module__.startswith('cellbench.harness.plugin')\n"
    )
    assert "2 passed" in installed("-m", "pytest", "-q", folder=project)


def test_cells_alone_need_numpy_numba_scipy_and_platformdirs(installed, tmp_path):
    others = ("torch", "pandas", "pyarrow", "hydra", "omegaconf", "seaborn", "matplotlib", "rich", "psutil")
    others += ("jinja2", "sympy", "sklearn", "sacrebleu", "safetensors", "threadpoolctl", "onnx")
    program = tmp_path / "alone.py"
    program.write_text(
        HIDDEN.format(names=others)
        + """
import numpy as np

from cellbench import cells

assert "gru" in cells.names() and "numba" in cells.backend_names()
cell = cells.get("gru")
x = np.ones((3, 2, 4))
for name in ("numpy", "numba"):
    program = cells.backend(name).prepare(cell, cell.init(4, 5), steps=3, batch=2, dtype="float64")
    print(program.forward(x).output.sum(), program.backward(np.ones((3, 2, 5))).x.sum())
"""
    )
    first, second = (np_line.split() for np_line in installed(str(program)).splitlines())
    assert [float(a) for a in first] == pytest.approx([float(b) for b in second])
