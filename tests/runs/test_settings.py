"""The configuration: what is wrong in it is one line and exit code 2, before anything runs."""

import math
import re
from dataclasses import fields

import pytest
import yaml
from support.pages import ROOT

from cellbench import cells
from cellbench.harness import probe as probes
from cellbench.harness.cli import main
from cellbench.harness.runs import compose, places
from cellbench.harness.runs.compose import quoted, settings, sweep
from cellbench.harness.runs.schema import ConfigError
from cellbench.harness.runs.values import option

BAD = {
    "cells=[lstn]": "did you mean 'lstm'",
    "cells=[]": "cells is empty",
    "cells=null": "cells is empty",
    "cells=[lstm,lstm]": "twice",
    "cells=[elman:activation=rely]": "tanh, relu, identity",
    "cells=[elman:activations=relu]": "did you mean 'activation'",
    "cells=[nowhere.py:Cell]": "no file",
    "backends=[nunba]": "did you mean 'numba'",
    "backends=[]": "backends is empty",
    "probes=[throughputs]": "did you mean 'throughput'",
    "tasks=[ading]": "did you mean 'adding'",
    "tasks=[adding:steps=1]": "at least 2",
    "tasks=[adding:steps=x]": "int",
    "cell=[lstm]": "did you mean 'cells'",
    "+cell=[lstm]": "did you mean 'cells'",
    "+cells=[lstm]": "write cells=VALUE",
    "++workload.step=4": "did you mean 'steps'",
    "steps=4": "did you mean 'workload.steps'?",
    "hidden_size=4": "did you mean 'workload.hidden_size'?",
    "epochs=4": "did you mean 'probe.training.epochs'?",
    "training.epochs=4": "did you mean 'probe.training.epochs'?",
    "probe.epochs=4": "did you mean 'probe.training.epochs'?",
    "training.learning_rate=4": "did you mean 'probe.training.learning_rate'?",
    "processes=4": "did you mean 'probe.latency.processes' or 'probe.throughput.processes'?",
    "cells=[LSTM]": "did you mean 'lstm'?",
    "cells=[Gru]": "did you mean 'gru'?",
    "~cells": "takes a key away",
    "workload.step=4": "did you mean 'steps'",
    "workload.steps=-4": "at least 1",
    "workload.steps=0": "at least 1",
    "workload.steps=2.5": "whole number",
    "workload.steps=[]": "workload.steps is empty",
    "workload.hidden_size=abc": "whole number",
    "workload.hidden_size=1000000000000": "no machine can address",
    "workload=3": "group of keys",
    "dtype=float23": "did you mean 'float32'",
    "device=gpu": "devices: cpu, cuda",
    "direction=[sideways]": "directions: forward, backward",
    "threads=0": "at least 1",
    "seeds=0": "at least 1",
    "seeds=[]": "seeds",
    "seeds=[-1]": "seeds",
    "budget_s=-1": "above 0",
    "case_timeout_s=0": "above 0",
    "experiment=quik": "did you mean 'quick'",
    "probe.throughput.proceses=2": "did you mean 'processes'",
    "probe.throughput.processes=-2": "at least 1",
    "probe.training.learning_rate=big": "must be a number",
    "probe.training.learning_rate=-1": "above 0",
    "probe.training.backends=[nunba]": "did you mean 'numba'",
    "results=/proc/nowhere": "results=DIR",
    "cells=[a": "a bracket, a comma or a value is missing",
    "cells=gru,": "a bracket, a comma or a value is missing",
    "match=sate": "did you mean 'state'",
    "match=[state]": "parameters, operations, state",
    "cells=[elman,elman:activation=tanh]": "would both be called",
    "probe.gradient_decay.schemes=ortogonal": "did you mean 'orthogonal'",
    "probe.clipping.thresholds=[]": "thresholds",
    "probe.clipping.thresholds=[abc]": "thresholds",
    "probe.clipping.thresholds=[1.0,1.0]": "twice",
    "probe.clipping.steps=5": "steps >= 10",
    "probe.clipping.updates=10": "at least 50",
    "probe.training.backends=[numba,numba]": "twice",
    "probe.training.hidden_size=1000000000": "no machine can address",
    "probe.training.hidden_size=1000000000000": "at most 1,000,000,000",
    f"workload.steps={'9' * 400}": "no machine can address",
    f"budget_s={'9' * 400}": "above 0",
    "probe.lag_share.parameter=wieght_hh probes=lag_share": "did you mean 'weight_hh'",
    "probe.training.checkpoints=/dev/null/x probes=training": "cannot be written",
    "probe.cliffs.layers=[1,2000] probes=cliffs": "at most 1,000",
    "probes=[throughput:samples=5]": "probe.throughput.OPTION",
    "case_timeout_s=1e9": "at most",
    "results=null": "results=DIR",
    "results=[a,b]": "results=DIR",
    f"results={'a' * 300}": "results=DIR",
}
OPEN = "cells=[a"  # a sweep reads an open bracket in its own way


@pytest.mark.parametrize("override", BAD)
def test_bad_input_is_one_line_and_exit_code_2(capsys, override):
    is_refused(capsys, override, "run", *override.split())


@pytest.mark.parametrize("override", [override for override in BAD if override != OPEN][::4])
def test_bad_input_of_a_multirun_is_one_line_and_exit_code_2(capsys, override):
    is_refused(capsys, override, "run", "-m", *override.split())


def is_refused(capsys, override, *arguments):
    code = main(list(arguments))
    error = capsys.readouterr().err.strip()
    assert code == 2, error
    assert BAD[override] in error and "\n" not in error, error
    assert error.startswith("cellbench: ")


NUMBERS = ["true", "abc", "null", "nan", "inf", "'1'", "[[1]]", "{a:1}", "1.0e+300", "9" * 400]


@pytest.mark.quick
@pytest.mark.parametrize("name", probes.names())
def test_a_number_of_a_probe_is_a_finite_one_and_each_of_several_is(name):
    """Others would be raw errors of NumPy or torch in a worker, or a traceback."""
    probe = probes.get(name)
    numbers = [f for f in fields(probe) if f.type in ("int", "float", "tuple[int, ...]", "tuple[float, ...]")]
    assert numbers or name in ("parameters", "precision", "error_growth")
    for field in numbers:
        odd = [
            *map(yaml.safe_load, NUMBERS),
            math.nan,
            math.inf,
            *([1.5, 10**10] if "int" in field.type else []),
        ]
        for value in [*odd, *([[1, value] for value in odd if "tuple" in field.type])]:
            with pytest.raises(ConfigError, match=field.name):
                option(f"probe.{name}.{field.name}", value, probe, field.name)


def test_plan_prints_cases_and_time_and_runs_nothing(capsys, tmp_path):
    overrides = [f"results={tmp_path}/runs", "probes=[parameters,throughput]", "workload.steps=[4,8]"]
    assert main(["run", "--plan", *overrides]) == 0
    text = capsys.readouterr().out
    assert "T=4" in text and "T=8" in text and "cases, about" in text
    assert not (tmp_path / "runs").exists()


def test_flags_stand_anywhere_among_the_overrides(capsys):
    assert main(["run", "probes=[parameters]", "--plan", "cells=[gru]"]) == 0
    assert "1 case, about" in capsys.readouterr().out


def test_all_stands_for_every_member():
    (planned,) = settings(["cells=all", "backends=all", "probes=[throughput]", "workload.steps=4"]).probes
    pairs = {(c.spec, c.backend) for c in planned.cases}
    assert pairs == {(c, b) for c in cells.names() for b in cells.backend_names()}


@pytest.mark.quick
@pytest.mark.parametrize("name", compose.experiments())
def test_every_experiment_composes_and_has_cases(name):
    assert all(planned.cases for planned in settings([f"experiment={name}"]).probes)


@pytest.mark.quick
def test_options_are_part_of_a_cases_identity():
    def ids(*overrides):
        (planned,) = settings(["probes=[throughput]", *overrides]).probes
        return {c.id for c in planned.cases}

    default = ids()
    assert default == ids()
    assert not default & ids("probe.throughput.samples=3")
    assert not ids("cells=[elman]") & ids("cells=[elman:activation=relu]")


QUOTED = {
    "cells=[elman:activation=relu,gru]": 'cells=["elman:activation=relu",gru]',
    "cells=elman:activation=relu": 'cells="elman:activation=relu"',
    "tasks=a:x=1,b:y=2": 'tasks="a:x=1","b:y=2"',
    "cells=['elman:activation=relu']": "cells=['elman:activation=relu']",
    "cells=[gru]": "cells=[gru]",
    "workload.steps=64": "workload.steps=64",
    "~cells": "~cells",
}


@pytest.mark.parametrize("override", QUOTED)
def test_an_element_with_an_equals_sign_is_quoted_once(override):
    assert quoted(override) == QUOTED[override] == quoted(quoted(override))


def test_a_sweep_has_a_job_for_each_combination_the_last_key_fastest():
    jobs = sweep(["workload.batch=1,2", "seeds=3", "cells=[gru],[lstm,elman]"])
    assert jobs == [
        [f"workload.batch={batch}", "seeds=3", f"cells={cell}"]
        for batch in (1, 2)
        for cell in ("[gru]", "[lstm,elman]")
    ]
    assert sweep(["workload.batch=range(1,4)"]) == [[f"workload.batch={n}"] for n in (1, 2, 3)]


def test_a_sweep_without_values_is_refused():
    with pytest.raises(ConfigError, match="no values to go through"):
        sweep(["probe.training.learning_rate=interval(0.1,1)"])


def test_the_help_of_run_has_every_key_with_its_default_and_every_experiment(capsys):
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    config = yaml.safe_load((places.own() / "config.yaml").read_text())
    named = {k: v for k, v in config.items() if k not in ("defaults", "hydra", "workload")}
    for key, value in (named | {f"workload.{k}": v for k, v in config["workload"].items()}).items():
        default = "null" if value is None else str(value).replace("'", "").replace(" ", "")
        assert re.search(rf"^  {re.escape(f'{key}={default}')}(\s|$)", text, re.M), key
    for name in compose.experiments():
        assert re.search(rf"experiment=NAME\s+\S*\b{name}\b", text)


SEVERAL = {
    "cells=gru,lstm": "give 'cells=[gru,lstm]' for one run of all, or `cellbench run -m` for a sweep",
    "cells=lstm:layers=2,gru": "give 'cells=[lstm:layers=2,gru]' for one run of all, or `cellbench run -m`",
    "workload.hidden_size=32,64": "give 'workload.hidden_size=[32,64]' for one run of all, or `cellbench run",
    "seeds=0,1": "give 'seeds=[0,1]' for one run of all, or `cellbench run -m`",
    "workload.batch=choice(1,2)": "give 'workload.batch=[1,2]' for one run of all, or `cellbench run -m`",
    "threads=1,2": "has several values, and a run takes one; give `cellbench run -m`",
    "experiment=quick,report": "has several values, and a run takes one; give `cellbench run -m`",
    "workload.steps=range(1,4)": "has several values, and a run takes one; give `cellbench run -m`",
    "cell=gru,lstm": "unknown key 'cell'; did you mean 'cells'?",
}


@pytest.mark.parametrize("override", SEVERAL)
def test_several_values_without_brackets_are_one_line_that_names_a_list_and_a_sweep(override, capsys):
    assert main(["run", override]) == 2
    said = capsys.readouterr().err
    assert SEVERAL[override] in said and said.count("\n") == 1 and "Ambiguous" not in said


SIZES = {
    "T": ("workload.steps", 40, 48),
    "B": ("workload.batch", 6, 10),
    "I": ("workload.input_size", 32, 48),
    "H": ("workload.hidden_size", 32, 48),
}


@pytest.mark.parametrize("name", probes.names())
def test_the_page_says_of_every_probe_which_sizes_it_reads(name):
    def cases(changed=None):
        sizes = [
            f"{key}={other if letter == changed else one}" for letter, (key, one, other) in SIZES.items()
        ]
        asked = [f"probes=[{name}]", "cells=[gru]", "tasks=[adding]", "backends=[numba,native]", "seeds=1"]
        return settings([*asked, *sizes]).probes[0].cases

    read = ", ".join(letter for letter in SIZES if cases(letter) != cases()) or "none"
    (row,) = (line for line in (ROOT / "docs/running.md").read_text().split("\n") if f"| `{name}` |" in line)
    assert row.endswith(f"| {read} |")
