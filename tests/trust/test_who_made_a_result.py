"""Code and versions stand in every manifest, and are held by resume, compare and checkpoints."""

import copy
import json
import math

import numpy as np
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.learn import checkpoint
from cellbench.harness.store import code, files, manifest, provenance

MAKES = ["cells=[gru]", "probes=[parameters]"]


@pytest.fixture
def a_run(tmp_path):
    assert main(["run", *MAKES, f"results={tmp_path / 'runs'}"]) == 0
    return store.runs(tmp_path / "runs")[0]


def rewritten(run, change):
    """Changed as this user's own program would have written it."""
    path = run / store.MANIFEST
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(manifest.sealed(described)))


def refused(run, capsys, *words):
    capsys.readouterr()
    assert main(["run", f"resume={run}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error


def test_a_package_that_was_edited_without_a_commit_is_another_one(a_run, capsys):
    rewritten(a_run, lambda m: m["code"].update(cells="0" * 16))
    refused(a_run, capsys, "the package cells changed since", "start a new run")


def test_outside_of_git_no_commit_is_not_the_same_commit(a_run, capsys, monkeypatch):
    monkeypatch.setattr(provenance, "git", dict)
    rewritten(a_run, lambda m: m.update(git={}))
    assert main(["run", f"resume={a_run}"]) == 0
    rewritten(a_run, lambda m: m["code"].update(harness="0" * 16))
    refused(a_run, capsys, "the package harness")
    rewritten(a_run, lambda m: m.pop("code"))
    refused(a_run, capsys, "does not say its code")


def test_another_version_of_a_library_is_named(a_run, capsys):
    rewritten(a_run, lambda m: m["versions"].update(numpy="1.0"))
    refused(a_run, capsys, "numpy: 1.0 and", "other versions")
    rewritten(
        a_run, lambda m: (m["versions"].update(provenance.versions()), m["machine"].update(python="2.7"))
    )
    refused(a_run, capsys, "python: 2.7 and")


def test_the_digest_of_the_package_changes_with_any_of_its_files(tmp_path):
    (tmp_path / "cells/zoo").mkdir(parents=True)
    file = tmp_path / "cells/zoo/gru.py"
    file.write_text("a")
    first = code._of_room.__wrapped__("cells", tmp_path)
    assert first == code._of_room.__wrapped__("cells", tmp_path)
    file.write_text("b")
    second = code._of_room.__wrapped__("cells", tmp_path)
    file.rename(tmp_path / "cells/zoo/lstm.py")
    assert len({first, second, code._of_room.__wrapped__("cells", tmp_path)}) == 3


def test_compare_notes_that_the_code_is_another(tmp_path, capsys):
    from support.stored_runs import a_run, native, program

    runs = [a_run(tmp_path, program(), native(), code={"cells": digest}) for digest in ("a", "b")]
    main(["compare", *map(str, runs)])
    assert "other code: the package cells changed" in capsys.readouterr().out


KEPT = ["cells=[gru]", "backends=[numba]", "probes=[training]", "tasks=[adding:steps=8:count=256]", "seeds=1"]


def test_a_second_training_in_one_folder_of_checkpoints_says_what_it_took_over(tmp_path, capsys):
    options = {"epochs": 2, "hidden_size": 4, "checkpoints": tmp_path / "kept", "verdict": "false"}
    given = [*KEPT, *(f"probe.training.{k}={v}" for k, v in options.items())]
    for name in ("one", "two"):
        assert main(["run", *given, f"results={tmp_path / name}"]) == 0
    first, second = (harness.load(tmp_path / name) for name in ("one", "two"))
    assert not (first.metric == "resumed_epochs").any()
    assert second[second.metric == "resumed_epochs"].value.tolist() == [2.0]
    assert second.reason.dropna().str.contains("2 of 2 epochs are a checkpoint's").all()
    capsys.readouterr()
    assert main(["report", str(tmp_path / "two"), f"--output={tmp_path / 'page'}"]) == 0
    assert "2 epochs resumed" in (tmp_path / "page/report.md").read_text()


def test_another_version_of_the_code_has_a_checkpoint_of_its_own(tmp_path, monkeypatch):
    one = checkpoint.file(str(tmp_path), "case")
    assert one == checkpoint.file(str(tmp_path), "case")
    monkeypatch.setattr(provenance, "maker", lambda: "another")
    assert one != checkpoint.file(str(tmp_path), "case")


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


ODD = [
    None,
    True,
    -1,
    0,
    10**30,
    -(10**30),
    1e308,
    math.nan,
    math.inf,
    "",
    "x" * 20_000,
    [],
    {},
    [None],
    "\x00",
]
ODD += [nested(39), nested(900), {"a": {"b": 1}}, "\ud800", "../../..", "all", ["gru", 3]]


def mutations(described):
    """The manifest with one entry replaced, or gone: at the top, and one and two levels below."""
    places = [(key,) for key in described]
    places += [(k, j) for k in described if isinstance(described[k], dict) for j in described[k]]
    places += [
        (k, j, i)
        for k, j in [p for p in places if len(p) == 2]
        if isinstance(described[k][j], dict)
        for i in described[k][j]
    ]
    rng = np.random.default_rng(0)
    for place in places:
        for n in rng.choice(len(ODD) + 1, 4, replace=False):
            changed = copy.deepcopy(described)
            at = changed
            for key in place[:-1]:
                at = at[key]
            if n == len(ODD):
                del at[place[-1]]
            else:
                at[place[-1]] = ODD[n]
            yield place, changed


def test_a_mutated_manifest_is_a_line_and_never_a_traceback(a_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    described = json.loads((a_run / store.MANIFEST).read_text())
    count = 0
    for n, (place, changed) in enumerate(mutations(described)):
        if n % 3 and place[0] != "config":
            continue
        (a_run / store.MANIFEST).write_text(json.dumps(manifest.sealed(changed)))
        for command in (
            ["run", f"resume={a_run}"],
            ["compare", str(a_run), str(a_run)],
            ["history", str(a_run)],
        ):
            capsys.readouterr()
            status = main(command)
            error = capsys.readouterr().err
            assert status in (0, 2), (place, command)
            assert status == 0 or error.count("\n") == 1, (place, command, error)
            count += 1
    assert count > 300


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"1" * 5000, b'{"schema": 1}', b"null"],
)
def test_what_is_no_manifest_is_one_line(a_run, content, capsys):
    (a_run / store.MANIFEST).write_bytes(content)
    refused(a_run, capsys, store.MANIFEST)


def test_values_have_bounds():
    files.check_bounds({"a": [1, 2.0, {"b": 2**62}]})
    for bad in ({"a": 2**64}, nested(60), [-(2**70)]):
        with pytest.raises(ValueError, match=r"nested|number"):
            files.check_bounds(bad)


def test_a_file_that_a_case_names_is_part_of_the_digest(tmp_path):
    (tmp_path / "mine.py").write_text("a")
    spec = f"{tmp_path}/mine.py:Mine:activation=relu"
    named = code.files_named({"cells": ["gru", spec], "probe": {"training": {"backends": []}}})
    assert list(named) == [f"{tmp_path}/mine.py"]
    first = code.digests([spec])
    (tmp_path / "mine.py").write_text("b")
    assert code.changed(first, code.digests([spec])) == [f"{tmp_path}/mine.py"]


CELL = """
from cellbench.cells import GatedCell, State, tanh
{imports}


class Mine(GatedCell):
    '''A cell.'''

    gates, states = ("n",), ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.n + wh.n))
"""


def test_what_a_file_imports_beside_it_is_part_of_the_digest(tmp_path):
    """However it is written, and what is imported by that again; what lies elsewhere and what is not read."""
    for name, text in {
        "mine.py": "import one\nfrom two import x\ndef f():\n    from pack.sub import y\nimport numpy, gone",
        "one.py": "import three",
        "two.py": "",
        "three.py": "import one",  # a circle
        "pack/__init__.py": "from . import beside",
        "pack/sub.py": "from .deep.er import z",
        "pack/beside.py": "broken(",
        "pack/deep/er.py": "",
        "other.py": "",
        "numpy/text.txt": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [p.relative_to(tmp_path).as_posix() for p in code.imported(tmp_path / "mine.py")]
    within = ["pack/__init__.py", "pack/beside.py", "pack/deep/er.py", "pack/sub.py"]
    assert found == sorted(["one.py", "two.py", "three.py", *within])
    spec = f"{tmp_path}/mine.py:Mine"
    first, source = code.digests([spec]), code.source(spec)
    (tmp_path / "pack/deep/er.py").write_text("changed = 1")
    assert code.changed(first, code.digests([spec])) == [f"{tmp_path}/pack/deep/er.py"]
    assert source != code.source(spec)


def test_a_run_whose_helper_module_was_changed_is_not_gone_on_with(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a_helper_of_mine.py").write_text("SCALE = 1")
    (tmp_path / "mine.py").write_text(CELL.format(imports="import a_helper_of_mine"))
    assert main(["run", "cells=[mine.py:Mine]", "probes=[parameters]", "results=runs"]) == 0
    (run,) = store.runs(tmp_path / "runs")
    assert main(["run", f"resume={run}"]) == 0
    (tmp_path / "a_helper_of_mine.py").write_text("SCALE = 2")
    refused(run, capsys, "a_helper_of_mine.py changed since")
