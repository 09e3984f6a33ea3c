"""A search ends hopeless trainings early, by a pruner of Optuna's."""

import re
import sys

import pytest

from cellbench import harness
from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.probe import Intermediate, series
from cellbench.harness.runs import live, multirun, objective
from cellbench.harness.runs.pruning import PRUNERS, Pruning
from cellbench.harness.runs.values import ConfigError
from cellbench.harness.store import sweeps
from cellbench.harness.store.sweeps import Job, Record, trials
from cellbench.harness.store.sweeps.trials import Trial

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

SMALL = [
    "cells=[gru]",
    "backends=[native]",
    "probes=[training]",
    'tasks=["adding:steps=5:count=200"]',
    "seeds=1",
]
TRAINING = ["epochs=3", "hidden_size=4", "verdict=false", "learning_rate=choice(0.000001,0.003)"]
SEARCH = [*SMALL, *(f"probe.training.{option}" for option in TRAINING), "hydra/sweeper=optuna"]
RANDOM = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=0"]  # 0.003, then 0.000001
TWO = [*RANDOM, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]
LOSS, MEDIAN = "objective=training.best_test_loss", "pruner=median:n_startup_trials=1"


def test_a_hopeless_training_of_a_search_is_pruned_and_stays_so(tmp_path, capsys):
    assert main(["run", "-m", *SEARCH, *TWO, LOSS, MEDIAN, f"results={tmp_path}"]) == 0
    out, err = capsys.readouterr()
    assert "2 done (1 pruned); page:" in out
    assert [line for line in out.splitlines() if " 1 pruned " in line and line.endswith("=1e-06")]
    assert "pruned (by median:n_startup_trials=1 at evaluation 1: best_test_loss is " in err
    (folder,) = sweeps.sweeps(tmp_path)
    good, bad = store.runs(folder)
    rows = harness.load(bad)
    assert {*rows["status"]} == {"pruned"} and {*rows["reason"].str.partition(" ")[0]} == {"by"}
    assert (
        len(rows[rows["metric"] == "test_loss"]) == 1
        and len(harness.load(good).query("metric == 'test_loss'")) == 3
    )
    assert (
        objective.value(bad, "training.best_test_loss") == rows[rows["metric"] == "test_loss"]["value"].item()
    )
    known = trials.read(folder, 0, pytest.fail)
    assert [(one.state, len(one.values)) for one in known.values()] == [("complete", 3), ("pruned", 1)]
    assert main(["run", f"resume={bad}"]) == 0
    assert "1 of 1 cases are done; 0 left" in capsys.readouterr().out
    assert len(harness.load(bad)) == len(rows)


REFUSED = {
    "unknown": (["pruner=medain", LOSS], "did you mean 'median'"),
    "option": (["pruner=median:n_startup=3", LOSS], "did you mean 'n_startup_trials'"),
    "value": (["pruner=median:n_startup_trials=-1", LOSS], "cannot be negative"),
    "later": (["pruner=hyperband:min_resource=0", LOSS], "cannot judge: division by zero"),
    "needed": (["pruner=percentile", LOSS], "needs percentile, as in percentile:percentile=25"),
    "empty": (["pruner=median:n_startup_trials=", LOSS], "has no value for n_startup_trials"),
    "swept": (["pruner=median,hyperband", LOSS], "pruner cannot be swept"),
    "objective": ([MEDIAN], "needs the number to search by"),
    "at the end": ([MEDIAN, "objective=training.epoch_s"], "training.epoch_s has none; those with some:"),
    "probe": ([MEDIAN, "probes=[parameters]", "objective=parameters.parameters"], "'parameters' has none"),
    "directions": ([MEDIAN, LOSS, "hydra.sweeper.direction=[minimize,maximize]"], "needs one direction"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_pruner_that_makes_no_sense_is_one_line(tmp_path, capsys, why):
    given, says = REFUSED[why]
    asked = [o for o in SEARCH if o.partition("=")[0] not in {g.partition("=")[0] for g in given}]
    assert main(["run", "-m", *asked, *given, f"results={tmp_path}/r"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", [["run"], ["run", "--plan"], ["run", "-m", "workload.batch=1,2"]])
def test_a_pruner_without_a_search_is_one_line(tmp_path, capsys, command):
    assert main([*command, *SMALL, LOSS, MEDIAN, f"results={tmp_path}/r"]) == 2
    assert "is for a search; give -m hydra/sweeper=optuna" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is for a search"):
        harness.run(cells=["gru"], probes=["training"], pruner="median", results=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_pruner_without_optuna_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_optuna_sweeper", None)
    assert main(["run", "-m", *SEARCH, LOSS, MEDIAN, f"results={tmp_path}/r"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'cellbench[optuna]'" in error and error.count("\n") == 1


def test_the_plan_of_a_search_names_its_pruner(capsys):
    assert main(["run", "--plan", "-m", *SEARCH, LOSS, MEDIAN]) == 0
    assert (
        f"for the lowest training.best_test_loss, pruned by {MEDIAN.partition('=')[2]}: "
        in capsys.readouterr().out
    )


def told(folder, job, values, direction="minimize", pruner="median:n_startup_trials=1", case="a"):
    """What a job's case is told at each evaluation, the last of which ends it anyway."""
    pruning = Pruning(folder, job, pruner, direction, "loss", {"a": 0, "b": 1})
    found = [Intermediate(n, [series("loss", "1", v)], n == len(values)) for n, v in enumerate(values, 1)]
    for one in found:
        if reason := pruning.reason(case, one):
            pruning.ended(case, "pruned")
            return one.number, reason
    pruning.ended(case, "ok")
    return None


def test_a_case_is_judged_by_the_same_case_of_the_jobs_before(tmp_path):
    for job, values in enumerate([(3.0, 1.0, 0.5), (4.0, 2.0, 1.0), (5.0, 3.0, 1.5)]):
        told(tmp_path, job, values, pruner="median")
    number, reason = told(tmp_path, 5, (3.5, 3.0, 2.0))
    assert number == 2 and reason == (
        "by median:n_startup_trials=1 at evaluation 2: loss is 3; the median there of 3 complete trials is 2"
    )
    assert told(tmp_path, 6, (9.0, 9.0), case="b") is None  # nothing is known of that case
    assert told(tmp_path, 7, (3.0, 1.5, 9.0)) is None  # it was over
    assert {job: one.state for job, one in trials.read(tmp_path, 0, pytest.fail).items()} == {
        **dict.fromkeys((0, 1, 2, 7), "complete"),
        5: "pruned",
    }


def test_the_highest_value_is_kept_where_it_is_searched_for(tmp_path):
    told(tmp_path, 0, (0.5, 0.9), "maximize")
    assert told(tmp_path, 1, (0.6, 0.9), "maximize") is None
    assert told(tmp_path, 2, (0.4, 0.9), "maximize")[0] == 1
    assert told(tmp_path, 3, (0.6, 0.9), "minimize")[0] == 1


@pytest.mark.parametrize("name", ["successive_halving:reduction_factor=2", "hyperband:reduction_factor=2"])
def test_a_pruner_finds_again_what_it_noted_of_trials(tmp_path, name):
    """As in one study of Optuna's own, whose trials are never read from a file."""
    import optuna

    from cellbench.harness.runs import pruning

    sweep = tmp_path / "20260101-000000-abcd"  # hyperband's brackets go by the study's name
    curves = [[5.0 + k - n / 9 for n in range(9)] for k in (0, 3, 1, 4, 2, 0.5, 3.5, 2.5)]
    study = optuna.create_study(study_name=sweep.name, pruner=pruning.made(name))
    expected, ended = [], []
    for job, curve in enumerate(curves):
        trial = study.ask()
        for number, value in enumerate(curve, 1):
            trial.report(value, number)
            if pruned := number < len(curve) and trial.should_prune():
                break
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if pruned else value, state)
        expected.append(number if pruned else None)
        ended.append((told(sweep, job, curve, pruner=name) or [None])[0])
    assert ended == expected and any(expected)


def test_every_pruner_by_name_is_one_of_optunas():
    import optuna

    assert all(
        issubclass(getattr(optuna.pruners, kind), optuna.pruners.BasePruner) for kind in PRUNERS.values()
    )


DAMAGED = ["{", "[]", '{"schema": 1}', '{"schema": 1, "state": "lost", "values": {}, "attrs": {}}']
DAMAGED += [
    f'{{"schema": 1, "state": "pruned", "values": {v}, "attrs": {{}}}}' for v in ('{"a": 1}', '{"1": "a"}')
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_trial_that_is_damaged_is_left_out_with_one_line(tmp_path, capsys, text):
    trials.write(tmp_path, 0, 3, Trial("pruned", {1: float("nan")}, {"completed_rung_0": 1.0}))
    assert str(trials.read(tmp_path, 0, pytest.fail)[3]) == str(
        Trial("pruned", {1: float("nan")}, {"completed_rung_0": 1.0})
    )
    for job, value in enumerate((3.0, 1.0)):
        told(tmp_path, job, (value, value))
    (tmp_path / trials.FOLDER / "0" / "0.json").write_text(text)
    assert told(tmp_path, 5, (2.0, 2.0, 2.0))[1].endswith("the median there of 1 complete trial is 1")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"^warning: .*0\.json is damaged: .*; it is left out, as no trial$", line)


def test_a_job_of_a_search_does_not_wait_for_those_before_it(tmp_path):
    sweep = multirun.begin([*SEARCH, *TWO, LOSS, f"results={tmp_path}"], "cellbench run")
    job = Job("0" * 12, ["seeds=1"], {})
    sweep.ask(1, job)
    assert sweep.job(1) == job and sweep.jobs == []


def test_the_best_says_where_it_was_pruned(tmp_path):
    sweep = multirun.begin([*SEARCH, *TWO, LOSS, "pruner=median", f"results={tmp_path}"], "cellbench run")
    (sweep.folder / "hydra").mkdir()
    text = "best_params:\n  probe.training.learning_rate: 0.003\nbest_value: 1.5\n"
    (sweep.folder / "hydra" / "optimization_results.yaml").write_text(text)
    config = {"objective": "training.best_test_loss"}
    sweep.ask(0, Job("0" * 12, ["probe.training.learning_rate=0.003", "seeds=1"], config))
    for cases, ending in (({"pruned": 1}, "= 1.5, when it was pruned"), ({"ok": 1}, "= 1.5")):
        sweep.write(0, Record("done", cases=cases))
        assert multirun.best(sweep).endswith(ending)
    assert live.state_of(sweep) == "1 done"
