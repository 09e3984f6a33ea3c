"""Budget matching: the hidden size that comes closest, said in the plan, the rows and the report."""

import pytest

from cellbench import cells, harness
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.runs.compose import settings
from cellbench.harness.runs.match import BUDGETS, closest, matched

ALIKE = """
from cellbench.cells import GatedCell, State, tanh


class Alike(GatedCell):
    '''Inputs as wide as the state.'''

    gates = ("a",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.a + prev.h))

    def unfit(self, input_size, hidden_size):
        if input_size == hidden_size:
            return None
        return f"Alike needs input_size {input_size} equal to hidden_size {hidden_size}"
"""


@pytest.fixture
def alike(tmp_path):
    file = tmp_path / "alike.py"
    file.write_text(ALIKE)
    return f"{file}:Alike"


def checked(*overrides):
    return settings(list(overrides)).probes


@pytest.mark.parametrize("what", BUDGETS)
@pytest.mark.parametrize("first", ["lstm", "elman"])
@pytest.mark.parametrize("name", cells.names())
def test_no_other_size_comes_closer_to_the_budget(what, first, name):
    count, budget = BUDGETS[what], BUDGETS[what](cells.get(first), 12, 12)
    case, cell = (
        matched(Case("parameters", name, input_size=12, hidden_size=12), what, first),
        cells.get(name),
    )
    assert case.match == f"{what} {budget} ({first}, H 12)"
    if case.refused:
        assert case.hidden_size == 12 and sum(cell.unfit(12, h) is None for h in range(1, 99)) < 2
        return
    errors = [abs(count(cell, 12, h) - budget) for h in range(1, 99) if cell.unfit(12, h) is None]
    assert abs(count(cell, 12, case.hidden_size) - budget) <= min(errors)


def test_the_first_cell_keeps_its_size_and_one_of_the_same_equations_gets_it():
    assert (
        matched(Case("parameters", "gru", input_size=5, hidden_size=7), "parameters", "gru").hidden_size == 7
    )
    assert (
        matched(
            Case("parameters", "gru:biases=2", input_size=5, hidden_size=7), "parameters", "gru"
        ).hidden_size
        == 7
    )


def test_counts_that_fall_again_are_searched_too():
    counts = {h: 100 * (h % 7) + h for h in range(1, 200)}
    for budget in (0, 131, 350, 702, 9999):
        best = min(abs(n - budget) for n in counts.values())
        assert abs(counts[closest(counts.get, list(counts), budget, 8, 1000)] - budget) == best


@pytest.mark.parametrize("step", [1, 4])
def test_a_slow_count_is_asked_for_few_sizes_and_finds_the_same(step):
    asked = []

    def count(h):
        asked.append(h)
        return 4 * h * (h + 17)

    sizes = list(range(step, 5000, step))
    for budget in (1, 90_000, 4_000_000, 10**9):
        asked.clear()
        assert closest(count, sizes, budget, 64, 32) == closest(
            lambda h: 4 * h * (h + 17), sizes, budget, 64, 10**6
        )
        assert len(set(asked)) < 200


def test_a_tie_goes_to_the_asked_size():
    assert closest(lambda h: 5, range(1, 50), 7, 31, 1000) == 31


def test_the_plan_shows_the_chosen_sizes(capsys):
    overrides = ["cells=[lstm,gru]", "probes=[parameters]", "match=parameters", "workload.hidden_size=64"]
    assert main(["run", "--plan", *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "lstm I=32 H=64 match=parameters 25088 (lstm, H 64)" in lines[0]
    assert "gru I=32 H=76 match=parameters 25088 (lstm, H 64)" in lines[1]


def test_every_size_that_is_asked_for_sets_a_budget_of_its_own():
    (asked,) = checked(
        "cells=[gru,elman]",
        "match=state",
        "probes=[throughput]",
        "workload.hidden_size=[8,24]",
        "workload.steps=4",
    )
    assert {(c.match, c.hidden_size) for c in asked.cases} == {
        ("state 8 (gru, H 8)", 8),
        ("state 24 (gru, H 24)", 24),
    }


def test_training_is_matched_at_the_width_of_its_task():
    (asked,) = checked(
        "cells=[lstm,elman]", "match=parameters", "probes=[training]", "tasks=[adding]", "seeds=1"
    )
    lstm, elman = cells.get("lstm"), cells.get("elman")
    sizes = {case.spec: case.hidden_size for case in asked.cases}
    budget = lstm.parameter_count(2, 64)
    assert sizes["lstm"] == 64 and all(f"parameters {budget} " in case.match for case in asked.cases)
    errors = [abs(elman.parameter_count(2, sizes["elman"] + k) - budget) for k in (-1, 0, 1)]
    assert min(errors) == errors[1]


def test_rows_say_the_size_that_was_used_and_what_it_was_matched_to(tmp_path, alike):
    overrides = [
        f"cells=[lstm,gru,{alike}]",
        "match=parameters",
        "probes=[parameters,throughput]",
        "backends=[numpy]",
    ]
    small = ["workload.steps=3", "workload.batch=2", "workload.input_size=4", "workload.hidden_size=8"]
    assert (
        main(
            [
                "run",
                *overrides,
                *small,
                "direction=forward",
                "probe.throughput.processes=1",
                f"results={tmp_path}/runs",
            ]
        )
        == 0
    )
    frame = harness.load(tmp_path / "runs")
    assert set(frame.match) == {"parameters 448 (lstm, H 8)"}
    counts = frame[frame.metric == "parameters"].set_index("cell")
    assert counts.hidden_size.to_dict() == {"lstm": 8, "gru": 10} and counts.value.to_dict() == {
        "lstm": 448,
        "gru": 480,
    }
    assert set(frame[(frame.cell == "gru") & (frame.metric == "seconds")].hidden_size) == {10}
    refused = frame[frame.cell == "Alike"]
    assert (
        set(refused.status) == {"unsupported"}
        and set(refused.hidden_size) == {8}
        and refused.value.isna().all()
    )
    assert refused.reason.str.contains("no hidden_size to choose for match=parameters: Alike needs").all()


def test_without_match_nothing_says_so(tmp_path):
    assert main(["run", "cells=[gru]", "probes=[parameters]", f"results={tmp_path}/runs"]) == 0
    assert harness.load(tmp_path / "runs").match.isna().all()


def test_a_first_cell_that_cannot_have_the_size_is_one_line(capsys, alike):
    assert main(["run", f"cells=[{alike},gru]", "match=state", "probes=[parameters]"]) == 2
    error = capsys.readouterr().err.strip()
    assert "takes its budget from the first of cells" in error and "\n" not in error
