"""The section of the probe latency: the median and the 99th percentile of a step, as a person reads them."""

from __future__ import annotations

import pandas as pd
from support.report_rows import MANIFEST, refused, row, written

from cellbench.harness.report.frame import prepare
from cellbench.harness.report.sections import of_page
from cellbench.harness.report.table import flat

STEPS = {"numba": 3e-6, "native": 45e-6}


def latency(sizes=(32, 64)):
    rows = []
    for backend, seconds in STEPS.items():
        for size in sizes:
            case = {"cell": "gru", "backend": backend, "hidden_size": size, "implementation": f"{backend} 1"}
            case |= {"steps": 16, "direction": "forward"}
            rows += [row("latency", "check_error", 2e-7, "1", **case)]
            for process, factor in enumerate((1.0, 0.9, 1.2)):
                at = seconds * factor * size / 32
                rows += [row("latency", "step_median_s", at, process=process, **case)]
                rows += [row("latency", "step_p99_s", 400 * at, process=process, **case)]
    return rows


def table(rows):
    (section,) = of_page(prepare(pd.DataFrame(rows)))
    (one,) = section.tables
    texts = [dict(zip(one.header, map(flat, line), strict=True)) for line in one.rows]
    return section, texts, one.note


def test_a_step_has_its_median_and_percentile_in_units_that_are_read_by_backend_and_size():
    section, rows, note = table(latency())
    assert (section.heading, section.question) == ("Latency of a step", "Fast?")
    assert [(one["backend"], one["H"]) for one in rows] == [(b, h) for b in STEPS for h in ("32", "64")]
    assert [one["median"] for one in rows[::2]] == ["3.00 µs (2.70 … 3.60)", "45.0 µs (40.5 … 54.0)"]
    assert [one["99th percentile"] for one in rows[::2]] == ["1.20 ms (1.08 … 1.44)", "18.0 ms (16.2 … 21.6)"]
    assert rows[0]["ran"] == "numba 1" and rows[0]["error"] == "2.0e-07" and rows[0]["processes"] == "3"
    assert "B 8, I 16" in note and "H 32" not in note


def test_one_size_stands_in_the_note_and_not_in_a_column():
    _, rows, note = table(latency(sizes=(32,)))
    assert "H" not in rows[0] and "H 32" in note


def test_what_takes_no_single_steps_is_a_case_without_a_result(tmp_path):
    rows = [*latency(), refused("latency", "unsupported", "both directions", cell="gru", backend="torch")]
    page, text = written(rows, tmp_path, [MANIFEST])
    assert "## Latency of a step" in text and "both directions" in page and "Probe latency" not in page
    rows = [one for one in rows if one["status"] != "ok"]
    assert "Latency of a step" not in written(rows, tmp_path)[1]


def test_the_plain_table_of_a_probe_without_a_section_names_the_unit_of_each_time_and_size():
    rows = [one | {"probe": "wells", "steps": 16} for one in latency(sizes=(32,))]
    rows.append(row("wells", "deep", 3 * 2**20, "B", cell="gru", backend="numba", steps=16))
    _, texts, _ = table(rows)
    assert texts[0]["step_median_s"] == "3.00 µs (2.70 … 3.60)" and texts[0]["deep"] == "3.00 MiB"
