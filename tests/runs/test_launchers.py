"""Hydra's launchers carry jobs of a sweep, each tried for real where its package is installed."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import yaml
from support import pages

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.measure import worker
from cellbench.harness.runs import compose, multirun
from cellbench.harness.store import sweeps

SMALL = [
    "cells=[elman]",
    "backends=[numpy]",
    "probes=[parameters]",
    "threads=2",
]  # on two threads a process is spawned
PACKAGES = {
    "joblib": "hydra_joblib_launcher",
    "ray": "hydra_ray_launcher",
    "submitit_local": "hydra_submitit_launcher",
}


@pytest.mark.skipif("CELLBENCH_CLUSTER" not in os.environ, reason="ten processes; nox -s cluster, ray")
@pytest.mark.parametrize(
    ("launcher", "sizes"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], [4, 5]),
        (["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=1"], [4, 5]),
        (["hydra/launcher=submitit_local"], [4]),
    ],
    ids=["joblib", "ray", "submitit_local"],
)
def test_a_launcher_carries_a_sweep(tmp_path, capsys, launcher, sizes):
    name = launcher[0].partition("=")[2]
    pytest.importorskip(f"hydra_plugins.{PACKAGES[name]}")
    swept = [f"workload.hidden_size={','.join(map(str, sizes))}", f"results={tmp_path}"]
    assert main(["run", "-m", *SMALL, *swept, *launcher]) == 0
    (folder,) = sweeps.sweeps(tmp_path)
    sweep = sweeps.read(folder)
    assert [(r.state, r.cases) for r in sweep.records()] == [("done", {"ok": 1})] * len(sizes)
    blocks = [block for run in store.runs(folder) for block in store.read_blocks(run)]
    assert [block["definition"]["hidden_size"] for block in blocks] == sizes
    for record in sweep.records():
        log, _ = sweep.last_line(record)
        assert "parameters elman: ok" in log.read_text()
        named = {"submitit_local": "local", "ray": "ray"}.get(name, "None")
        assert str(record.scheduler).split()[0] == named
    written = capsys.readouterr()
    assert f"{len(sizes)} done" in written.err and "Traceback" not in written.err + written.out


def test_a_launcher_that_is_not_installed_is_one_line_with_what_to_install(monkeypatch, tmp_path, capsys):
    for launcher, package in PACKAGES.items():
        monkeypatch.setitem(sys.modules, f"hydra_plugins.{package}", None)
        swept = ["workload.hidden_size=4,5", f"hydra/launcher={launcher}", f"results={tmp_path}"]
        assert main(["run", "-m", *SMALL, *swept]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"pip install 'cellbench[{launcher.partition('_')[0]}]'" in error
    assert not (tmp_path / sweeps.FOLDER).exists()


def test_a_launcher_that_fails_is_one_line_and_the_sweep_stays(tmp_path, capsys):
    swept = ["workload.hidden_size=4,5", f"results={tmp_path}", "hydra.launcher._target_=no.such.Launcher"]
    assert main(["run", "-m", *SMALL, *swept]) == 2
    written = capsys.readouterr()
    assert "the launcher has failed" in written.err and "no.such.Launcher" in written.err.splitlines()[-1]
    assert "Traceback" not in written.err and "2 missing; go on with" in written.out


def test_the_launcher_of_the_page_starts_each_job_in_a_container(tmp_path, monkeypatch):
    slurm = pytest.importorskip("submitit.slurm.slurm")
    code = next(b.code for b in pages.blocks(pages.ROOT / "docs/cluster.md", "yaml") if "apptainer" in b.code)
    file = tmp_path / "conf" / "hydra" / "launcher" / "container.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(code)
    for program, does in {"srun": 'echo "$1 $2 $3 $4 $5"; shift 5; "$@"', "apptainer": 'echo "$@"'}.items():
        (tmp_path / program).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    launcher = compose.composed(["hydra/launcher=container"]).hydra.launcher
    assert launcher.partition == yaml.safe_load(code)["partition"] and "SlurmLauncher" in launcher._target_
    job = "/image/python -u -m submitit.core._submit folder"
    script = slurm._make_sbatch_string(job, tmp_path / "logs", setup=list(launcher.setup), map_count=1)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/me", "PWD": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=True)
    srun, apptainer = done.stdout.splitlines()
    logs = f"{tmp_path}/logs/%A_%a_%t_log"
    assert srun == f"--unbuffered --output {logs}.out --error {logs}.err"
    assert apptainer == f"exec --bind {tmp_path} /home/me/cellbench.sif {job}"


def answer(emit):
    return 42


@pytest.mark.parametrize("imported", [(), ("json",)], ids=["spawned", "forked"])
def test_a_worker_starts_in_a_process_whose_start_method_is_a_librarys_own(monkeypatch, imported):
    """As joblib's are, whose method Python's own child processes do not know."""
    context = multiprocessing.get_context("spawn")
    own = type("Own", (type(context),), {"_name": "of a library"})()
    monkeypatch.setitem(multiprocessing.context._concrete_contexts, "of a library", own)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("of a library", force=True)
    try:
        assert worker.call(answer, imported=imported).value == 42
        assert multiprocessing.get_start_method() == "of a library"
    finally:
        multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize(
    ("probes", "left", "words"),
    [
        (
            "[parameters,throughput]",
            [0, 1],
            "throughput: jobs that run side by side disturb each other's times",
        ),
        ("[parameters,gradient_decay]", [0, 1], ""),
        ("[throughput]", [1], ""),
        ("[throughput]", None, ""),
    ],
)
def test_jobs_side_by_side_are_told_of_where_they_time(tmp_path, probes, left, words):
    asked = ["cells=[elman]", "backends=[numpy]", f"probes={probes}", "workload.hidden_size=4,5"]
    sweep = multirun.begin([*asked, f"results={tmp_path}", "hydra/launcher=joblib"], "cellbench run")
    said = multirun.disturbed(sweep, left)
    assert said.startswith(words) and bool(said) == bool(words)
