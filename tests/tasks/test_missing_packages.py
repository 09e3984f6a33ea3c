"""Packages that only some parts need: one line where one is missing, and nothing else needs it."""

import subprocess
import sys

import numpy as np
import pytest
from support.trainings import ended

from cellbench.harness import task
from cellbench.harness.claims.state_memory import StateMemory
from cellbench.harness.cli import main
from cellbench.harness.extras import PACKAGES, PackageMissing, requires
from cellbench.harness.learn import checkpoint
from cellbench.harness.rivals import by_shape
from cellbench.harness.rivals.nearest import nearest


def drawn(spec):
    return task.draw(spec, np.random.default_rng(0))


@pytest.fixture
def hidden(monkeypatch, tmp_path):
    """Hides packages; rivals that were computed before are not found either."""
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path))
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("sacrebleu", "x needs sacrebleu, which is not installed; pip install 'cellbench[tasks]'"),
        ("safetensors", "x needs safetensors, which is not installed; pip install 'cellbench[checkpoints]'"),
        ("sklearn", "x needs scikit-learn, which is not installed; pip install scikit-learn"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(hidden, package, line):
    requires(package, "x needs")
    hidden(package)
    with pytest.raises(PackageMissing) as error:
        requires(package, "x needs")
    assert str(error.value) == line


def test_a_package_that_is_there_and_fails_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "sacrebleu.py").write_text("import no_such_package_of_its_own")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sacrebleu", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_its_own"):
        requires("sacrebleu", "x needs")


@pytest.mark.parametrize(
    ("package", "use", "who"),
    [
        ("sacrebleu", lambda: drawn("translation"), "task 'translation' scores"),
        ("sklearn", lambda: drawn("digits"), "task 'digits' reads"),
        ("sklearn", lambda: by_shape(drawn("adding:count=80")), "a task's linear rivals are fitted"),
        ("sklearn", lambda: nearest(drawn("adding:count=80")), "the nearest training sequence is found"),
        ("sklearn", lambda: StateMemory().measure(print), "claim 'state_memory' reads"),
        ("safetensors", lambda: checkpoint.file("folder", "name"), "a checkpoint of a training is written"),
    ],
)
def test_what_needs_a_package_says_so_before_it_begins(hidden, package, use, who):
    hidden(package)
    with pytest.raises(PackageMissing, match=f"^{who} .* which is not installed; pip install "):
        use()


def test_a_case_that_needs_a_missing_package_is_an_unavailable_row_with_the_line(hidden, tmp_path):
    hidden("safetensors")
    end, _ = ended(checkpoints=str(tmp_path / "saved"))
    assert (end.status, end.reason.partition(",")[0]) == (
        "unavailable",
        "a checkpoint of a training is written with safetensors",
    )
    hidden("sacrebleu")
    end, _ = ended(task="translation")
    assert end.status == "unavailable" and "pip install 'cellbench[tasks]'" in end.reason


def test_a_person_who_asks_for_it_reads_one_line_and_gets_exit_code_2(hidden, capsys, monkeypatch):
    hidden("sacrebleu")
    monkeypatch.setattr(
        "cellbench.harness.commands.data.fetch", lambda tasks: requires("sacrebleu", "it needs")
    )
    assert main(["data", "fetch"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_training_needs_no_package_of_an_extra(hidden):
    extras = {name for name, (_, install) in PACKAGES.items() if "cellbench[" in install}
    hidden(*(extras - {"polars"}))  # scikit-learn asks the entry that hides a package for its classes
    assert ended()[0].status == "ok"


def test_every_module_of_these_rooms_can_be_imported_without_them():
    code = (
        "import sys, pkgutil, importlib, cellbench.harness as harness\n"
        f"sys.modules |= dict.fromkeys({list(PACKAGES)})\n"
        "for room in ('learn', 'tasks', 'data', 'rivals', 'claims'):\n"
        "    package = importlib.import_module(f'cellbench.harness.{room}')\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{package.__name__}.{module.name}')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
