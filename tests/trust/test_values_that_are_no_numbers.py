"""Values that are infinite, beyond any measurement or NaN are left out of every page and said."""

import math
import warnings
from pathlib import Path

import pytest
from support import stored_runs

from cellbench.harness import report, store
from cellbench.harness.cli import main

pytestmark = pytest.mark.quick

ODD = [math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, 0.0, -1.0]


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Two runs whose throughput has such values in every metric, beside whole ones."""
    monkeypatch.chdir(tmp_path)
    odd = stored_runs.program()
    for n, one in enumerate(odd["series"]):
        one["values"] = [*one["values"], ODD[n % len(ODD)], ODD[(n + 3) % len(ODD)]]
    curve = [stored_runs.series("jump", ODD, lag=[*range(len(ODD))])]
    curve.append(stored_runs.series("seconds_per_flop", ODD, "s/FLOP", lag=[*range(len(ODD))]))
    curve.append(stored_runs.series("seconds", ODD, "s", lag=[*range(len(ODD))]))
    cliffs = stored_runs.native() | {"series": curve}
    cliffs["definition"] = cliffs["definition"] | {"probe": "cliffs", "variant": "batch"}
    cases = (odd, stored_runs.native(), cliffs, stored_runs.parameters(math.inf))
    for _ in range(2):
        stored_runs.a_run(Path("runs"), *cases)
    return sorted(map(str, Path("runs").iterdir()))


@pytest.mark.parametrize(
    "command",
    [
        "report {0} {1} --output page",
        "report --summary {0}",
        "compare {0} {1}",
        "history {0} {1} --file new.jsonl --output page",
        "publish site {0}",
        "export {0} --as tex --output page",
    ],
)
def test_a_command_over_such_values_ends_without_a_warning(two_runs, capsys, command):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        assert main(command.format(*two_runs).split()) in (0, 3)
    said = capsys.readouterr()
    assert "Warning" not in said.out + said.err
    assert said.out.count("left out") == command.startswith(("report {0}", "compare", "history"))


@pytest.mark.parametrize("probe", ["clipping", "training", "verdict", "gradient_decay"])
def test_rows_that_no_probe_writes_are_one_line_and_no_traceback(tmp_path, monkeypatch, capsys, probe):
    monkeypatch.chdir(tmp_path)
    case = stored_runs.native() | {"series": [stored_runs.series("loss", [1.0, 2.0], lag=[0, 2**60])]}
    case["definition"] = case["definition"] | {"probe": probe, "variant": "max_norm=", "task": "nosuch"}
    run = stored_runs.a_run(Path("runs"), case)
    for command in (f"report {run} --output page", f"export {run} --as csv --output page"):
        code, said = main(command.split()), capsys.readouterr().err
        assert code in (0, 2) and said.count("\n") == (code == 2), said


def test_what_is_left_out_is_named_on_the_page_and_no_other_value_is(two_runs):
    frame = store.load(two_runs)
    ready = report.frame.prepare(frame)
    (line,) = report.frame.left_out(ready)
    beyond = frame["value"].abs() > 1e100
    assert f"{beyond.sum()} values are infinite or beyond 1e+100" in line and "seconds" in line
    assert ready["value"].notna().sum() == (frame["value"].notna() & ~beyond).sum()
    report.write(frame, [store.read_manifest(run) for run in map(Path, two_runs)], Path("page"))
    assert line in Path("page/report.md").read_text()
