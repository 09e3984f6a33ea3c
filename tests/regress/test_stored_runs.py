"""`cellbench compare A B`: verdicts through the partner, what is missing, what has no baseline."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support.stored_runs import (
    FLAT,
    KEY,
    NAME,
    NATIVE,
    SIZE,
    a_run,
    broken,
    native,
    parameters,
    program,
    series,
)

from cellbench.harness import store
from cellbench.harness.cli import main
from cellbench.harness.measure.verdict import Verdict
from cellbench.harness.regress import stored
from cellbench.harness.regress.stored_run import read

pytestmark = pytest.mark.quick


def compared(tmp_path, a, b, **manifest):
    runs = read(a_run(tmp_path, *a)), read(a_run(tmp_path, *b, **manifest))
    return stored.compared(*runs)


def code(*arguments):
    return main(["compare", *map(str, arguments)])


@pytest.mark.parametrize(
    ("ratios", "verdict", "expected"),
    [
        (FLAT, "SAME", 0),
        ((1.0, 1.004, 0.996), "SAME", 0),
        ((1.05, 1.051, 1.049), "SLOWER", 1),
        ((0.95, 0.951, 0.949), "FASTER", 0),
        ((1.05, 1.10, 0.97), "UNSURE", 3),  # overlaps
        ((1.05, 1.25, 1.01), "UNSURE", 3),  # apart, but p is too large
        ((1.0, 1.1, 0.9), "UNSURE", 3),  # too wide
    ],
)
def test_a_verdict_is_taken_on_the_ratios_to_the_partner(tmp_path, capsys, ratios, verdict, expected):
    """The levels of the second run are twice those of the first: the partner takes that out."""
    old = a_run(tmp_path, program(), native())
    new = a_run(tmp_path, program(ratios=ratios, levels=(2, 2.5, 3)), native(levels=(2, 2.5, 3)))
    file = tmp_path / "found.json"
    assert code(old, new, "--json", file) == expected
    (found,) = json.loads(file.read_text())["benchmarks"]
    assert (found["name"], found["verdict"], found["processes"]) == (NAME, verdict, 3)
    assert found["effect"]["estimate"] == pytest.approx(np.median(ratios) - 1)
    assert f"{NATIVE}: the partner, not judged itself; levels: 2 ms" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_change_is_held_against_the_whole_suite(tmp_path):
    """p is 0.008 alone, which is a change; among ten benchmarks it is not."""
    changed, sizes = (1.05, 1.04, 1.03), [dict(SIZE, steps=t) for t in range(1, 11)]

    def cases(first):
        programs = [program(ratios=first if t == 0 else FLAT) for t in range(len(sizes))]
        every = [*programs, *(native() for _ in sizes)]
        return [c | {"definition": c["definition"] | size} for c, size in zip(every, sizes * 2, strict=True)]

    flat = (1.0, 1.01, 0.99)
    alone = compared(tmp_path, [program(ratios=flat), native()], [program(ratios=changed), native()])
    assert alone.judgements[0].verdict is Verdict.SLOWER and 0.005 < alone.judgements[0].p < 0.05
    judgements = compared(tmp_path, cases(flat), cases(changed)).judgements
    assert judgements[0].verdict is Verdict.UNSURE and "over the suite" in judgements[0].reason
    assert {j.verdict for j in judgements[1:]} == {Verdict.SAME}


def test_what_has_no_partner_is_unsure_and_shows_its_levels(tmp_path):
    outcome = compared(tmp_path, [program(partner=False)], [program(partner=False, ratios=(3, 3, 3))])
    (found,) = outcome.judgements
    assert found.verdict is Verdict.UNSURE and found.effect is None
    assert "no partner" in found.reason and "levels: 2 ms (1.996 .. 2.004), then 6 ms" in found.reason


def test_the_partner_alone_is_never_the_same_as_itself(tmp_path):
    (found,) = compared(tmp_path, [native()], [native()]).judgements
    assert found.verdict is Verdict.UNSURE and "no partner" in found.reason


def test_another_partner_is_none(tmp_path):
    (found,) = compared(
        tmp_path, [program(), native()], [program(), native(implementation="torch 3 oneDNN")]
    ).judgements
    assert found.verdict is Verdict.UNSURE and "is another: 'native 1', then 'torch 3 oneDNN'" in found.reason


def test_two_processes_are_not_enough(tmp_path):
    few = [program(ratios=(1, 1), levels=(1, 1)), native(ratios=(1, 1), levels=(1, 1))]
    (found,) = compared(tmp_path, few, few).judgements
    assert found.verdict is Verdict.UNSURE and "at least 3 processes" in found.reason


@pytest.mark.parametrize(
    ("b", "said"),
    [
        ([native()], f"{NAME}: ok in A, not in B"),
        (
            [program(cell="gruu"), native()],
            f"{NAME}: ok in A, not in B; renamed to {NAME.replace('gru', 'gruu')!r}?",
        ),
        ([broken(program()), native()], f"{NAME}: ok in A, wrong in B: d_x is off"),
        (
            [broken(program(), "skipped", "no budget_s left"), native()],
            f"{NAME}: ok in A, skipped in B: no budget_s left",
        ),
    ],
)
def test_a_benchmark_that_is_missing_renamed_or_broken_is_red(tmp_path, capsys, b, said):
    assert said in compared(tmp_path, [program(), native()], b).missing
    assert code(a_run(tmp_path, program(), native()), a_run(tmp_path, *b)) == 1
    assert NAME in capsys.readouterr().out


def test_what_is_new_or_not_ok_in_either_is_listed_and_not_judged(tmp_path):
    new = program(cell="lstm")
    outcome = compared(
        tmp_path, [program(), native(), broken(new)], [program(), native(), new, program(cell="elman")]
    )
    assert [j.name for j in outcome.judgements] == [NAME] and not outcome.missing
    assert f"{NAME.replace('gru', 'lstm')}: wrong in A, ok in B, not judged" in outcome.notes
    assert f"{NAME.replace('gru', 'elman')}: new in B (ok), not judged" in outcome.notes


def test_nothing_ok_in_both_cannot_be_told(tmp_path):
    assert code(a_run(tmp_path, broken(program())), a_run(tmp_path, broken(program()))) == 3


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (KEY | {"cpu": "two"}, "no baseline: another machine, cpu: one and two"),
        (KEY | {"threads": 2}, "no baseline: another machine, threads: 1 and 2"),
        (KEY | {"torch": "2.14.0"}, "torch: 2.13.0 and 2.14.0"),
        (None, "does not say its machine key"),
    ],
)
def test_another_machine_is_no_baseline(tmp_path, capsys, key, said):
    slower = program(ratios=(2, 2, 2))
    assert code(a_run(tmp_path, program(), native()), a_run(tmp_path, slower, native(), key=key)) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert said in out and "SLOWER" not in out


def test_counts_that_differ_are_shown_and_are_not_the_same_work(tmp_path):
    outcome = compared(
        tmp_path, [program(), native(), parameters(100)], [program(), native(), parameters(90)]
    )
    assert [(f.name, f.a, f.b, f.gated) for f in outcome.facts] == [
        ("parameters gru I=32 H=64 parameters", "100", "90", False)
    ]
    assert (
        outcome.judgements[0].verdict is Verdict.INVALID
        and "parameters 100 -> 90" in outcome.judgements[0].reason
    )
    alike = compared(tmp_path, [program(), native(), parameters(100)], [program(), native(), parameters(100)])
    assert not alike.facts and alike.judgements[0].verdict is Verdict.SAME


def test_a_curve_that_differs_says_where_and_times_are_left_out(tmp_path):
    def training(losses, seconds):
        found = [series("loss", losses, lag=[0, 1, 2]), series("elapsed_s", seconds, "s", lag=[0, 1, 2])]
        definition = {"probe": "training", "cell": "gru", "task": "adding", "seed": 1, "threads": 1}
        return {"definition": definition, "series": found, "status": "ok", "implementation": None}

    nan = float("nan")
    a, b = training([1, 2, nan], [1, 2, 3]), training([1, 2.5, nan], [4, 5, 6])
    facts = compared(tmp_path, [program(), a], [program(), b]).facts
    assert [(f.name, f.a, f.b) for f in facts] == [
        ("training gru adding seed 1 loss", "2", "2.5 (value 1 of 3)")
    ]


def test_other_lengths_of_sequences_are_not_the_same_work(tmp_path):
    ragged = program()
    ragged["series"].append(series("useful_tokens", 700, process=0))
    (found,) = compared(tmp_path, [program(), native()], [ragged, native()]).judgements
    assert found.verdict is Verdict.INVALID and "useful_tokens none -> 700" in found.reason


def test_a_probe_that_only_one_run_has_and_other_versions_are_noted(tmp_path):
    notes = compared(tmp_path, [program(), parameters(1)], [program()], versions={"numba": "0.62"}).notes
    assert "probe parameters was run in one of the two only, and is not compared" in notes
    assert "another version of numba: none and 0.62" in notes


def test_two_cells_of_one_name_are_kept_apart(tmp_path):
    run = read(a_run(tmp_path, program(), program(ratios=(2, 2, 2))))
    assert set(run.cases) == {f"{NAME} [case0]", f"{NAME} [case1]"}


def test_the_command_that_repeats_it_names_the_commit_of_a_where_that_is_all_of_its_code(tmp_path):
    cases, git = [program(), native()], {"commit": "0123456789abcdef", "dirty": False}
    clean, dirty = (read(a_run(tmp_path, *cases, git=git | {"dirty": is_so})) for is_so in (False, True))
    now = read(a_run(tmp_path, *cases))
    command = stored.compared(clean, now).commands[NAME]
    assert command.startswith(
        "cellbench regress base=0123456789ab 'cells=[gru]' 'backends=[numba]' workload.steps=64 "
    )
    assert not stored.compared(dirty, now).commands


def test_runs_are_found_by_name_below_results(tmp_path):
    a, b = (a_run(tmp_path, program(), native()) for _ in range(2))
    assert code(a.name, b.name, "--results", tmp_path) == 0


def refused(capsys, *arguments):
    """The one line that refuses, with exit code 2."""
    assert code(*arguments) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    return err


def test_bad_input_is_one_line(tmp_path, capsys):
    good = a_run(tmp_path, program(), native())
    assert "compare takes two runs" in refused(capsys, good)
    assert "it got nothing" in refused(capsys)
    assert "functions go to harness.compare" in refused(capsys, "a.py:f", "b.py:g")
    assert "are the same run" in refused(capsys, good, good.name, "--results", tmp_path)
    near = good.name[:-1] + "x"
    assert f"did you mean '{good.name}'?" in refused(capsys, good, near, "--results", tmp_path)
    assert "is a folder of runs; give one of them: " in refused(capsys, good, tmp_path)
    assert "(it holds none)" in refused(capsys, good, "nothing", "--results", tmp_path / "no")
    assert "was imported or made otherwise" in refused(capsys, good, a_run(tmp_path, program(), config={}))
    assert "holds no throughput" in refused(capsys, good, a_run(tmp_path, parameters(1)))
    unfinished = a_run(tmp_path, program(), end=False)
    assert f"cellbench run resume={unfinished}" in refused(capsys, good, unfinished)
    assert "--json" in refused_late(capsys, good, a_run(tmp_path, program(), native()), "--json", tmp_path)


def refused_late(capsys, *arguments):
    assert code(*arguments) == 2
    return capsys.readouterr().err


def test_a_run_that_never_ended_or_is_damaged_is_refused(tmp_path, capsys):
    good, other = (a_run(tmp_path, program(), native()) for _ in range(2))
    text = (other / store.BLOCKS).read_bytes()
    (other / store.BLOCKS).write_bytes(b"nonsense\n" + text)
    assert "cases.jsonl line 1 is damaged" in refused(capsys, good, other)
    (other / store.BLOCKS).unlink()
    assert "has no cases.jsonl" in refused(capsys, good, other)
    (other / store.TABLE).unlink()
    assert "has not ended" in refused(capsys, good, other)
    (other / store.MANIFEST).write_text("{")
    assert "manifest.json is damaged" in refused(capsys, good, other)


def test_two_backends_or_cells_go_to_the_comparison_that_measures_now(monkeypatch):
    from cellbench.harness.regress import selectors

    seen = []
    monkeypatch.setattr(selectors, "compare", lambda *arguments: seen.append(arguments) or 0)
    assert code("numba:torch", "cells=[gru]") == 0 and seen == [("numba:torch", ["cells=[gru]"], None)]


def test_nothing_heavy_is_imported(tmp_path):
    a, b = (a_run(tmp_path, program(ratios=r), native()) for r in (FLAT, (1.05, 1.051, 1.049)))
    heavy = {"torch", "numba", "pandas", "hydra", "matplotlib", "sympy"}
    # a judgement needs scipy for Welch's p; what is refused before one does not wait for it
    for other, code, unwanted in ((b, 1, heavy), (tmp_path / "nowhere", 2, heavy | {"scipy"})):
        script = (
            "import sys; from cellbench.harness.cli import main;"
            f"code = main(['compare', {str(a)!r}, {str(other)!r}]);"
            f"print(code, {unwanted} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == f"{code} set()"
