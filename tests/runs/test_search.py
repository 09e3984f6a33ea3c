"""A job comes to a number, and a sweeper that searches goes by it."""

import pytest

from cellbench import cells
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.runs import compose, objective, search
from cellbench.harness.runs.values import ConfigError
from cellbench.harness.store import sweeps

SMALL = ["cells=[elman]", "backends=[numpy]", "probes=[parameters]", "threads=2"]
OPTUNA = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]


def test_optuna_goes_by_the_number_of_each_run(tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    space = [
        "workload.hidden_size=choice(3,9)",
        "hydra/sweeper/sampler=grid",
        "objective=parameters.parameters",
    ]
    assert main(["run", "-m", *SMALL, *OPTUNA, *space, f"results={tmp_path}"]) == 0
    out = capsys.readouterr().out
    count = cells.get("elman").parameter_count(32, 3)
    assert f"best: workload.hidden_size=3, with parameters.parameters = {count:.3g}\n" in out
    assert "2 done; page:" in out
    (folder,) = sweeps.sweeps(tmp_path)
    sweep = sweeps.read(folder)
    assert sorted(job.config["workload"]["hidden_size"] for job in sweep.jobs) == [3, 9]
    assert len(store.runs(folder)) == 2 and all(r.state == "done" for r in sweep.records())
    assert main(["run", f"resume={folder}"]) == 2
    assert "a search of optuna" in capsys.readouterr().err


def test_the_objective_is_the_mean_over_cases_of_each_cases_median(tmp_path):
    manifest = {"command": "run", "config": {}}
    writer = store.create(tmp_path, manifest)
    for case, status, values in (("a", "ok", [1.0, 2.0, 9.0]), ("b", "ok", [4.0]), ("c", "wrong", [100.0])):
        series = [{"metric": "seconds", "unit": "s", "values": values}]
        definition = {"probe": "throughput", "cell": case}
        writer.append(case, definition, status, series=series, reason=None, done=True)
    writer.close()
    assert objective.value(writer.folder, "throughput.seconds") == (2.0 + 4.0) / 2
    with pytest.raises(ConfigError, match="did you mean 'seconds'"):
        objective.value(writer.folder, "throughput.second")
    with pytest.raises(ConfigError, match="no case of it is ok"):
        objective.value(writer.folder, "latency.seconds")


REFUSED = {
    "objective=seconds": "must be PROBE.METRIC",
    "objective=throughput.seconds": "of probe 'throughput', which is not run",
    "objective=[a]": "must be PROBE.METRIC",
    "hydra/sweeper=optuna": "needs the number to search by",
    "workload.steps=int(interval(a,b))": "cannot read",
}


@pytest.mark.parametrize("override", REFUSED)
def test_a_search_without_its_number_is_one_line(tmp_path, capsys, override):
    if "optuna" in override:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    assert main(["run", "-m", *SMALL, override, f"results={tmp_path}/r"]) == 2
    error = capsys.readouterr().err
    assert REFUSED[override] in error and error.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("installed", "code"), [({"sqlalchemy": "2.1.9"}, 2), ({"sqlalchemy": "1.4.54"}, 0)])
def test_a_storage_that_optuna_cannot_open_is_one_line(tmp_path, capsys, monkeypatch, installed, code):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    monkeypatch.setattr(search, "version", lambda name: installed.get(name, "2.10.1"))
    asked = [*SMALL, *OPTUNA, "objective=parameters.parameters", "workload.hidden_size=choice(3,9)"]
    stored = [f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db", f"results={tmp_path}/r"]
    assert main(["run", "--plan", "-m", *asked, *stored]) == code
    error = capsys.readouterr().err
    assert not code or ("pip install 'sqlalchemy<2' 'alembic<1.14'" in error and error.count("\n") == 1)
    if code:
        assert main(["run", "-m", *asked, *stored]) == code
    assert not (tmp_path / "r").exists()


def test_a_search_is_checked_at_its_first_values():
    asked = ["workload.steps=choice(4,8)", "seeds=range(1,4)", "threads=int(interval(2,9))", "cells=[gru]"]
    assert compose.first(asked) == ["workload.steps=4", "seeds=1", "threads=2", "cells=[gru]"]


SPACE = ["workload.steps=int(interval(16,256))", "workload.hidden_size=choice(3,9)"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["hydra.sweeper.n_trials=7"], "optuna: 7 trials of 1 case each, about "),
        ([], "optuna: 20 trials of 1 case each, about "),
        (["hydra.sweeper.direction=maximize"], "searched for the highest parameters.parameters: "),
        (
            ["backends=[numpy,numba]", "probes=[parameters,latency]"],
            "optuna: 20 trials of 3 cases each, about ",
        ),
    ],
)
def test_the_plan_of_a_search_says_how_many_trials_over_which_ranges(tmp_path, capsys, more, says):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    asked = [
        *SMALL,
        "hydra/sweeper=optuna",
        "objective=parameters.parameters",
        *SPACE,
        f"results={tmp_path}/r",
    ]
    assert main(["run", "--plan", "-m", *asked, *more]) == 0
    out = capsys.readouterr().out
    assert says in out and f"parameters.parameters: {' '.join(SPACE)}\n" in out
    assert out.endswith("have the first: workload.steps=16 workload.hidden_size=3\n")
    assert not (tmp_path / "r").exists()


def test_the_plan_of_a_grid_has_no_more_trials_than_points(tmp_path, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    asked = [*SMALL, "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "objective=parameters.parameters"]
    assert main(["run", "--plan", "-m", *asked, SPACE[1]]) == 0
    assert "optuna: 2 trials of 1 case each" in capsys.readouterr().out
    assert main(["run", "--plan", "-m", *asked]) == 0
    assert "nothing, for no key has a range" in capsys.readouterr().out


def test_the_plan_of_a_search_reads_the_ranges_of_a_file(tmp_path, capsys, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      workload.steps: choice(4,8)\n"
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    asked = [*SMALL, "hydra/sweeper=optuna", "objective=parameters.parameters", "experiment=mine"]
    assert main(["run", "--plan", "-m", *asked]) == 0
    assert (
        "searched for the lowest parameters.parameters: workload.steps=choice(4,8)" in capsys.readouterr().out
    )
    assert search.planned(asked, "config").settings.config["workload"]["steps"] == 4
