"""What is told of jobs that were handed to Slurm and have not begun; what it has no more is lost."""

import os

import pytest

from cellbench.harness.cli import main
from cellbench.harness.runs import cancel, live
from cellbench.harness.runs import launch as launching
from cellbench.harness.store import sweeps
from cellbench.harness.store.files import ResultsError
from cellbench.harness.store.sweeps import Record, launches, slurm

SMALL = ["cells=[elman]", "backends=[numpy]", "probes=[parameters]", "threads=2"]


@pytest.fixture
def begun(tmp_path):
    """A sweep of three jobs that was never launched."""
    jobs = [{"id": f"{n}" * 12, "overrides": [f"seeds={n}"], "config": {}} for n in range(3)]
    described = dict.fromkeys(("created", "command"), "") | {"primary": "config", "sweeper": "basic"}
    return sweeps.create(tmp_path, described | {"swept": ["seeds"], "given": [], "jobs": jobs})


def submit(sweep, number, jobs=None):
    """What submitit leaves of a job, or of an array of so many."""
    folder = sweep.folder / "hydra" / ".submitit" / str(number)
    folder.mkdir(parents=True)
    array = "" if jobs is None else f"#SBATCH --array=0-{jobs - 1}%{jobs}\n"
    (folder / f"{number}_submission.sh").write_text(f"#!/bin/bash\n{array}#SBATCH --nodes=1\n")


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Sets what squeue answers; gives the file that has its arguments."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")

    def answers(lines="", error="", code=0):
        slurm._asked.cache_clear()
        words = f'echo "$@" "$SQUEUE_STATES" > {tmp_path}/asked\n'
        said = "".join(f"echo {line}\n" for line in lines.split())
        program.write_text(f"#!/bin/sh\n{words}{said}echo '{error}' >&2\nexit {code}\n")
        program.chmod(0o755)
        return tmp_path / "asked"

    yield answers
    slurm._asked.cache_clear()


def states(sweep):
    return [record.state for record in sweep.records()]


def test_a_job_that_slurm_has_no_more_is_lost_with_its_log_and_the_watch_ends(begun, squeue, capsys):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 17, jobs=3)
    asked = squeue("17_0 17_1 17_2")
    assert states(begun) == ["queued"] * 3 and begun.record(2).scheduler == "slurm 17_2"
    assert asked.read_text() == "--noheader --array --format=%i --jobs=17 \n"
    squeue("17_0")
    begun.write(0, Record("done"))
    log = begun.folder / "hydra/.submitit/17_1/17_1_0_log.err"
    log.parent.mkdir()
    log.write_text("srun: error: python: not found\n\n")
    assert states(begun) == ["done", "lost", "lost"]
    assert main(["sweeps", str(begun.folder), "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    gone = "Slurm has it no more, and it left no record"
    assert f"job 1 was lost: {gone}; its log {log} ends with: 'srun: error: python: not found'" in lines
    assert f"job 2 was lost: {gone}" in lines
    assert lines[-1] == f"1 done, 2 lost; go on with: cellbench run resume={begun.folder}"


def test_a_job_without_an_array_that_slurm_has_forgotten_is_lost(begun, squeue):
    launches.add(begun.folder, launches.SLURM, [2])
    submit(begun, 17)
    squeue("17")
    assert states(begun) == ["lost", "lost", "queued"]
    squeue(error="slurm_load_jobs error: Invalid job id specified", code=1)
    assert states(begun) == ["lost"] * 3


def test_a_job_that_slurm_was_not_given_is_lost_once_its_launch_has_ended(begun, squeue, capsys):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    with begun.launching():
        assert states(begun) == ["queued"] * 3
    assert main(["sweeps", str(begun.folder), "--watch"]) == 0
    assert "job 0 was lost: Slurm was not given it" in capsys.readouterr().out


def test_batches_and_an_earlier_launch_are_told_apart(begun, squeue):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 98, jobs=2)
    submit(begun, 101)
    launches.add(begun.folder, launches.SLURM, [1, 2])
    submit(begun, 102, jobs=2)
    squeue("98_0 102_1")
    assert launches.numbers(begun.folder, launches.read(begun.folder)) == [["98", "101"], ["102"]]
    assert states(begun) == ["queued", "lost", "queued"]
    squeue("98_1 101")
    assert states(begun) == ["lost", "queued", "queued"]


def test_a_job_that_ended_early_and_waits_in_slurm_anew_is_queued(begun, squeue):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 17, jobs=3)
    begun.write(0, Record("stopped", scheduler="slurm 17_0", run="r", reason="ended by SIGTERM"))
    begun.write(1, Record("failed", scheduler="slurm 17_1"))
    begun.write(2, Record("done", scheduler="slurm 17_2"))
    asked = squeue("17_0 17_1 17_2")
    assert states(begun) == ["stopped", "failed", "done"] and not asked.exists()  # Slurm clears up after it
    launches.add(begun.folder, launches.SLURM, [0, 1])
    submit(begun, 18, jobs=2)
    squeue("18_0")
    assert states(begun) == ["queued", "failed", "done"]
    assert begun.record(0) == Record("queued", scheduler="slurm 18_0", run="r")


def test_a_job_that_began_and_ended_while_slurm_was_asked_is_not_lost(begun, squeue, monkeypatch):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 17, jobs=3)

    def has(numbers):
        begun.write(1, Record("done"))
        return frozenset()

    monkeypatch.setattr(slurm, "has", has)
    assert states(begun) == ["lost", "done", "lost"]


@pytest.mark.parametrize("how", ["absent", "unreachable", "slow"])
def test_where_slurm_does_not_answer_a_line_says_what_cannot_be_known(
    begun, squeue, monkeypatch, capsys, tmp_path, how
):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 17, jobs=3)
    squeue(error="slurm_load_jobs error: Unable to contact slurm controller", code=1)
    why = "squeue fails: slurm_load_jobs error: Unable to contact slurm controller; look again later"
    if how == "absent":
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        why = "squeue is not here; look again on a node that has it"
    if how == "slow":
        (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexec sleep 30\n")
        monkeypatch.setattr(slurm, "LONGEST_S", 0.1)
        why = "squeue has not answered within 0.1 s; look again later"
    assert states(begun) == ["queued"] * 3
    monkeypatch.setattr(live, "_watch", lambda *_, **__: None)
    assert main(["sweeps", str(begun.folder), "--watch"]) == 0
    words = f"whether Slurm still has job 0 and 2 others cannot be told here: {why}"
    written = capsys.readouterr()
    assert words in written.out and words in written.err


def test_slurm_is_asked_seldom_and_not_by_its_own_jobs(begun, squeue, monkeypatch):
    launches.add(begun.folder, launches.SLURM, [0, 1, 2])
    submit(begun, 17, jobs=3)
    asked = squeue("17_0")
    monkeypatch.setattr(slurm.time, "monotonic", lambda: 1000.0)
    begun.records()
    asked.unlink()
    begun.records()
    assert begun.begun(0) is None and begun.runs() == [] and not asked.exists()
    monkeypatch.setattr(slurm.time, "monotonic", lambda: 1000.0 + slurm.ASK_S)
    begun.records()
    assert asked.exists()


DAMAGE = [
    "[]",
    '{"schema": 1, "launches": [{}]}',
    '{"schema": 1, "launches": [{"launcher": 1, "jobs": [], "before": []}]}',
    '{"schema": 1, "launches": [{"launcher": "basic", "jobs": ["0"], "before": []}]}',
    '{"schema": 1, "launches": [{"launcher": "basic", "jobs": null, "before": ["-u"]}]}',
]


@pytest.mark.parametrize("text", DAMAGE)
def test_damaged_launches_are_one_line(begun, capsys, text):
    (begun.folder / launches.FILE).write_text(text)
    assert main(["sweeps", str(begun.folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(begun.folder / launches.FILE) in error


def test_launches_that_cannot_be_written_are_one_line_and_nothing_is_launched(begun, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launches.atomic, "write_json", full)
    with pytest.raises(ResultsError, match=r"launches\.json cannot be written: No space left"):
        launches.add(begun.folder, launches.SLURM, [0])


def test_the_launcher_of_the_last_launch_counts_and_not_that_of_the_first(
    tmp_path, squeue, monkeypatch, capsys
):
    """Begun here, gone on with on Slurm, and interrupted while all jobs wait there."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    given = [*SMALL, "workload.hidden_size=4,5", f"results={tmp_path / 'runs'}"]
    monkeypatch.setattr(launching, "launched", lambda *_: False)
    assert main(["run", "-m", *given]) == 130
    (folder,) = sweeps.sweeps(tmp_path / "runs")
    sweep = sweeps.read(folder)
    assert states(sweep) == ["missing"] * 2
    squeue("17_0 17_1")
    monkeypatch.setattr(launching, "launched", lambda *_: submit(sweep, 17, jobs=2) or False)
    monkeypatch.setattr(cancel.time, "sleep", lambda _: None)
    capsys.readouterr()
    assert main(["run", f"resume={folder}", "hydra/launcher=submitit_slurm"]) == 130
    written = capsys.readouterr()
    assert "cancel them with: scancel 17, or" in written.err and "2 queued" in written.out
    assert [launch.launcher for launch in launches.read(folder)] == ["basic", "submitit_slurm"]


def test_a_launcher_of_ones_own_is_what_its_class_is(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.chdir(tmp_path)
    files = tmp_path / "conf" / "hydra" / "launcher"
    files.mkdir(parents=True)
    slurm_too = "defaults: [submitit_slurm]\npartition: batch\n"
    joblib = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    (files / "mine.yaml").write_text(f"_target_: {joblib}\n")
    (files / "cluster.yaml").write_text(slurm_too)
    (files / "elsewhere.yaml").write_text(f"{slurm_too}submitit_folder: /elsewhere/%j\n")
    (files / "other.yaml").write_text("_target_: my.own.Launcher\n")
    found = {
        name: launching.launcher([f"hydra/launcher={name}"], "config")
        for name in ("basic", "mine", "cluster", "elsewhere", "other")
    }
    assert found == {
        "basic": "basic",
        "mine": "joblib",
        "cluster": launches.SLURM,
        "elsewhere": launches.ELSEWHERE,
        "other": "my.own.Launcher",
    }


def test_jobs_of_a_launcher_that_nobody_knows_end_with_it_but_for_slurms_with_files_elsewhere(begun, capsys):
    for launcher, state in (("my.own.Launcher", "missing"), (launches.ELSEWHERE, "queued")):
        launches.add(begun.folder, launcher, [0, 1, 2])
        assert states(begun) == [state] * 3
        with begun.launching():
            assert states(begun) == ["queued"] * 3
    assert main(["sweeps", str(begun.folder)]) == 0
    assert "cannot be told here: its launcher keeps submitit's files elsewhere" in capsys.readouterr().out
