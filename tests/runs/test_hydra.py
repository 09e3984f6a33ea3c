"""Hydra as its users know it: flags, keys and files have their effect, or are refused by name."""

import json
import logging
import os

import pytest

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.runs import launch, places
from cellbench.harness.store import sweeps

SMALL = ["cells=[elman]", "backends=[numpy]", "probes=[parameters]", "threads=2"]
MINE = """\
# @package _global_
# Two cells, counted.
cells: [elman, gru]
probes: [parameters]
backends: [numpy]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of a person's with an experiment, and another of YAML files beside it."""
    for folder, name, text in (
        ("conf/experiment", "mine", MINE),
        ("shared/experiment", "theirs", MINE.replace("elman, gru", "lstm")),
        ("shared", "base", "defaults:\n  - config\n  - _self_\nseeds: 7\n"),
        ("shared/experiment", "swept", MINE + "hydra:\n  sweeper:\n    params:\n      workload.batch: 2,3\n"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    yield tmp_path
    places.give(None)
    root.handlers[:] = handlers
    root.setLevel(level)


def planned(capsys, *arguments):
    assert main(["run", "--plan", *arguments]) == 0
    return capsys.readouterr().out


def test_an_experiment_of_ones_own_is_found_in_conf_and_in_config_dir_and_listed(project, capsys):
    assert "2 cases" in planned(capsys, "experiment=mine")
    assert "1 case," in planned(capsys, "experiment=theirs", "--config-dir", "shared")
    assert "parameters lstm" in planned(capsys, "experiment=[mine,theirs]", "--config-dir=shared")
    assert main(["run", "--plan", "experiment=theirs"]) == 2  # the folder was given to that command alone
    assert "unknown experiment 'theirs'" in capsys.readouterr().err
    assert main(["list", "experiments", "--config-dir", "shared"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("mine")] == [
        ["mine", "Two", "cells,", "counted.", "(conf/experiment/mine.yaml)"]
    ]
    assert {line.split()[0] for line in lines} >= {"quick", "tasks", "theirs"}


UNREAD = {
    "a key without its place": (
        "cells: [gru]\n",
        "mine.yaml does not say where its keys belong; write `# @package",
    ),
    "an empty file": ("", "mine.yaml does not say where its keys belong"),
    "no YAML": ("# @package _global_\n: : [\n", "mine.yaml, line 2, column 1: this is no YAML"),
    "a tab": ("# @package _global_\ncells:\n\t- gru\n", "mine.yaml, line 3, column 1: this is no YAML"),
    "a misspelt key": (MINE + "workload:\n  hiden_size: 4\n", "did you mean 'hidden_size'?"),
    "a number for keys": (
        "# @package _global_\nworkload: 3\n",
        "workload is 3 in the run's configuration; it must hold keys: steps, batch",
    ),
    "a variable that is not set": (
        "# @package _global_\ncells: ${oc.env:NOT_SET_AT_ALL}\n",
        "cellbench: cells cannot be filled in: Environment variable 'NOT_SET_AT_ALL' not found\n",
    ),
    "a key that is not there": (
        "# @package _global_\ncells: ${celsl}\n",
        "cellbench: cells cannot be filled in: Interpolation key 'celsl' not found\n",
    ),
    "a misspelt key at the top": (
        MINE + "seds: 4\n",
        "unknown key 'seds' in the run's configuration; did you",
    ),
}


@pytest.mark.parametrize("fault", UNREAD)
def test_an_experiment_that_cannot_be_read_is_one_line_with_its_file_or_key(fault, project, capsys):
    text, words = UNREAD[fault]
    (project / "conf/experiment/mine.yaml").write_text(text)
    assert main(["run", "--plan", "experiment=mine"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_workload_of_ones_own_and_a_search_path_are_found_and_listed(project, capsys):
    (project / "conf/workload").mkdir()
    (project / "conf/workload/tiny.yaml").write_text("# Of a test.\nsteps: [12, 3]\nbatch: 2\n")
    asked = ["experiment=mine", "probes=[throughput]", "cells=[elman]", "direction=forward"]
    assert " T=12 B=2 I=32" in planned(capsys, *asked, "workload=tiny")
    assert " T=3 B=7 I=32" in planned(capsys, *asked, "workload=tiny", "workload.batch=7")
    assert main(["run", *asked, "workload=tine"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert main(["list", "workloads"]) == 0
    assert "Of a test. (conf/workload/tiny.yaml)" in capsys.readouterr().out
    assert "parameters lstm" in planned(capsys, "experiment=theirs", "hydra.searchpath=[file://shared]")


LAUNCHER = "defaults:\n  - basic\n"


def test_a_sweep_keeps_its_folders_of_yaml_files_and_goes_on_from_anywhere(project, capsys, monkeypatch):
    """The experiment and the launcher are in --config-dir; `resume` is typed elsewhere, without the flag."""
    (project / "shared/hydra/launcher").mkdir(parents=True)
    (project / "shared/hydra/launcher/theirs.yaml").write_text(LAUNCHER)
    monkeypatch.setattr(launch, "launched", lambda *_: False)
    asked = [
        "experiment=[mine,theirs]",
        "hydra/launcher=theirs",
        "workload.batch=2,3",
        "threads=2",
        "results=r",
    ]
    assert main(["run", "-m", *asked, "--config-dir", "shared"]) == 130
    monkeypatch.undo()
    (folder,) = sweeps.sweeps(project / "r")
    command = json.loads((folder / sweeps.MANIFEST).read_text())["command"]
    assert "--config-dir shared" in command and "experiment=[mine,theirs]" in command
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    places.give(None)
    capsys.readouterr()
    assert main(["run", f"resume={folder}"]) == 0, capsys.readouterr().err
    assert [r.state for r in sweeps.read(folder).records()] == ["done", "done"]


def test_a_run_keeps_the_flags_that_its_command_had(project):
    assert main(["run", "--config-dir", "shared", "--config-name", "base", *SMALL, "seeds=1"]) == 0
    (run,) = store.runs(project / "results/runs")
    assert "run --config-dir shared --config-name base" in store.read_manifest(run)["command"]
    assert main(["run", f"resume={run}"]) == 0


@pytest.mark.parametrize("flag", ["--cfg job", "--info", "--config-name base", "--plan"])
def test_resume_takes_no_flag_that_would_do_nothing(project, capsys, flag):
    assert main(["run", "resume=results/runs/RUN", *flag.split()]) == 2
    assert f"leave out {flag.split()[0]}" in capsys.readouterr().err


def test_the_first_file_of_all_may_be_ones_own(project, capsys):
    assert main(["run", "--cfg", "job", "--config-dir", "shared", "--config-name", "base"]) == 0
    assert "seeds: 7" in capsys.readouterr().out
    assert main(["run", "--plan", "--config-name", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_an_experiment_may_say_what_is_swept(project, capsys):
    text = planned(capsys, "-m", "experiment=swept", "seeds=1", "--config-dir", "shared")
    assert text.count("2 cases") == 2


def test_a_name_that_would_hide_a_file_of_ones_own_and_a_key_that_there_is_not_are_refused(project, capsys):
    (project / "conf/experiment/quick.yaml").write_text(MINE)
    (project / "conf/experiment/typo.yaml").write_text(MINE + "sead: 3\n")
    assert main(["run", "experiment=quick"]) == 2
    assert "rename it" in capsys.readouterr().err
    assert main(["run", "experiment=typo"]) == 2
    error = capsys.readouterr().err
    assert "'sead'" in error and error.count("\n") == 1


SHOWN = {
    "--cfg job": "cells:\n- elman",
    "--cfg hydra": "job:\n    name: cellbench",
    "--cfg all": "workload:\n  steps:",
    "--cfg job --package workload": "batch: 16",
    "--cfg hydra --resolve": "name: cellbench",
    "--info searchpath": "Config search path",
    "--info plugins": "BasicLauncher",
    "--hydra-help": "hydra/launcher: basic",
    "--shell-completion install=bash": "complete -o nospace",
}


@pytest.mark.parametrize("flags", SHOWN)
def test_a_flag_of_hydras_shows_what_it_shows_and_runs_nothing(project, capsys, flags):
    handlers = logging.getLogger().handlers[:]
    assert main(["run", *flags.split()]) == 0
    assert SHOWN[flags] in capsys.readouterr().out
    assert {path.name for path in project.iterdir()} == {"conf", "shared"}
    assert logging.getLogger().handlers == handlers


def test_completion_knows_keys_and_experiments_of_ones_own(project, capsys, monkeypatch):
    for line, words in (("workload.b", {"workload.batch="}), ("experiment=m", {"experiment=mine"})):
        monkeypatch.setenv("COMP_LINE", f"cellbench run {line}")
        monkeypatch.setenv("COMP_POINT", str(len(f"cellbench run {line}")))
        assert main(["run", "-sc", "query=bash"]) == 0
        assert set(capsys.readouterr().out.split()) == words


REFUSED = {
    "hydra.run.dir=x": "hydra.run.dir has no effect here: a run's folder is made in results=DIR",
    "hydra.sweep.dir=x -m": "a sweep lies below results=DIR",
    "hydra.job.chdir=true": "paths are those of the folder that you are in",
    "hydra.mode=MULTIRUN": "a sweep is asked for by -m",
    "hydra.foo=1": "unknown key 'hydra.foo'",
    "+hydra.foo=1": "unknown key 'hydra.foo'",
    "hydra.verbos=true": "did you mean 'verbose'",
    "hydra.job.nam=x": "did you mean 'name'",
    "hydra/launcher=basic": "hydra/launcher is for sweeps alone; write -m",
    "hydra/launcher=basik -m": "did you mean 'basic'?",
    "hydra.launcher.n_jobs=2 -m": "unknown key 'hydra.launcher.n_jobs'",
    "hydra.sweeper.max_batch_siz=2 -m": "did you mean 'max_batch_size'",
    "--config-path x": "--config-path is not taken",
    "--experimental-rerun x": "resume=RUN goes on with a run",
    "--config-dir nowhere": "is no folder",
    "--resolve": "--resolve stands beside --cfg",
    "--cfg job -m": "one at a time",
    "--cfg jobs": "invalid choice",
    "--cfg job cells=[lstn": "cannot read",
    "-sc install=fish": "for bash alone",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_has_no_effect_is_refused_in_one_line(project, capsys, arguments):
    assert (
        main(["run", *SMALL, *arguments.split()] if "-sc" not in arguments else ["run", *arguments.split()])
        == 2
    )
    error = capsys.readouterr().err
    assert REFUSED[arguments] in error and error.count("\n") == 1, error


def test_logs_are_printed_or_written_as_hydra_is_told(project, capsys, monkeypatch):
    def measure(settings, command):
        logging.getLogger("numba").debug("a word of numba")
        logging.getLogger("other").warning("a word of others")
        return 0

    monkeypatch.setattr("cellbench.harness.runs.measure.measure", measure)
    root = logging.getLogger()
    for overrides, printed in (
        ([], ""),
        (["hydra.verbose=true"], "a word of numba"),
        (["hydra.verbose=numba"], "DEBUG numba: a word of numba"),
        (["hydra/job_logging=stdout"], "a word of others"),
        (["hydra/job_logging=default"], "a word of others"),
    ):
        root.handlers[:] = []
        root.setLevel(logging.WARNING)
        logging.getLogger("numba").setLevel(logging.NOTSET)
        assert main(["run", *SMALL, *overrides]) == 0
        text = "".join(capsys.readouterr())
        assert printed in text and ("numba" in text) == ("hydra.verbose" in "".join(overrides)), overrides
    assert "a word of others" in (project / "results/runs/.logs/cellbench.log").read_text()
    assert {path.name for path in project.iterdir()} == {"conf", "shared", "results"}


def test_variables_and_the_sweepers_batches_have_their_effect(project, monkeypatch, capsys):
    seen = []
    monkeypatch.setenv("CELLBENCH_TRIED", "2")
    monkeypatch.setattr(
        "cellbench.harness.runs.measure.measure", lambda *_: seen.append(os.environ["CELLBENCH_TRIED"]) or 0
    )
    assert main(["run", *SMALL, "+hydra.job.env_set.CELLBENCH_TRIED=3"]) == 0 and seen == ["3"]
    swept = ["workload.batch=1,2", "hydra.sweeper.max_batch_size=1", "hydra/hydra_logging=default"]
    assert main(["run", "-m", *SMALL, *swept, "+hydra.job.env_set.CELLBENCH_TRIED=4"]) == 0
    assert seen == ["3", "4", "4"]
    assert capsys.readouterr().out.count("Launching 1 jobs locally") == 2
    (folder,) = sweeps.sweeps(project / "results/runs")
    assert json.loads((folder / sweeps.MANIFEST).read_text())["swept"] == ["workload.batch"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["hydra/job_logging=foo"], "unknown hydra/job_logging 'foo'; there are: default, disabled"),
        (["hydra/job_loging=none"], "unknown key 'hydra/job_loging'; did you mean 'job_logging'?"),
        (["hydra.searchpath=[file://nowhere]"], "hydra.searchpath: 'file://nowhere' is no folder"),
        (["hydra.searchpath=[pkg://no.such]"], "hydra.searchpath: 'pkg://no.such' is no installed package"),
        (["--config-name", "conifg"], "there is no conifg.yaml in ./conf or --config-dir; did you mean"),
    ],
)
def test_what_hydra_would_not_find_or_pass_over_is_one_line(given, line, capsys):
    assert main(["run", "--plan", *given]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.splitlines()) == 1
