"""The printed kernels compile on the oldest Triton that pyproject.toml allows, which torch 2.11 brings.

`nox -s oldest-triton` installs it into a folder of its own, and names that in CELLBENCH_OLDEST_TRITON.
Without it, the tests are skipped, unless that version is what is installed.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cellbench import cells
from cellbench.cells.kernels.triton import resources
from cellbench.cells.kernels.triton.form import candidates
from cellbench.harness.studies.resources import BATCH, printable

EXTRAS = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
OLDEST = re.match(r"triton>=([\d.]+)", EXTRAS["triton"][0])[1]
FOLDER = os.environ.get("CELLBENCH_OLDEST_TRITON")
INSTALLED = resources.missing() is None and resources.version().startswith(f"{OLDEST}.")
SIZES = (("float32", "sm_90"), ("bfloat16", "sm_80"))  # at H = 64
QUICK = ("gru", "mingru")

pytestmark = pytest.mark.skipif(
    not (FOLDER or INSTALLED),
    reason=f"Triton {OLDEST} is not installed; nox -s oldest-triton brings it, and runs this",
)


@pytest.fixture(autouse=True)
def oldest(monkeypatch, tmp_path):
    """Has processes that compile import the oldest Triton, and keep nothing that others would read."""
    if FOLDER:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([FOLDER, *sys.path]))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def forms(cell, units, dtype, target):
    """The first form of each kind that can be, and both ways of a resident one."""
    processors = resources.TARGETS[target][0]
    sizes = (units, BATCH, dtype, target, processors)
    tried = candidates(cell, units, BATCH, processors, dtype)
    able = [form for form in tried if resources.ruled_out(form, cell, *sizes) is None]
    return {(form.kind, form.packed): form for form in reversed(able)}.values()


def failures(names):
    """By kernel, what the compiler says of those that it does not compile; and how many it does."""
    asked = {}
    for name in names:
        cell = cells.get(name)
        for dtype, target in SIZES:
            units = cell.units(64)
            for form in forms(cell, units, dtype, target):
                for job in resources.jobs(cell, units, dtype, form, target):
                    asked[f"{name} {dtype} {target}, {form}: {job['kernel']}"] = job
    answers = resources.answered(list(asked.values()))
    failed = {label: one["error"] for label, one in zip(asked, answers, strict=True) if "error" in one}
    return failed, len(asked) - len(failed)


@pytest.mark.quick
def test_the_version_is_the_oldest_that_is_allowed():
    command = [sys.executable, "-c", "import triton; print(triton.__version__)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{OLDEST}.")


@pytest.mark.quick
@pytest.mark.parametrize("name", QUICK)
def test_kernels_compile_in_every_form(name):
    failed, count = failures([name])
    assert not failed and count >= 12


@pytest.mark.parametrize("name", [name for name in printable() if name not in QUICK])
def test_kernels_of_every_cell_compile_in_every_form(name):
    failed, count = failures([name])
    assert not failed and count


@pytest.mark.quick
def test_a_kernel_that_does_not_compile_is_told(monkeypatch):
    jobs = resources.jobs

    def broken(*arguments):
        return [job | {"text": job["text"].replace("tl.dot", "tl.no_dot")} for job in jobs(*arguments)]

    monkeypatch.setattr(resources, "jobs", broken)
    failed, count = failures(["elman"])
    assert failed and not count and all("no_dot" in text for text in failed.values())
