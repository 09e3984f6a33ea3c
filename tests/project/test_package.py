"""The package: its layers, and the wheel, which must work outside the checkout."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# what a part of the harness may know; imports go down only
ALLOWED = {
    "baselines": {
        "baselines",
        "case",
        "gradients",
        "learning",
        "measure",
        "probes",
        "programs",
        "tasks",
        "training",
        "cells",
    },
    "measure": {"measure"},
    "block": set(),
    "tidy": set(),
    "store": {"block", "tidy"},
    "imported": {"store"},
    "regress": {
        "regress",
        "case",
        "config",
        "machine",
        "measure",
        "probe",
        "programs",
        "report",
        "store",
        "cells",
    },
    "plugin": {"plugin", "case", "machine", "measure", "probe", "regress", "cells"},
    "report": {"report", "gradients", "store"},
    "history": {"history", "machine", "measure", "report", "store"},
    "gradients": {"gradients", "cells"},
    "tasks": {"task", "archives", "corpora", "rivals", "systems", "cells"},
    "systems": {"task"},
    "identified": {"gradients", "systems", "task", "cells"},
    "task": {"cells"},
    "rivals": {"rivals", "archives", "task"},
    "corpora": {"corpora", "task"},
    "archives": {"task"},
    "data": {"archives", "listing", "task", "cells"},
    "claim": {"report", "cells"},
    "claims": {
        "claims",
        "case",
        "claim",
        "gradients",
        "learning",
        "measure",
        "report",
        "stepped",
        "studies",
        "training",
        "trials",
        "cells",
    },
    "trials": {"case", "claim", "convolution", "learning", "report", "task", "training", "cells"},
    "outcome": {"claim", "report"},
    "claim_file": {"claim", "outcome", "report", "store"},
    "claim_page": {"claim_file", "machine", "outcome", "report", "store"},
    "lecture": {"claim", "claim_file", "claim_page", "machine", "outcome", "progress", "store"},
    "progress": set(),
    "machine": set(),
    "doctor": {"case", "machine", "measure", "regress", "cells"},
    "case": {"store", "cells"},
    "probe": {"case", "cells"},
    "programs": {"case", "probe", "cells"},
    "training": {"case", "gradients", "programs", "task", "cells"},
    "driven": {"case", "probe", "cells"},
    "stepped": {"cells"},
    "clips": {"gradients", "training"},
    "spikes": set(),
    "learning": {"measure", "task", "training"},
    "checkpoint": {"learning"},
    "convolution": {"task", "training"},
    "draws": {"task", "training"},
    "trained": {"case", "draws", "gradients", "identified", "probe", "stepped", "task", "training"},
    "probes": {
        "probes",
        "case",
        "checkpoint",
        "convolution",
        "learning",
        "rivals",
        "trained",
        "clips",
        "driven",
        "probe",
        "programs",
        "spikes",
        "stepped",
        "training",
        "task",
        "gradients",
        "measure",
        "cells",
    },
    "runner": {"case", "measure", "probe", "progress", "store"},
}


def imports(path: Path):
    """Parts of harness, or 'cells', that a file imports."""
    parts = path.relative_to(ROOT / "harness").with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = (*parts[: len(parts) - node.level], *(node.module.split(".") if node.module else ()))
            yield from ({target[0]} if target else {alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cells":
            yield "cells"
        elif isinstance(node, ast.Import):
            yield from ("cells" for alias in node.names if alias.name.split(".")[0] == "cells")


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_of_the_harness_go_down_only(part):
    files = (
        (ROOT / "harness" / part).rglob("*.py")
        if (ROOT / "harness" / part).is_dir()
        else [ROOT / "harness" / f"{part}.py"]
    )
    for path in files:
        above = set(imports(path)) - ALLOWED[part] - {part}
        assert not above, f"{path} imports {above}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source") / "copy"
    leave_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results")
    shutil.copytree(
        ROOT, source, ignore=leave_out
    )  # what an earlier build left must not fill in for what is missing
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_configuration_inside_the_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "harness/conf/config.yaml",
        "harness/conf/experiment/quick.yaml",
        "harness/report/template.html",
        "cells/py.typed",
    } <= set(names)
    packages = [
        p.relative_to(ROOT) for top in ("cells", "harness") for p in (ROOT / top).rglob("__init__.py")
    ]
    assert {p.as_posix() for p in packages} <= set(names)
    assert {n.split("/")[0] for n in names if not n.startswith("cellbench-")} == {"cells", "harness"}


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    run = [
        sys.executable,
        "-m",
        "cellbench.harness.cli",
        "run",
        "experiment=quick",
        "probes=[parameters,gradient_decay]",
        "cells=[gru]",
    ]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    for command in (run, [sys.executable, "-m", "cellbench.harness.cli", "report"]):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert list((tmp_path / "results").glob("reports/*/index.html"))
