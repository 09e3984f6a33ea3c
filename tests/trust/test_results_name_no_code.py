"""What is read back names no code to run: claims, manifests, archives."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cellbench.cells import seal
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.tasks import mnist1d

EVIL = "from pathlib import Path\nPath({proof!r}).write_text('executed')\nclass Evil: pass\n"
CELL = """
from cellbench.cells import GatedCell, State, tanh

class Mine(GatedCell):
    '''A plain cell.'''
    gates = ("n",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.n + wh.n))
"""


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A file that leaves a proof where it is imported, in the working directory; returns the proof's path."""
    monkeypatch.chdir(tmp_path)
    proof = tmp_path / "proof"
    Path("evil.py").write_text(EVIL.format(proof=str(proof)))
    return proof


@pytest.fixture
def a_run(tmp_path):
    """The folder of a run of this user's."""
    assert main(["run", "cells=[gru]", "probes=[parameters]", f"results={tmp_path / 'results/runs'}"]) == 0
    return store.runs(tmp_path / "results/runs")[0]


def changed(run, **entries):
    path = run / store.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_report_imports_no_claim_that_claims_json_names(evil, a_run, capsys):
    row = {"claim": "Evil", "spec": "evil.py:Evil", "place": 1, "seconds": 1.0, "options": {}, "numbers": {}}
    row |= dict.fromkeys(("sentence", "how", "rule", "condition"), "words") | {"verdict": "holds"}
    row["table"] = {
        "heading": "",
        "header": ["fall"],
        "rows": [[{"text": "5 <b>m</b>", "detail": "", "kind": "number"}]],
        "note": "",
    }
    claims = a_run.parent.parent / "claims"
    claims.mkdir()
    (claims / "claims.json").write_text(json.dumps({"claims": [row]}))
    assert main(["report", str(a_run), "--output", "page"]) == 0
    assert not evil.exists()
    page = Path("page/index.html").read_text()
    assert "5 &lt;b&gt;m&lt;/b&gt;" in page  # what a claim of one's own measured still stands on the page
    assert "not imported" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["cells", "backends", "probes", "tasks"])
def test_a_foreign_run_is_gone_on_with_only_where_it_is_trusted(evil, a_run, key, capsys):
    config = json.loads((a_run / store.MANIFEST).read_text())["config"]
    changed(a_run, config=config | {key: ["evil.py:Evil"]})
    assert main(["run", f"resume={a_run}"]) == 2
    error = capsys.readouterr().err
    assert not evil.exists() and error.count("\n") == 1
    assert str(Path("evil.py").resolve()) in error and "trust=true" in error


def test_a_path_inside_of_a_probes_options_is_shown_too(evil, a_run, capsys):
    config = json.loads((a_run / store.MANIFEST).read_text())["config"]
    config["probe"]["training"] |= {"backends": ["evil.py:Evil"], "checkpoints": "/somewhere"}
    changed(a_run, config=config)
    assert main(["run", f"resume={a_run}"]) == 2
    error = capsys.readouterr().err
    assert not evil.exists() and "evil.py" in error and "/somewhere" in error


def test_a_trusted_run_says_what_it_imports_and_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(CELL)
    given = [f"cells=[{tmp_path}/mine.py:Mine]", "probes=[parameters]", f"results={tmp_path / 'runs'}"]
    assert main(["run", *given]) == 0
    run = store.runs(tmp_path / "runs")[0]
    changed(run, seal="0" * 64)  # as somebody else's
    capsys.readouterr()
    assert main(["run", f"resume={run}", "trust=true"]) == 0
    out = capsys.readouterr().out
    assert "trusted: " in out and f"{tmp_path}/mine.py" in out and "1 of 1 cases are done" in out
    assert main(["run", f"resume={run}", "trust=perhaps"]) == 2


def test_a_run_of_ones_own_goes_on_without_being_asked_and_under_a_launcher(a_run, capsys):
    assert main(["run", f"resume={a_run}"]) == 0
    assert main(["run", f"resume={a_run}", "hydra/launcher=basic"]) == 0
    assert "nothing left to measure" in capsys.readouterr().out
    assert main(["run", f"resume={a_run}", "seeds=3", "trust=true"]) == 2
    assert "leave out seeds=3" in capsys.readouterr().err
    assert main(["run", "trust=true"]) == 2


def test_the_seal_of_one_user_is_not_that_of_another(tmp_path, monkeypatch):
    made = seal.seal(b"content", "run")
    assert seal.is_ours(b"content", "run", made) and not seal.is_ours(b"content", "kernel", made)
    assert not seal.is_ours(b"other", "run", made) and not seal.is_ours(b"content", "run", None)
    for name in ("XDG_STATE_HOME", "CELLBENCH_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert not seal.is_ours(b"content", "run", made)
    key = tmp_path / "XDG_STATE_HOME/cellbench/key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and [p.name for p in key.parent.iterdir()] == ["key"]


def test_a_key_that_others_may_read_is_not_used(tmp_path, monkeypatch):
    for name in ("XDG_STATE_HOME", "CELLBENCH_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    made = seal.seal(b"content", "run")
    key = tmp_path / "XDG_STATE_HOME/cellbench/key"
    key.chmod(0o644)
    seal._key.cache_clear()
    assert seal.seal(b"content", "run") != made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_where_no_key_can_be_kept_nothing_is_sealed(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    for name in ("XDG_STATE_HOME", "CELLBENCH_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert seal.seal(b"content", "run") == "" and not seal.is_ours(b"content", "run", "")


def test_code_in_an_archive_is_read_for_its_numbers_and_never_run(tmp_path):
    proof = tmp_path / "proof"
    rest = [float(j % 5) for j in range(11)]
    templates = "\n".join(f"    d{k} = np.asarray({[float(k + 1), *rest]})" for k in range(10))
    sizes = {"num_samples": 50, "train_split": 0.8, "template_len": 12, "padding": [36, 60], "seed": 42}
    sizes |= {"scale_coeff": 0.4, "max_translation": 48, "corr_noise_scale": 0.25, "iid_noise_scale": 0.02}
    sizes |= {"shear_scale": 0.75, "final_seq_length": 40}
    source = f"open({str(proof)!r}, 'w')\narg_dict = {sizes}\ndef get_templates():\n{templates}\n"
    files = {"mnist1d/data.py": source.encode(), "mnist1d/transform.py": b"raise SystemExit"}
    made = mnist1d.generated(files)
    assert made["x"].shape == (40, 40) and made["y_test"].shape == (10,) and not proof.exists()


def test_nothing_that_reads_results_executes_text():
    """No exec, eval, pickle or marshal stands in the rooms that read files."""
    root = Path(__file__).parents[2]
    words = ("exec(", "eval(", "pickle.load", "marshal.load", "yaml.load(", "allow_pickle=True")
    found = [
        f"{path.relative_to(root)}: {word}"
        for room in ("store", "report", "claims", "data", "runs", "tasks", "learn", "regress", "commands")
        for path in (root / "harness" / room).rglob("*.py")
        for word in words
        for line in path.read_text().splitlines()
        if line.strip().startswith(word) or f" {word}" in line or f"={word}" in line
    ]
    assert not found


def test_a_report_of_a_foreign_run_starts_no_file_of_its_manifest(evil, a_run):
    config = json.loads((a_run / store.MANIFEST).read_text())["config"]
    changed(a_run, config=config | {"cells": ["evil.py:Evil"], "probes": ["evil.py:Evil"]})
    for command in (["report", str(a_run)], ["compare", str(a_run), str(a_run)], ["history", str(a_run)]):
        subprocess.run([sys.executable, "-m", "cellbench.harness.cli", *command], check=False, timeout=120)
        assert not evil.exists(), command
