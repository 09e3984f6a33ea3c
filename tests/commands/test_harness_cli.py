"""The command line: bad input is one line and exit code 2; starting is light."""

import re
import subprocess
import sys

import pytest

from cellbench.harness.cli import RUN_HELP, main
from cellbench.harness.commands import list as listing
from cellbench.harness.runs import config


def said(capsys, *arguments):
    """Exit code and the one line on standard error."""
    code = main(list(arguments))
    error = capsys.readouterr().err.strip()
    return code, error


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
    "probe.training.learning_rate=big": "above 0",
    "probe.training.backends=[nunba]": "did you mean 'numba'",
    "results=/proc/nowhere": "results=DIR",
    "cells=[a": "cannot read",
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
    "probe.training.hidden_size=1000000000000": "no machine can address",
    "probes=[throughput:samples=5]": "probe.throughput.OPTION",
    "case_timeout_s=1e9": "at most",
    "results=null": "results=DIR",
    "results=[a,b]": "results=DIR",
    f"results={'a' * 300}": "results=DIR",
}


@pytest.mark.parametrize("override", BAD)
@pytest.mark.parametrize("multirun", [False, True], ids=["run", "multirun"])
def test_bad_input_is_one_line_and_exit_code_2(capsys, override, multirun):
    if multirun and override in ("cells=[a",):
        pytest.skip("a sweep has its own reading of an open bracket")
    code, error = said(capsys, "run", *(["-m"] if multirun else []), override)
    assert code == 2, error
    assert BAD[override] in error and "\n" not in error, error
    assert error.startswith("cellbench: ")


WRONG = [
    "run --pla",
    "rum",
    "",
    "report nowhere",
    "data fetch adding",
    "import no.json",
    "run resume=nowhere",
    "list cell",
    "report --output /dev/null/x",
]


@pytest.mark.parametrize("arguments", [text.split() for text in WRONG], ids=WRONG)
def test_a_wrong_command_is_one_line_and_exit_code_2(capsys, arguments):
    code, error = said(capsys, *arguments)
    assert code == 2 and error and "\n" not in error


def test_plan_prints_cases_and_time_and_runs_nothing(capsys, tmp_path):
    assert (
        main(
            [
                "run",
                "--plan",
                f"results={tmp_path}/runs",
                "probes=[parameters,throughput]",
                "workload.steps=[4,8]",
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "T=4" in text and "T=8" in text and "cases, about" in text
    assert not (tmp_path / "runs").exists()


def test_all_stands_for_every_member():
    settings = config.check(
        config.compose(["cells=all", "backends=all", "probes=[throughput]", "workload.steps=4"])
    )
    from cellbench import cells

    found = {(c.spec, c.backend) for c in settings.asked[0].cases}
    assert found == {(c, b) for c in cells.names() for b in cells.backend_names()}


@pytest.mark.parametrize("file", sorted(config.folder().glob("experiment/*.yaml")), ids=lambda f: f.stem)
def test_every_experiment_composes_and_has_cases(file):
    settings = config.check(config.compose([f"experiment={file.stem}"]))
    assert all(asked.cases for asked in settings.asked)
    assert re.search(rf"experiment=\S*\b{file.stem}\b", RUN_HELP)


def test_options_are_part_of_a_cases_identity():
    def ids(*overrides):
        settings = config.check(config.compose(["probes=[throughput]", *map(config.quoted, overrides)]))
        return {c.id for c in settings.asked[0].cases}

    assert ids() == ids()
    assert not ids() & ids("probe.throughput.samples=3")
    assert not ids("cells=[elman]") & ids("cells=[elman:activation=relu]")


LIGHT = [["--help"], ["--version"], ["run", "--help"], ["list"], *(["list", kind] for kind in listing.NAMES)]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_starting_imports_nothing_heavy(arguments):
    code = (
        f"import sys\nfrom cellbench.harness.cli import main\ntry:\n    main({arguments})\nexcept"
        " SystemExit:\n    pass\nheavy = {'torch', 'numba', 'hydra', 'pandas', 'scipy', 'pyarrow',"
        " 'seaborn', 'sympy', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
