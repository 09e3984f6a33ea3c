"""Gates in two special repositories: one with folders called cells and harness, and cellbench's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from support.judges import HERE

from cellbench import cells

ROOT = Path(cells.__file__).resolve().parent.parent
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def write(folder, files):
    """Writes texts below a folder, by path."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def commit(folder, tag):
    for arguments in (["init", "-q"], ["add", "-A"], [*IDENTITY, "commit", "-qm", tag], ["tag", tag]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def gated(folder, *options, **environment):
    """What `python -m pytest` says of the suite in a folder, and its judgements by test."""
    environment = os.environ | environment
    # Hydra's plugin, which each run would import for a second, is not asked for
    plain = "-p", "no:hydra_pytest", "--cellbench-json=out.json"
    command = [sys.executable, "-m", "pytest", *plain, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "out.json").is_file(), done.stdout + done.stderr
    judgements = json.loads((folder / "out.json").read_text())["judgements"]
    return done, {one["test"].partition("::")[2]: one for one in judgements}


# a project whose folders are called as ours were

AGES = """
    import cells.inner
    import harness
    from cells import inner as again
    from harness.inner import AGE

    def ages():
        return [cells.inner.AGE, again.AGE, harness.inner.AGE, AGE]
"""
MIXED = """
    import importlib

    late = importlib.import_module("harness.late")

    def function():
        pass
"""
FOREIGN = """
    import cells.work
    import harness.mixed

    def apart(before, now):
        assert before == ["old"] * 4 and now == ["new"] * 4, (before, now)

    def test_ages(cellbench):
        cellbench.not_slower_than_base(cells.work.ages, equal=apart)

    def test_mixed(cellbench):
        import sys
        del sys.modules["harness.late"]  # as in a fresh process
        cellbench.not_slower_than_base(harness.mixed.function)

    def test_without_a_gate():
        assert cells.__file__.startswith(FOLDER) and harness.__file__.startswith(FOLDER)
"""


def test_a_project_with_folders_called_cells_and_harness_runs_and_is_gated(tmp_path):
    """Once pytest itself died in such a project, wherever cellbench was installed."""
    files = dict.fromkeys(["cells/__init__.py", "harness/__init__.py", "harness/late.py"], "")
    files |= {"cells/work.py": AGES, "harness/mixed.py": MIXED}
    ages = {"cells/inner.py": "AGE = 'old'\n", "harness/inner.py": "AGE = 'old'\n"}
    write(tmp_path, files | ages)
    commit(tmp_path, "before")
    write(tmp_path, {name: text.replace("old", "new") for name, text in ages.items()})
    write(tmp_path, {"conftest.py": HERE, "test_gates.py": f"    FOLDER = {str(tmp_path)!r}\n{FOREIGN}"})
    done, judgements = gated(tmp_path, "-v", "--cellbench-compare=before", "--cellbench-unsure=skip")
    assert "::test_without_a_gate PASSED" in done.stdout, done.stdout + done.stderr
    assert judgements["test_ages"]["status"] == "ok", judgements["test_ages"]["reason"]
    assert judgements["test_mixed"]["status"] == "no baseline"
    assert "loads harness.late of the working tree" in judgements["test_mixed"]["reason"]


# cellbench's own repository, before its packages had one name and since

OLD_SIZES = """
    import cells
    from cells import names

    def count():
        return [cells.__name__, len(names())]
"""
OWN = """
    import pytest
    from cellbench.cells.zoo.elman import Elman
    from cellbench.harness import sizes

    SMALL = dict(backend="numpy", steps=3, batch=2, input_size=4, hidden_size=4)

    def apart(before, now):
        assert before[0] != now[0] == "cellbench.cells" and before[1] == now[1] > 9, (before, now)

    def test_function(cellbench):
        cellbench.not_slower_than_base(sizes.count, equal=apart)

    @pytest.mark.parametrize("cell", ["cells/zoo/elman.py:Elman", Elman], ids=["path", "class"])
    def test_cell(cellbench, cell):
        cellbench.cell_not_slower_than_base(cell, **SMALL)
"""


@pytest.fixture(scope="module")
def own_repository(tmp_path_factory):
    """A checkout called cellbench: tag `old` has top-level packages, tag `new` has the links below src."""
    folder = tmp_path_factory.mktemp("own") / "cellbench"
    ignored = shutil.ignore_patterns("__pycache__", "*.nb?")
    shutil.copytree(ROOT / "cells", folder / "cells", ignore=ignored)
    write(folder, {"harness/__init__.py": "", "harness/sizes.py": OLD_SIZES})
    commit(folder, "old")
    for name in ("harness", "conf", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True, dirs_exist_ok=True)
    sizes = OLD_SIZES.replace("import cells", "from cellbench import cells", 1)
    sizes = sizes.replace("from cells import", "from cellbench.cells import")
    write(folder, {"harness/sizes.py": sizes})
    commit(folder, "new")
    write(folder, {"conftest.py": HERE, "test_gates.py": OWN})
    return folder


@pytest.mark.parametrize("base", ["old", "new"])
def test_a_gate_in_the_checkout_of_cellbench_has_each_revisions_own_modules(own_repository, base):
    options = f"--cellbench-compare={base}", "--cellbench-unsure=skip"
    done, judgements = gated(own_repository, *options, PYTHONPATH=str(own_repository / "src"))
    reasons = {name: (one["status"], one["reason"]) for name, one in judgements.items()}
    assert [one["status"] for one in judgements.values()] == ["ok"] * 3, (reasons, done.stdout)
