"""What runs differ in is the axis of figures of their own, by the rule that the file states."""

from xml.etree import ElementTree

import pandas as pd
import pytest
from support.report_rows import MANIFEST, refused, row, written

from cellbench.harness.report import sections, swept
from cellbench.harness.report.frame import prepare

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
