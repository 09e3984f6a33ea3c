"""Two revisions of the package `cells` in one process, from a scratch repository that holds a copy of it.

Its first revision is of before the packages had one name: `cells` at the top and nothing below src.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.case import Case
from cellbench.harness.regress import of_cellbench as regress
from cellbench.harness.regress import revision
from cellbench.harness.regress.revision import RevisionError
from cellbench.harness.regress.two_sides import Side, build

pytestmark = pytest.mark.quick

SOURCE = Path(cells.__file__).resolve().parent
GRU = SOURCE / "zoo" / "gru.py"


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def one_name(folder):
    """The layout of today: the packages are links below src/cellbench."""
    (folder / "src" / "cellbench").mkdir(parents=True)
    (folder / "src" / "cellbench" / "__init__.py").write_text("")
    (folder / "src" / "cellbench" / "cells").symlink_to("../../cells")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Commits: `empty` without cells, `before` with top-level cells, then links below src and another GRU."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "--quiet")
    (folder / "README.md").write_text("empty")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "empty")
    git(folder, "tag", "empty")
    shutil.copytree(SOURCE, folder / "cells", ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "cells")
    git(folder, "tag", "before")
    text = GRU.read_text()
    changed = text.replace("n = tanh(", "n = -tanh(")
    assert changed != text
    (folder / "cells" / "zoo" / "gru.py").write_text(changed)
    one_name(folder)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one name, another gru")
    return folder


@pytest.fixture(scope="module")
def both(repository, tmp_path_factory):
    """The package before, and after, in this process."""
    target = tmp_path_factory.mktemp("revisions")
    names = [revision.commit(name, repository) for name in ("before", "HEAD")]
    return [revision.library(str(revision.take_out(name, repository, target))) for name in names]


def output(library, spec):
    cell = library.get(spec)
    program = library.backend("numpy").prepare(
        cell, cell.init(3, 5, seed=0), steps=4, batch=2, dtype="float64"
    )
    return program.forward(np.random.default_rng(0).standard_normal((4, 2, 3))).output


def test_results_differ_where_the_code_differs_and_only_there(both):
    before, after = both
    assert not np.allclose(output(before, "gru"), output(after, "gru"))
    assert np.array_equal(output(before, "lstm"), output(after, "lstm"))
    assert np.array_equal(output(before, "gru"), output(cells, "gru"))


def test_two_revisions_share_no_class_and_no_module(both):
    before, after = both
    classes = [{type(library.get("gru")).__mro__[k] for k in range(2)} for library in (before, after, cells)]
    assert not set.intersection(classes[0], classes[1]) and not set.intersection(classes[0], classes[2])
    files = [{m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == b.__name__} for b in both]
    assert all(len(f) > 5 for f in files) and not files[0] & files[1]
    assert before.GatedCell is not after.GatedCell is not cells.GatedCell


def test_every_module_of_a_revision_comes_from_its_own_folder(both):
    for library in both:
        output(library, "gru")
        root = str(Path(library.__file__).parent)
        names = [n for n in sys.modules if n.split(".")[0] == library.__name__]
        assert all(str(sys.modules[n].__file__).startswith(root) for n in names)


def test_the_same_folder_gives_the_same_package(both):
    assert revision.library(str(Path(both[0].__file__).parent.parent)) is both[0]


def test_none_is_the_package_of_this_process():
    assert revision.library(None) is cells


def test_a_revision_that_cannot_be_imported_leaves_nothing_behind(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "__init__.py").write_text("raise RuntimeError('broken at import')")
    before = set(sys.modules)
    for _ in range(2):  # the second time too: no half of it was kept
        with pytest.raises(RuntimeError, match="broken at import"):
            revision.library(str(tmp_path))
    assert not [n for n in set(sys.modules) - before if n.startswith("cells_")]


@pytest.mark.parametrize("name", ["no-such-branch", "", "--help", "before:cells", "before^{tree}"])
def test_an_unknown_revision_is_one_line_that_names_it(name, repository):
    with pytest.raises(RevisionError) as caught:
        revision.commit(name, repository)
    assert f"base={name} is no revision" in str(caught.value) and "\n" not in str(caught.value)


def test_a_tag_a_branch_and_a_short_hash_are_one_commit(repository):
    full = git(repository, "rev-parse", "before")
    assert len(full) == 40
    assert {revision.commit(name, repository) for name in ("before", full[:10], "HEAD~1")} == {full}


def test_a_revision_without_cells_is_one_line(repository, tmp_path):
    with pytest.raises(RevisionError, match="has no package cells") as caught:
        revision.take_out(revision.commit("empty", repository), repository, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_installed_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "__file__", str(tmp_path / "site-packages" / "cells" / "__init__.py"))
    with pytest.raises(RevisionError, match="git checkout") as caught:
        revision.top()
    assert "\n" not in str(caught.value)


def test_a_package_installed_inside_somebodys_repository_is_no_checkout(repository, monkeypatch):
    place = repository / ".venv" / "site-packages" / "cells"
    place.mkdir(parents=True)
    monkeypatch.setattr(cells, "__file__", str(place / "__init__.py"))
    with pytest.raises(RevisionError, match="git checkout"):
        revision.top()


def test_what_is_taken_out_is_the_commit_not_the_working_tree(repository, tmp_path):
    (repository / "cells" / "zoo" / "gru.py").write_text("edited, not committed")
    try:
        place = revision.take_out(revision.commit("before", repository), repository, tmp_path)
    finally:
        git(repository, "checkout", "--", "cells")
    assert (place / "cells" / "zoo" / "gru.py").read_text() == GRU.read_text()


def test_links_inside_the_repository_are_taken_out_and_those_that_lead_out_are_not(repository, tmp_path):
    (repository / "outside").symlink_to("../elsewhere")
    (repository / "absolute").symlink_to(tmp_path)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "links")
    try:
        place = revision.take_out(revision.commit("HEAD", repository), repository, tmp_path)
    finally:
        git(repository, "reset", "--quiet", "--hard", "HEAD~1")
    link = place / "src" / "cellbench" / "cells"
    assert link.readlink() == Path("../../cells") and link.resolve() == (place / "cells").resolve()
    assert not any((place / name).is_symlink() for name in ("outside", "absolute"))


def test_a_folder_without_cells_is_one_line(tmp_path):
    with pytest.raises(RevisionError, match="has no package cells"):
        revision.library(str(tmp_path))


def test_a_real_revision_from_before_the_packages_had_one_name_is_computed_and_counted(tmp_path):
    """Its programs are prepared, checked and counted by way of names that today's package must keep."""
    checkout, old = SOURCE.parent, "ea813f4"
    if revision.git(checkout, "cat-file", "-e", f"{old}^{{commit}}") is None:
        pytest.skip(f"this checkout has no commit {old}: it is shallow, or no git checkout")
    root = str(revision.take_out(revision.commit(old, checkout), checkout, tmp_path))
    case = Case("throughput", "lstm", "numpy", "cpu", "float32", 1, 4, 2, 3, 5, "backward")
    assert regress.cannot_run(Side(case, root)) is None
    for side in (Side(case, root), Side(case)):
        build(side)().run()
    assert not list(regress.facts(regress.Suite(cases={"lstm": case}), root))
