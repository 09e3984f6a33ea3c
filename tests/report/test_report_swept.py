"""What runs differ in is the axis of figures of their own, by the rule that the file states."""

from itertools import pairwise
from xml.etree import ElementTree

import pandas as pd
import pytest
from support.report_rows import MANIFEST, refused, row, throughput, written

from cellbench.harness.report import differing, sections, swept
from cellbench.harness.report.frame import prepare, telling
from cellbench.harness.report.refused import refused as refused_cases

BASE = {"cell": "gru", "backend": "numpy", "steps": 64, "direction": "forward", "process": 0}


def runs(*changes, inside=({},)):
    """Prepared rows: a run for each change, with a case for each of `inside`."""
    rows = []
    for number, change in enumerate(changes):
        for n, more in enumerate(inside):
            place = {"run": f"run{number}", "case": f"case{number}-{n}", **BASE, **more, **change}
            rows.append(row("throughput", "steps_per_s", 100.0 * (number + 1), "1/s", **place))
    return prepare(pd.DataFrame(rows))


def manifests(count, **changes):
    return [{**MANIFEST, "run": f"run{number}", **changes} for number in range(count)]


def product(**values):
    found = [{}]
    for key, several in values.items():
        found = [{**one, key: value} for one in found for value in several]
    return found


BY_RULE = {
    "hidden_size alone": (product(hidden_size=[8, 16]), ({},), ("hidden_size", None, ())),
    "the key of most values": (
        product(hidden_size=[8, 16], batch=[1, 2, 3]),
        ({},),
        ("batch", "hidden_size", ()),
    ),
    "of equals the first": (product(hidden_size=[8, 16], steps=[4, 5]), ({},), ("steps", "hidden_size", ())),
    "numbers before names": (product(dtype=["a", "b", "c"], threads=[1, 2]), ({},), ("threads", "dtype", ())),
    "names where there are no numbers": (product(dtype=["a", "b"]), ({},), ("dtype", None, ())),
    "a cell is a colour, what is left a panel": (
        product(hidden_size=[8, 16]),
        product(cell=["gru", "lstm"], backend=["numpy", "numba"]),
        ("hidden_size", "label", ("backend",)),
    ),
    "more values than colours are panels": (
        product(hidden_size=[8, 16]),
        product(cell=[f"cell{n}" for n in range(9)], direction=["forward", "backward"]),
        ("hidden_size", "direction", ("label",)),
    ),
    "an option of a cell": (product(options=["a=1", "a=2"]), ({},), ("label", None, ())),
}


@pytest.mark.parametrize("case", BY_RULE)
def test_the_axes_follow_the_rule(case):
    changes, inside, (x, colour, panel) = BY_RULE[case]
    rows = swept.with_machines(runs(*changes, inside=inside), manifests(len(changes)))
    assert swept.axes_of(rows) == swept.Axes(x, colour, panel)


def test_runs_that_differ_in_nothing_or_measured_the_same_case_have_no_axis():
    rows = swept.with_machines(runs({}, {}), manifests(2))
    assert swept.axes_of(rows) is None
    assert swept.axes_of(swept.with_machines(runs({}), manifests(1))) is None
    twice = swept.with_machines(runs(*product(hidden_size=[8, 16])).assign(case="same"), manifests(2))
    assert swept.axes_of(twice) is None


def test_two_machines_are_never_taken_together():
    other = {"machine": {"cpu": "Another"}, "machine_key": {"cpu": "Another", "threads": 1}}
    both = [*manifests(1), {**manifests(2)[1], **other}]
    rows = swept.with_machines(runs(*product(hidden_size=[8, 16])), both)
    assert swept.axes_of(rows) == swept.Axes("hidden_size", "machine", ())
    more = [{**m, "machine_key": {"cpu": "Another", "threads": n}} for n, m in enumerate(manifests(2))]
    assert swept.axes_of(swept.with_machines(runs(*product(threads=[1, 2])), more)) == swept.Axes(
        "threads", None, ()
    )


def test_the_page_of_a_sweep_has_a_figure_over_the_swept_key_and_names_what_is_missing(tmp_path):
    rows = []
    for number, size in enumerate((8, 16, 32)):
        for cell in ("gru", "lstm"):
            place = {
                "run": f"run{number}",
                "case": f"{cell}{size}",
                **BASE,
                "cell": cell,
                "hidden_size": size,
            }
            if (cell, size) == ("lstm", 32):
                rows.append(refused("throughput", "out_of_memory", "8 GiB", **place))
            elif (cell, size) != ("gru", 16):
                rows.append(row("throughput", "steps_per_s", 1000.0 / size, "1/s", **place))
    _, report = written(rows, tmp_path, manifests(3))
    text = " ".join(ElementTree.parse(tmp_path / "sweep-throughput.svg").getroot().itertext())
    assert {"8", "16", "32", "gru", "lstm", "H"} <= set(text.split())
    plain = report.replace("\\", "")
    assert (
        "The steps per s that the probe throughput measured, against H. The runs differ in cell, H." in plain
    )
    assert "out_of_memory: 8 GiB" in plain and "no run has measured it" in plain


def test_the_main_metric_of_a_probe_is_one_that_it_measures():
    rows = runs(*product(hidden_size=[8, 16]))
    assert sections.main_metric("throughput", rows) == "steps_per_s"
    assert sections.main_metric("unknown", rows.assign(metric="other")) == "other"
    assert sections.main_metric("throughput", rows.assign(metric="other")) == "other"


def options(*given, **more):
    """Manifests, a run each, whose probe throughput had these options."""
    configs = [{"probe": {"throughput": one}, **more} for one in given]
    return [{**m, "config": c} for m, c in zip(manifests(len(given)), configs, strict=True)]


RATE = "probe.throughput.rate"
OPTIONS = {
    "a number is the axis": (product(rate=[[0.1], [0.01]]), RATE, None),
    "after the columns of cases": (product(batch=[1, 2], rate=[[0.1], [0.01]]), "batch", RATE),
    "of more values than those": (product(batch=[1, 2], rate=[[0.1], [0.01], [1]]), RATE, "batch"),
    "several numbers are a name": (product(threads=[1, 2], rate=[[0.1, 0.2], [0.1]]), "threads", RATE),
    "zero is on no log axis": (product(threads=[1, 2], rate=[0.0, 1.0]), "threads", RATE),
    "a column that says the same": (product(batch=[1, 2], sequences=[7]), "batch", None),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_of_the_probe_is_a_key_like_the_others(case):
    swept_values, x, colour = OPTIONS[case]
    own = [{k: v for k, v in one.items() if k in ("batch", "threads")} for one in swept_values]
    given = [{k: v for k, v in one.items() if k not in own[0]} for one in swept_values]
    if "sequences" in given[0]:  # gives the batch
        given = [{"sequences": one["batch"]} for one in own]
    rows = differing.with_options(runs(*own), "throughput", options(*given))
    assert swept.axes_of(swept.with_machines(rows, manifests(len(own)))) == swept.Axes(x, colour, ())


def test_a_run_that_does_not_say_its_options_leaves_them_out():
    given = [*options({"rate": 1.0}), *manifests(2)[1:]]
    assert not differing.options_of(given, "throughput")
    assert not differing.options_of([{**m, "config": ["odd"]} for m in given], "throughput")
    assert differing.table(runs({}, {}), given) is None


def test_the_page_never_takes_the_median_over_a_swept_option_unsaid(tmp_path):
    rows = [
        row(
            "training",
            metric,
            value * (number + 1),
            "s",
            run=f"run{number}",
            case=f"case{number}",
            seed=0,
            **place,
        )
        for number in range(4)
        for metric, value in (("best_test_loss", 0.1), ("epoch_s", 1.0))
        for place in [{"cell": "gru", "backend": "numpy", "task": "adding", "batch": 8 << number % 2}]
    ]
    given = [
        {"batch": 8 << n % 2, "learning_rate": [(0.1, 0.01)[n // 2]], "verdict": n < 2} for n in range(4)
    ]
    configs = [{"probe": {"training": one}, "seeds": 1} for one in given]
    _, report = written(
        rows, tmp_path, [{**m, "config": c} for m, c in zip(manifests(4), configs, strict=True)]
    )
    plain = report.replace("\\", "")
    assert "against B. The runs differ in B, learning_rate, verdict." in plain
    text = " ".join(ElementTree.parse(tmp_path / "sweep-training.svg").getroot().itertext())
    assert {"0.1", "0.01", "learning_rate"} <= set(text.split()) and "verdict false" in text
    assert "| run2 | 8 | 0.01 | false |" in plain
    summary = plain.partition("## Summary")[2].partition("## ")[0]
    assert [f"| run{n} | {8 << n % 2} | {n + 1:.2f} s |" in summary for n in range(4)] == [True] * 4


def test_seeds_that_were_swept_are_named_beside_their_median(tmp_path):
    rows = [
        row(
            "training",
            "best_test_loss",
            0.1,
            "1",
            run=f"run{n}",
            case=f"case{n}",
            seed=n % 2,
            hidden_size=4 + n // 2,
        )
        for n in range(4)
    ]
    configs = [{"probe": {"training": {}}, "seeds": [n % 2]} for n in range(4)]
    _, report = written(
        rows, tmp_path, [{**m, "config": c} for m, c in zip(manifests(4), configs, strict=True)]
    )
    assert "The runs differ in H. Median over 2 seeds." in report and "| run3 | 1 |" in report


def headers(report):
    """The columns of the summary and of the timings, of a page in Markdown."""
    tables = [a.split(" | ") for a, b in pairwise(report.splitlines()) if b.startswith("| ---")]
    summary, timings = [names for names in tables if "backend" in names]
    return summary, timings


def of_sizes(*sizes, **more):
    """Timings of two cells, a run each of these sizes."""
    return [
        one | {"run": f"run{number}", "case": f"{one['cell']}{number}", "hidden_size": size, **more}
        for number, size in enumerate(sizes)
        for one in throughput(steps=(64,))
    ]


def test_a_run_is_no_column_and_no_title_where_what_was_swept_tells_its_rows(tmp_path):
    _, text = written(of_sizes(8, 16), tmp_path, manifests(2))
    summary, timings = headers(text)
    assert "H" in summary and "hidden_size" in timings and not {"run"} & {*summary, *timings}
    drawn = " ".join(ElementTree.parse(tmp_path / "throughput.svg").getroot().itertext())
    assert "H 16" in drawn and "run1" not in drawn


def test_runs_of_several_lengths_share_a_line_and_their_table_has_no_run(tmp_path):
    rows = [one | {"run": f"run{n}"} for n, T in enumerate((64, 256)) for one in throughput(steps=(T,))]
    _, text = written(rows, tmp_path, manifests(2))
    assert "run" not in headers(text)[1]
    drawn = " ".join(ElementTree.parse(tmp_path / "throughput.svg").getroot().itertext())
    assert {"64", "256"} <= {*drawn.split()} and "T (steps)" in drawn and "run1" not in drawn


def test_a_run_is_a_column_where_nothing_else_tells_its_rows_or_where_machines_differ(tmp_path):
    _, text = written(of_sizes(8, 8), tmp_path, manifests(2))
    assert all("run" in header for header in headers(text))
    other = {"machine": {"cpu": "Another"}, "machine_key": {"cpu": "Another", "threads": 1}}
    _, text = written(of_sizes(8, 16), tmp_path, [manifests(1)[0], manifests(2)[1] | other])
    assert all("run" in header for header in headers(text))


def test_two_runs_are_never_taken_together():
    rows = prepare(pd.DataFrame([{**BASE, "run": run, "batch": b} for run, b in (("a", 1), ("b", 2))]))
    assert telling(rows) == ["batch"] and telling(rows, ("run", "hidden_size")) == ["run"]
    assert telling(rows.assign(batch=[1, 1])) == ["run"]


def test_the_panels_of_a_sweep_stand_in_the_order_of_their_values():
    pairs = [("numba", "forward"), ("native", "backward"), ("numba", "backward"), ("native", "forward")]
    points = pd.DataFrame(pairs, columns=["backend", "direction"])
    found = [values for values, _ in swept._panels(points, swept.Axes("steps", None, tuple(points)))]
    assert found == [pairs[0], pairs[2], pairs[3], pairs[1]]


def test_a_run_is_named_beside_its_failures_where_nothing_else_tells_them():
    def where(*changes):
        rows = [
            refused("training", "diverged", "at step 3", cell="gru", backend="numba", run=f"run{n}", **one)
            for n, one in enumerate(changes)
        ]
        table = refused_cases(prepare(pd.DataFrame(rows)))
        return table.rows[0][table.header.index("where")].text

    assert where({"task": "adding"}, {"task": "copy"}) == "adding, copy"
    assert where({"task": "adding"}, {"task": "adding"}) == "run0, run1"
