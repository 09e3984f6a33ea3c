"""A sweep as one thing: on disk before its jobs, listed, shown, and read like a folder of runs."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.runs import launch
from cellbench.harness.runs.allocation import cores, memory_bytes, scheduler
from cellbench.harness.store import sweeps
from cellbench.harness.store.sweeps import Record

SMALL = ["cells=[elman]", "backends=[numpy]", "probes=[parameters]", "threads=2"]
SWEPT = "workload.hidden_size=4,5"
SWEPT_TWO = ["workload.hidden_size=4", "workload.hidden_size=5"]


def begun(folder):
    """A sweep of two jobs on disk that was never launched."""
    jobs = [{"id": f"{n}" * 12, "overrides": [f"seeds={n}"], "config": {}} for n in range(2)]
    described = dict.fromkeys(("created", "command"), "") | {"primary": "config", "sweeper": "basic"}
    described |= {"swept": ["seeds"], "given": []}
    return sweeps.create(folder, described | {"jobs": jobs})


@pytest.mark.quick
def test_a_sweep_is_told_listed_shown_and_loaded_as_one_and_leaves_no_stray_folders(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", *SMALL, SWEPT, "results=r"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"r"}
    text = capsys.readouterr().out
    (folder,) = sweeps.sweeps(Path("r"))
    runs = store.runs(folder)
    assert sorted(runs) == store.runs(Path("r")) and len(runs) == 2  # two of one second are sorted by chance
    rows = [line.split() for line in text.splitlines() if line.split()[1:2] == ["done"]]
    assert [(row[0], row[4], row[-1]) for row in rows if row[0] in "01"] == [
        (str(n), run.name, f"workload.hidden_size={size}")
        for n, (run, size) in enumerate(zip(runs, (4, 5), strict=True))
    ]
    assert text.splitlines()[-1] == f"sweep: {folder}  (page: cellbench report {folder})"
    frame = harness.load(folder)
    assert set(frame.run) == {run.name for run in runs} and set(frame.hidden_size) == {4, 5}
    assert main(["sweeps", "--results", "r"]) == 0
    assert f"{folder.name}     2  2 done" in capsys.readouterr().out
    for name in (folder.name, str(folder)):
        assert main(["sweeps", name, "--results", "r"]) == 0
        assert all(run.name in capsys.readouterr().out.split() for run in runs[:1])


@pytest.mark.quick
def test_a_sweeps_name_stands_for_its_folder_in_every_command_of_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", *SMALL, SWEPT]) == 0
    (folder,) = sweeps.sweeps(Path("results/runs"))
    runs = sorted(run.name for run in store.runs(folder))
    assert main(["report", folder.name, "--output", "page"]) == 0
    page = (tmp_path / "page" / "report.md").read_text()
    assert "Over the sweep" in page and all(run in page for run in runs)
    assert main(["export", folder.name, "--as", "csv", "--output", "tables"]) == 0
    jobs = pd.read_csv(tmp_path / "tables" / "jobs.csv", dtype={"what was swept": str})
    assert list(jobs["job"]) == [0, 1] and set(jobs["state"]) == {"done"} and set(jobs["run"]) == set(runs)
    assert list(jobs["what was swept"]) == SWEPT_TWO
    assert (tmp_path / "tables" / "parameters-and-operations.csv").is_file()
    assert main(["publish", "site", folder.name]) == 0
    capsys.readouterr()
    assert main(["history", folder.name, "--file", "h"]) == 2
    assert "history 'h' has no point" in capsys.readouterr().err  # and no missing run
    assert main(["pack", folder.name]) == 0
    assert "of 2 runs" in capsys.readouterr().out and sorted(r.name for r in store.runs(folder)) == runs
    assert main(["report", folder.name, "--output", "again"]) == 0
    moved = Path("results/runs").rename("elsewhere") / sweeps.FOLDER / folder.name
    assert main(["report", folder.name, "--results", "elsewhere", "--output", "page"]) == 0
    assert main(["report", str(moved), "--output", "page"]) == 0
    capsys.readouterr()
    assert main(["report", folder.name]) == 2
    assert f"no run in {folder.name!r}" in capsys.readouterr().err


def test_the_manifest_is_whole_before_the_launch(tmp_path, monkeypatch, capsys):
    seen = []

    def look(function, overrides, primary, interrupted):
        (folder,) = sweeps.sweeps(tmp_path)
        sweep = sweeps.read(folder)
        jobs = zip(sweep.jobs, sweep.records(), strict=True)
        seen.append([(job.overrides[-2:], record.state) for job, record in jobs])
        assert main(["sweeps", folder.name, "--results", str(tmp_path)]) == 0
        return False

    monkeypatch.setattr(launch, "launched", look)
    assert main(["run", "-m", *SMALL, SWEPT, "seeds=3", f"results={tmp_path}"]) == 130
    assert seen == [
        [(["seeds=3", f"results={tmp_path}"], "queued"), (["seeds=3", f"results={tmp_path}"], "queued")]
    ]
    (folder,) = sweeps.sweeps(tmp_path)
    assert [r.state for r in sweeps.read(folder).records()] == [
        "missing",
        "missing",
    ]  # nobody will start them
    assert f"resume={folder}" in capsys.readouterr().out


def test_a_lost_job_is_a_line_with_its_log_the_last_line_and_what_to_type(tmp_path, capsys):
    sweep = begun(tmp_path)
    sweep.log_of(1).write_text("numba starts\nslurmstepd: error: out of \x1b[31mtime\n\n")
    lost = Record("running", host="node7", scheduler="slurm 17_1", cores=4, log="jobs/1.log")
    sweep.write(1, replace(lost, memory_bytes=2 << 30))
    with sweep.working(1):
        assert sweep.record(1).state == "running"
    assert sweep.record(1).state == "lost"
    assert main(["sweeps", sweep.folder.name, "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (
        f"job 1 was lost; its log {sweep.folder}/jobs/1.log ends with: 'slurmstepd: error: out of \\\\x1b[31m"
    ) in text
    assert "slurm 17_1" in text and "2.0 GiB" in text and "node7" in text
    assert f"1 missing, 1 lost; go on with: cellbench run resume={sweep.folder}" in text


def test_a_log_is_read_inside_of_the_sweep_alone(tmp_path):
    sweep = begun(tmp_path)
    (tmp_path / "secret").write_text("secret\n")
    (sweep.folder / "jobs" / "0.log").symlink_to(tmp_path / "secret")
    assert sweep.last_line(Record("lost", log="jobs/0.log"))[1] == ""
    for log in ("../secret", "/etc/passwd", "a/../../b", "a/.", "..", ""):
        sweep.write(0, Record("running", log=log))
        with pytest.raises(store.ResultsError, match="its log is"):
            sweep.record(0)


DAMAGE = {
    "jobs": [{"jobs": []}, {"jobs": {}}, {"jobs": [{"id": "../../x", "overrides": [], "config": {}}]}],
    "numbers": [{"estimates_s": ["1"]}, {"estimates_s": 1}, {"estimates_s": [-1]}],
    "texts": [
        {"folders": "conf"},
        {"primary": 3},
        {"swept": "seeds"},
        {"swept": [1]},
        {"sweep": "../x"},
        {"schema": 2},
    ],
}


@pytest.mark.parametrize("change", [c for kind in DAMAGE.values() for c in kind], ids=str)
def test_a_damaged_sweep_is_one_line(tmp_path, capsys, change):
    sweep = begun(tmp_path)
    path = sweep.folder / sweeps.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["sweeps", sweep.folder.name, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(path) in error


@pytest.mark.parametrize(
    "change",
    [
        {"state": "lost"},
        {"run": "../x"},
        {"cores": "2"},
        {"host": 3},
        {"cases": []},
        {"more": 1},
        {"before_s": "1"},
    ],
    ids=str,
)
def test_a_damaged_record_is_one_line(tmp_path, capsys, change):
    sweep = begun(tmp_path)
    sweep.write(0, Record("done"))
    path = sweep.folder / "jobs" / "0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["sweeps", sweep.folder.name, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(path) in error


REFUSED = {
    "results=a,b": "results cannot be swept",
    "hydra.job.name=a,b": "hydra.job.name cannot be swept",
    "workload.hidden_size=4,4": "jobs 0 and 1 of the sweep are the same",
}


def test_a_plan_refuses_what_the_sweep_would(capsys):
    assert main(["run", "-m", "--plan", *SMALL, "workload.hidden_size=4,4"]) == 2
    assert "jobs 0 and 1 of the sweep are the same" in capsys.readouterr().err


@pytest.mark.parametrize("override", REFUSED)
def test_what_cannot_be_swept_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, override):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", *SMALL, override]) == 2
    error = capsys.readouterr().err
    assert REFUSED[override] in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("sweep.json"))


def test_without_a_sweep_the_list_says_how_one_is_made(tmp_path, capsys):
    assert main(["sweeps", "--results", str(tmp_path)]) == 0
    assert "run -m KEY=A,B" in capsys.readouterr().out
    assert main(["sweeps", "20260101-000000-abcd", "--results", str(tmp_path)]) == 2
    assert "is no sweep" in capsys.readouterr().err


def test_the_allocation_is_the_jobs_and_not_the_machines(tmp_path):
    assert scheduler({}) is None
    assert (
        scheduler({"SLURM_JOB_ID": "20", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"})
        == "slurm 17_3"
    )
    assert scheduler({"SLURM_JOB_ID": "20"}) == "slurm 20"
    in_an_allocation = {"SLURM_JOB_ID": "20", "SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "9"}
    assert scheduler(in_an_allocation) == "local 9"
    nowhere = tmp_path / "nowhere"
    assert memory_bytes({"SLURM_MEM_PER_NODE": "2048"}, tmp_path, nowhere) == 2 << 30
    of_cores = {"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}
    assert memory_bytes(of_cores, tmp_path, nowhere) == 2 << 30
    assert memory_bytes({}, tmp_path, nowhere) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes({}, tmp_path, nowhere) is None
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert memory_bytes({}, tmp_path, nowhere) == 1 << 30


def test_cores_are_those_of_the_job_also_where_it_is_not_bound_to_them(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cores({}) == 64
    assert cores({"SLURM_CPUS_ON_NODE": "16"}) == 16
    assert cores({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "4"}) == 4
    assert cores({"SLURM_CPUS_ON_NODE": "16(x2)", "SLURM_CPUS_PER_TASK": "0"}) == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert cores({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "4"}) == 2


@pytest.mark.parametrize(
    ("own", "name", "above"),
    [
        ("0::/system.slice/job_17/step_0/task_0\n", "memory.max", "."),
        ("4:memory:/slurm/job_17/step_0/task_0\n1:cpu:/\n0::/\n", "memory.limit_in_bytes", "memory"),
    ],
    ids=["cgroups 2", "cgroups 1"],
)
def test_the_memory_is_that_of_the_jobs_own_cgroup_or_of_one_above(tmp_path, own, name, above):
    (tmp_path / "own").write_text(own)
    job = tmp_path / above / own.split(":")[2].split("\n")[0].removeprefix("/").removesuffix("/step_0/task_0")
    (job / "step_0" / "task_0").mkdir(parents=True)
    assert memory_bytes({}, tmp_path, tmp_path / "own") is None
    (tmp_path / above / name).write_text(f"{8 << 30}\n")
    assert memory_bytes({}, tmp_path, tmp_path / "own") == 8 << 30
    (job / name).write_text(f"{2 << 30}\n")
    (job / "step_0" / "task_0" / name).write_text("max\n")
    assert memory_bytes({}, tmp_path, tmp_path / "own") == 2 << 30
    (job / "step_0" / "task_0" / name).write_text(f"{1 << 30}\n")
    assert memory_bytes({}, tmp_path, tmp_path / "own") == 1 << 30
