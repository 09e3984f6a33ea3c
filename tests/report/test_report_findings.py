"""The sentences at the top of a page say what the rows say, and no more."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from support.report_rows import MANY, gradient_decay, refused, row, throughput, training, written

from cellbench.harness.report.findings import findings, note
from cellbench.harness.report.frame import prepare
from cellbench.harness.report.section import Finding
from cellbench.harness.report.summary import rows_of
from cellbench.harness.report.units import order, quantity


def said(rows):
    frame = pd.DataFrame(rows)
    return [finding.text for finding in findings(rows_of(frame), prepare(frame))]


def timed(backend, seconds, cell="gru"):
    """One time a process."""
    case = {"cell": cell, "backend": backend, "steps": 64, "direction": "forward"}
    return [row("throughput", "seconds", s, process=p, **case) for p, s in enumerate(seconds)]


@pytest.mark.quick
def test_a_backend_that_is_faster_in_every_process_is_called_the_fastest_with_its_range():
    rows = (
        timed("numba", [1e-3, 1e-3, 2e-3]) + timed("native", [2e-3, 3e-3, 5e-3]) + timed("numpy", [1, 1, 1])
    )
    assert said(rows) == [
        "gru, forward: numba, the fastest of 3 backends, is 2.50× as fast as native (2.00 … 3.00)."
    ]


def test_a_ratio_is_of_times_in_one_process():
    """Each process is slower than the one before; within it both take equally long."""
    rows = timed("numba", [1e-3, 2e-3, 4e-3]) + timed("native", [1e-3, 2e-3, 4e-3])
    assert said(rows) == ["gru, forward: native and numba are not told apart (1.00×, 1.00 … 1.00)."]


def test_two_backends_that_win_in_turn_are_not_told_apart():
    rows = timed("numba", [1e-3, 1e-3, 3e-3]) + timed("native", [2e-3, 2e-3, 2e-3])
    assert said(rows) == ["gru, forward: numba and native are not told apart (2.00×, 0.667 … 2.00)."]


def test_few_processes_are_never_sure():
    (text,) = said(timed("numba", [1e-3]) + timed("native", [2e-3]))
    assert text.endswith(
        "numba took the least time, 2.00× as fast as native; that needs 3 processes to be sure."
    )


def held(cell, backend, error, status="ok"):
    case = {"cell": cell, "backend": backend, "steps": 64, "direction": "forward", "case": f"{cell}{backend}"}
    if status != "ok":
        return [row("throughput", "", float("nan"), "1", status=status, reason="output is off", **case)]
    metrics = {"check_error": error, "check_tolerance": 1e-5}
    return [row("throughput", name, value, "1", **case) for name, value in metrics.items()]


def test_it_says_whether_what_was_timed_is_right_and_names_what_is_not():
    rows = held("gru", "numba", 1e-6) + held("gru", "native", 2e-6)
    right = "Each of 2 timed programs is right: its error is at most 20.0 % of what is allowed."
    assert said(rows) == [right]
    wrong = held("mine", "numba", 0, "wrong") + held("mine", "torch", 0, "wrong")
    failed = "2 cases have no result: 2 wrong. The reason: output is off."
    assert said(rows + wrong) == ["Not right, and so not timed: mine on numba, mine on torch.", right, failed]
    assert said(held("gru", "numba", 1e-6)) == [
        "The timed program is right: its error is at most 10.0 % of what is allowed."
    ]


def test_cells_with_one_fastest_backend_share_a_sentence():
    rows = timed("numba", [1e-3] * 3) + timed("native", [2e-3, 3e-3, 2.5e-3])
    rows += timed("numba", [1e-3] * 3, "lstm") + timed("native", [4e-3] * 3, "lstm")
    alike = "Forward: numba is 2.50× as fast as native in gru (2.00 … 3.00), 4.00× in lstm (4.00 … 4.00)."
    assert said(rows)[1:] == [alike]
    other = timed("numba", [9e-3] * 3, "lru") + timed("native", [3e-3] * 3, "lru")
    assert [text.partition(",")[0] for text in said(rows + other)[1:]] == ["gru", "lstm", "lru"]


def test_sentences_of_one_question_stand_together_under_it(tmp_path):
    page, text = written(throughput() + gradient_decay() + training(), tmp_path)
    questions = ["Fast?", "Learns?", "Remembers?"]
    assert re.findall(r'<li class="asked"><strong>(.*?)</strong>', page) == questions
    assert re.findall(r"^\*\*(.*?)\*\*$", text, re.MULTILINE) == questions


def test_every_gradient_s_reach_is_told():
    lasts = {"a": -16.0, "b": -32.0, "c": -64.0}
    rows = [one for cell, last in lasts.items() for one in gradient_decay((cell,), last=last)]
    (text,) = [one for one in said(rows) if "most slowly" in one]
    assert [float(n) for n in re.findall(r"every (\d+\.\d+)", text)] == pytest.approx([9.21, 4.61, 2.30])


def test_one_backend_alone_has_no_rank():
    assert said(timed("numba", [1e-3, 1e-3, 1e-3])) == []


def test_of_many_cells_it_is_counted_which_backend_is_the_fastest():
    rows = throughput(cells=MANY, backends=("numba", "native"), steps=(64,))
    rows += timed("numba", [1e-3, 1e-3, 3e-3], "odd") + timed("native", [2e-3, 2e-3, 2e-3], "odd")
    assert said(rows)[2:] == [
        "Forward, 31 comparisons of backends: numba is the fastest in 30, 1 is not told apart.",
        "Forward+backward, 30 comparisons of backends: numba is the fastest in 30.",
    ]


def test_the_cell_that_takes_the_least_time_on_any_backend_is_the_fastest():
    rows = timed("numba", [1e-3, 1.2e-3, 1.1e-3]) + timed("native", [5e-3] * 3)
    rows += timed("numba", [9e-3] * 3, "lstm") + timed("native", [2e-3, 3e-3, 4e-3], "lstm")
    first = said(rows)[0]
    assert first == (
        "Fastest of 2 cells, forward (T 64, B 8, I 16, H 32): gru on numba, 1.10 ms (1.00 … 1.20);"
        " next is lstm on native, 3.00 ms (2.00 … 4.00)."
    )
    close = timed("numba", [1e-3, 3e-3, 2e-3]) + timed("numba", [2e-3, 3e-3, 4e-3], "lstm")
    assert said(close)[0].endswith("(2.00 … 4.00). Ranges overlap, so this is not sure.")
    third = timed("numba", [1e-3] * 3) + timed("numba", [2e-3] * 3, "lstm")
    third += timed("numba", [0.9e-3, 9e-3, 9e-3], "lru")
    assert said(third)[0].endswith(
        "next is lstm on numba, 2.00 ms (2.00 … 2.00). Ranges overlap, so this is not sure."
    )


@pytest.mark.parametrize(
    ("first", "next_", "ends"),
    [
        ([1e-3, 2e-3], [3e-3, 4e-3], "3.50 ms (3.00 … 4.00). That needs 3 processes to be sure."),
        ([1e-3, 4e-3], [3e-3, 4e-3], "3.50 ms (3.00 … 4.00). Ranges overlap, so this is not sure."),
        ([1e-3], [3e-3], "lstm on numba, 3.00 ms. That needs 3 processes to be sure."),
        ([1e-3] * 3, [3e-3] * 2, "3.00 ms (3.00 … 3.00). That needs 3 processes to be sure."),
        ([1e-3] * 3, [3e-3] * 3, "3.00 ms (3.00 … 3.00)."),
    ],
)
def test_the_fastest_cell_of_few_processes_is_never_sure(first, next_, ends):
    assert said(timed("numba", first) + timed("numba", next_, "lstm"))[0].endswith(ends)


def test_of_many_settings_it_is_counted_in_how_many_the_fastest_cell_is_sure():
    rows = []
    for hidden, processes in ((8, 3), (16, 3), (32, 2)):
        pair = timed("numba", [1e-3] * processes) + timed("numba", [2e-3] * processes, "lstm")
        rows += [one | {"hidden_size": hidden} for one in pair]
    rows += [one | {"hidden_size": 64} for one in timed("numba", [2e-3, 1e-3, 9e-3], "lstm")]
    rows += [one | {"hidden_size": 64} for one in timed("numba", [8e-3] * 3)]
    assert said(rows)[0] == (
        "Fastest cell in 4 settings, forward: gru in 3 (2 of them sure), lstm in 1 (0 of them sure)."
        " Sure: its slowest process, of at least 3, is faster than any of another cell."
    )


def test_the_gradient_that_falls_most_slowly_is_told_by_its_rate():
    rows = gradient_decay(cells=("gru",), last=-16.0) + gradient_decay(cells=("lstm",), last=-32.0)
    (text,) = [one for one in said(rows) if "most slowly" in one]
    tenth = np.log(10) / (16 / 64)  # steps, by the slope of a line
    assert f"in gru: to a tenth every {tenth:.2f} steps, in lstm every {tenth / 2:.2f}." in text
    assert not any("most slowly" in one for one in said(rows + gradient_decay(cells=("lru",), last=0.0)))


def test_the_cells_with_the_fewest_and_the_most_parameters_are_named():
    counts = [row("parameters", "parameters", n, "count", cell=c) for c, n in (("gru", 3e3), ("lstm", 4e3))]
    assert said(counts) == ["Fewest parameters (I 16, H 32): gru, 3,000; most: lstm, 4,000 (1.33×)."]
    assert said([one | {"match": "parameters=3000"} for one in counts]) == []


def test_gradients_are_named_by_what_they_do():
    rows = gradient_decay(cells=("gru", "lstm")) + gradient_decay(cells=("lru",), last=0.0, seeds=1)
    stable = "At the first weights, the gradient is stable in lru: each step back multiplies it by 1.00."
    factor = f"{np.exp(-40 / 64):.3f}"
    vanishes = (
        "At the first weights, the gradient vanishes in gru and lstm: each step back multiplies it by"
        f" {factor}."
    )
    assert said(rows)[:2] == [vanishes, stable]


def swept(*settings):
    """Gradients of gru and lstm at settings: (the last log norm, columns that differ)."""
    return [one | columns for last, columns in settings for one in gradient_decay(("gru", "lstm"), last=last)]


def test_a_gradient_that_does_one_thing_at_one_setting_and_another_at_the_next_is_named_with_them():
    first, second = {"run": "a", "hidden_size": 8}, {"run": "b", "hidden_size": 16}
    begin, factor = "At the first weights, the gradient", f"{np.exp(-40 / 64):.3f}"
    for key, low, high in (("hidden_size", "H 8", "H 16"), ("dtype", "float32", "bfloat16")):
        if key == "dtype":
            first, second = {"run": "a", "dtype": "float32"}, {"run": "b", "dtype": "bfloat16"}
        assert said(swept((-40.0, first), (0.0, second)))[:2] == [
            f"{begin} vanishes in gru and lstm at {low}: each step back multiplies it by {factor}.",
            f"{begin} is stable in gru and lstm at {high}: each step back multiplies it by 1.00.",
        ]


def test_a_gradient_that_does_the_same_at_each_setting_is_named_once_with_the_range_over_all():
    rows = swept((-40.0, {"hidden_size": 8}), (-20.0, {"hidden_size": 16}))
    vanishes, at_8, at_16 = said(rows)
    assert vanishes.endswith(
        "vanishes in gru and lstm at each of 2 settings: each step back multiplies it by 0.535 to 0.732."
    )
    assert at_8.startswith("The gradient at H 8 falls most slowly in gru: to a tenth every 3.68")
    assert at_16.startswith("The gradient at H 16 falls most slowly in gru: to a tenth every 7.37")
    assert at_8.endswith(" Intervals overlap, so the first is not sure.")


def test_two_runs_of_one_setting_are_told_apart_only_where_their_gradients_differ():
    a, b = {"run": "a"}, {"run": "b"}
    assert said(swept((-40.0, a), (-40.0, b)))[0].endswith(
        "vanishes in gru and lstm: each step back multiplies it by 0.535."
    )
    assert said(swept((-40.0, a), (0.0, b)))[0].endswith(
        "in gru and lstm at a: each step back multiplies it by 0.535."
    )


def test_of_many_settings_it_is_counted_which_gradient_falls_most_slowly():
    rows = []
    for hidden, lstm in ((8, -80.0), (16, -80.0), (32, -20.0), (64, -40.0)):
        both = gradient_decay(("gru",)) + gradient_decay(("lstm",), last=lstm)
        rows += [one | {"hidden_size": hidden} for one in both]
    assert said(rows)[1] == (
        "The gradient that falls most slowly, in 4 settings: gru in 3 (2 of them sure), lstm in 1 (1 of"
        " them sure). Sure: no interval of another cell overlaps."
    )
    many = swept(*((-40.0 * (k % 2), {"hidden_size": 8 + k}) for k in range(16)))
    assert "vanishes in 16 pairs of cell and setting" in said(many)[1]


def losses(cell, values):
    case = {"cell": cell, "backend": "numba", "task": "adding"}
    return [row("training", "test_loss", v, "nats", lag=1, seed=s, **case) for s, v in enumerate(values)]


def test_a_lower_loss_is_sure_where_every_seed_has_it():
    assert said(losses("gru", [0.1, 0.2]) + losses("lstm", [0.3, 0.4])) == [
        "Task adding: gru has the lowest test loss, 0.150; lstm has 0.350 (lower in each of 2 seeds)."
    ]
    assert "not sure: lower in 1 of 2" in said(losses("gru", [0.1, 0.2]) + losses("lstm", [0.3, 0.19]))[0]


def reached(cell, times, backend="numba", **columns):
    """The training time until the target, one a seed; NaN where it was not reached."""
    case = {"cell": cell, "backend": backend, "task": "adding"} | columns
    rows = [row("training", "time_to_target_s", v, seed=s, **case) for s, v in enumerate(times)]
    return rows + [row("training", "target_loss", 0.01, "1", seed=s, **case) for s in range(len(times))]


NEVER = float("nan")


@pytest.mark.parametrize(
    ("gru", "lstm", "says"),
    [
        ([2.0, 3.0], [4.0, 5.0], "after 2.50 s; lstm after 4.50 s (first in each of 2 seeds)."),
        ([2.0, 3.0], [4.0, 2.9], "after 2.50 s; lstm after 3.45 s (not sure: first in 1 of 2 seeds)."),
        ([2.0, 3.0], [NEVER, NEVER], "after 2.50 s; no model but gru does (first in each of 2 seeds)."),
        (
            [2.0, 3.0, NEVER],
            [1.0, NEVER, NEVER],
            "after 2.50 s in 2 of 3 seeds; lstm after 1.00 s in 1 of 3 seeds"
            " (not sure: first in 1 of 3 seeds).",
        ),
        ([2.0], [3.0], "after 2.00 s; lstm after 3.00 s. One seed says so."),
    ],
)
def test_the_model_that_reaches_the_target_first_is_named_with_its_sureness(gru, lstm, says):
    (text,) = said(reached("gru", gru) + reached("lstm", lstm))
    assert text == f"Task adding: gru reaches the target (a test loss of 0.010) first, {says}"


def test_a_target_that_nothing_reaches_or_one_model_alone_is_no_contest():
    assert said(reached("gru", [NEVER]) + reached("lstm", [NEVER])) == said(reached("gru", [2.0])) == []


def test_a_training_that_diverged_has_not_reached_the_target():
    lost = [
        refused("training", "diverged", "at step 3", cell="lstm", backend="numba", task="adding", seed=s)
        for s in (0, 1)
    ]
    text, without = said(reached("gru", [2.0, 3.0]) + lost)
    assert without == "2 cases have no result: 2 diverged. The reason: at step 3."
    assert text.endswith("after 2.50 s; no model but gru does (first in each of 2 seeds).")


@pytest.mark.parametrize(("status", "place"), [("crashed", 0), ("unsupported", -1)])
def test_an_error_is_said_first_and_what_was_not_possible_last(status, place):
    lost = refused("training", status, "a reason", cell="lstm", backend="numba", task="adding", seed=0)
    found = [*reached("gru", [2.0, 3.0]), *reached("elman", [5.0, 6.0]), lost]
    texts = said(found)
    assert len(texts) > 1 and texts[place].startswith(f"1 case has no result: 1 {status}")


def test_one_cell_on_two_backends_is_no_contest_where_another_cell_was_tried():
    rows = reached("gru", [1.0, 1.0]) + reached("gru", [9.0, 9.0], "native")
    (text,) = said(rows + reached("lstm", [5.0, NEVER]))
    assert "gru (numba) reaches the target" in text
    assert text.endswith("lstm (numba) after 5.00 s in 1 of 2 seeds (first in each of 2 seeds).")
    assert said(rows)[0].endswith("after 1.00 s; gru (native) after 9.00 s (first in each of 2 seeds).")


def test_of_many_tasks_it_is_counted_who_is_first_at_the_target_how_often():
    rows = []
    for k in range(8):
        pair = reached("gru", [1.0, 1.0]) + reached("lstm", [2.0, 2.0 if k < 6 else 0.5])
        rows += [one | {"task": f"task{k}"} for one in pair]
    assert said(rows) == [
        "First to the target of 8 tasks: gru in 8 (6 of them sure). Sure: first in every seed."
    ]


def test_a_rival_with_a_lower_loss_than_every_cell_is_named():
    rival = [
        row("training", "rival_loss.bag", 0.05, "nats", seed=0, cell="gru", backend="numba", task="adding")
    ]
    rows = losses("gru", [0.1]) + losses("lstm", [0.3])
    (text,) = said(rows + rival)
    assert text.endswith(
        "One seed says so. The rival “bag”, without a recurrent cell, has a lower one, 0.050."
    )
    rival[0]["value"] = 0.2
    assert said(rows + rival) == said(rows)


def test_every_sentence_leads_to_a_section_of_the_page(tmp_path):
    rows = throughput() + gradient_decay() + training()
    page, text = written(rows, tmp_path)
    frame = pd.DataFrame(rows)
    found = findings(rows_of(frame), prepare(frame))
    assert len(found) > 4
    assert all(f'<section id="{one.anchor}">' in page for one in found)
    assert all(f"(#{one.anchor})" in text for one in found)


@pytest.mark.parametrize("value", [0.0, 1.5e-9, 2e-5, 0.004, 3.0, 620.0, 1e5, float("inf"), -0.5])
def test_a_text_sorts_as_the_number_that_it_shows(value):
    for kind in ("s", "count", "B", "x", "1", "%"):
        assert order(quantity(value, kind)) == pytest.approx(value, rel=6e-3), kind


@pytest.mark.parametrize("text", ["gru", "–", "2 of 3", "1.0.3", "", "v2", "12 apples"])
def test_a_text_that_is_no_quantity_has_no_order(text):
    assert order(text) is None


def test_of_many_tasks_it_is_counted_who_has_the_lowest_loss_how_often():
    rows = []
    for k in range(8):
        pairs = (("gru", [0.1, 0.2]), ("lstm", [0.3, 0.4 if k < 6 else 0.15]))
        rows += [r | {"task": f"task{k}"} for cell, values in pairs for r in losses(cell, values)]
    assert said(rows) == [
        "Lowest test loss of 8 tasks: gru in 8 (6 of them sure). Sure: lower in every seed."
    ]


def errors(variant, values, cell="elman"):
    case = {"cell": cell, "backend": "numba", "variant": variant, "task": "temporal_order"}
    return [row("clipping", "error_rate", v, "1", seed=s, **case) for s, v in enumerate(values)]


def test_clipping_helps_where_every_seed_has_the_lower_error_rate():
    rows = errors("max_norm=none", [0.7, 0.8]) + errors("max_norm=1.0", [0.1, 0.0])
    assert said(rows + errors("max_norm=0.1", [0.5, 0.5])) == [
        "Clipping helps in elman, temporal_order: error rate 5.00 % with max_norm=1.0, 75.0 % without it"
        " (lower in 2 of 2 seeds)."
    ]
    assert said(errors("max_norm=none", [0.1, 0.2]) + errors("max_norm=1.0", [0.3, 0.3]))[0].startswith(
        "Clipping hurts in elman"
    )


@pytest.mark.parametrize("clipped", [[0.1, 0.9], [0.7, 0.8], [0.1, 0.8]])
def test_clipping_makes_no_sure_difference_where_seeds_disagree(clipped):
    (text,) = said(errors("max_norm=none", [0.7, 0.8]) + errors("max_norm=1.0", clipped))
    assert text.startswith("Clipping makes no sure difference in elman, temporal_order: ")


def test_one_seed_of_clipping_is_never_sure_and_a_way_alone_says_nothing():
    (text,) = said(errors("max_norm=none", [0.7]) + errors("max_norm=1.0", [0.0]))
    assert "no sure difference" in text and text.endswith("(lower in 1 of 1 seed).")
    assert said(errors("max_norm=1.0", [0.0, 0.0])) == said(errors("max_norm=none", [0.7, 0.7])) == []


def test_of_many_cells_it_is_counted_what_clipping_does():
    rows = [r for c in "abcde" for r in errors("max_norm=none", [0.7, 0.8], c)]
    rows += [r for c in "abcd" for r in errors("max_norm=1.0", [0.1, 0.1], c)]
    rows += errors("max_norm=1.0", [0.7, 0.8], "e")
    assert said(rows) == [
        "Clipping, 5 trainings by cell and backend: helps in 4, makes no sure difference in 1."
    ]


def test_it_says_what_failed_and_why_and_leads_to_the_cases():
    rows = timed("numba", [1e-3]) + held("mine", "numba", 0, "wrong") + held("mine", "torch", 0, "wrong")
    rows.append(refused("training", "diverged", "at step 3", cell="gru", case="t"))
    frame = prepare(pd.DataFrame(rows))
    (found,) = [one for one in findings([], frame) if one.question == "Failed?"]
    assert found.anchor == "cases-without-a-result"
    assert found.text == (
        "3 cases have no result: 2 wrong, 1 diverged. There are 2 reasons; most frequent: output is off."
    )


def test_a_failure_without_a_reason_is_counted():
    rows = [refused("training", "diverged", reason, cell="gru", case="t") for reason in ("", "At step 3.")]
    told = [said([one])[-1] for one in rows]
    assert told[0] == "1 case has no result: 1 diverged."
    assert told[1] == "1 case has no result: 1 diverged. The reason: At step 3."


def test_below_the_sentences_stands_what_they_need_and_no_more():
    def noted(*texts):
        return note([Finding(text, "") for text in texts])

    assert noted("Task adding: gru has the lowest test loss.") == "A sentence leads to what it rests on."
    fast = noted("Fastest of 3 cells (T 256, B 16): elman.", "Forward: numba is 2.00× as fast as native.")
    assert "in each of at least 3 processes" in fast and "native is PyTorch's own layer" in fast
    assert "For other batches run: cellbench run 'probes=[throughput]' 'workload.batch=[1,32]'." in fast
    assert "For other batches" not in noted("At B 1 elman.", "At B 4 gru.") and "Brackets" not in fast
