"""Exact gates: facts are the same each time, any difference is red, nothing passes uncompared."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.regress.baselines import __main__ as command
from cellbench.harness.regress.baselines.allocations import allocations
from cellbench.harness.regress.baselines.differences import compare, leaves, renewed, rounded
from cellbench.harness.regress.baselines.facts import facts
from cellbench.harness.regress.baselines.files import FOLDER, Baseline, BaselineError, read, versions, write
from cellbench.harness.regress.baselines.gather import gather, zoo

BROKEN = """
import os

from cellbench.cells import GatedCell, State


class Dies(GatedCell):
    gates = ("n",)
    states = ("h",)

    def shapes(self, input_size, hidden_size):
        os._exit(7)

    def equations(self, wx, wh, prev):
        return State(h=wx.n + wh.n)


class Raises(Dies):
    def shapes(self, input_size, hidden_size):
        raise RuntimeError("no shapes")
"""


@pytest.fixture(scope="module")
def elman():
    return facts("elman")


@pytest.fixture
def folder(tmp_path, elman):
    """A folder with the baseline of elman, and nothing else."""
    write(tmp_path / "baselines", Baseline("elman", versions(), rounded(elman)))
    return tmp_path / "baselines"


@pytest.fixture
def run(folder, monkeypatch):
    """Runs the command over a zoo of the cells given, with the facts given; returns the exit code."""

    def run(*arguments, **found):
        monkeypatch.setattr(command, "zoo", lambda: sorted(found))
        return command.main([*arguments, "--folder", str(folder)], found)

    return run


def changed(found, path, value):
    """A copy with one number changed, or taken out where the value is None."""
    found = copy.deepcopy(found)
    *above, last = path
    place = found
    for name in above:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value(place[last])
    return found


# allocations


def test_the_arrays_of_known_work_are_counted_exactly():
    assert allocations(lambda: [np.empty(1000), np.empty(500, np.float32)]).count == 2
    both = allocations(lambda: [np.empty(1000), np.empty(500, np.float32)])
    assert (both.total_bytes, both.peak_bytes, both.numba) == (10_000, 10_000, 0)
    in_turn = allocations(lambda: [np.empty(1000).size, np.empty(500, np.float32).size])
    assert (in_turn.count, in_turn.total_bytes, in_turn.peak_bytes) == (2, 10_000, 8_000)


def test_one_array_more_in_a_thousand_is_seen():
    a = np.ones(64)
    fewer, more = (allocations(lambda n=n: [a + a for _ in range(n)] and None) for n in (1000, 1001))
    assert (more.count - fewer.count, more.total_bytes - fewer.total_bytes) == (1, 512)


def test_what_is_freed_later_and_what_was_there_before_does_no_harm():
    before = np.ones(1000)
    kept = []
    allocations(lambda: kept.append(before * 2))
    assert allocations(lambda: before.sum()).peak_bytes < 100
    assert all((array == 2).all() for array in kept)
    kept.clear()


def test_numpy_s_own_allocator_is_back_after_an_error():
    from numpy._core.multiarray import get_handler_name

    calls = []

    def second_call_fails():
        calls.append(get_handler_name())
        if len(calls) == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        allocations(second_call_fails)
    assert calls == ["default_allocator", "cellbench"] and get_handler_name() == "default_allocator"


def test_numba_s_runtime_is_counted():
    import numba

    @numba.njit
    def makes(n):
        total = 0.0
        for k in range(n):
            total += np.ones(k + 1).sum()
        return total

    assert allocations(lambda: makes(5)).numba == allocations(lambda: makes(4)).numba + 1


# what is recorded


def test_facts_are_the_same_each_time_and_survive_json(elman):
    again = facts("elman")
    assert leaves(json.loads(json.dumps(again))) == leaves(elman)


def test_counts_are_those_counted_by_hand(elman):
    counts = elman["counts"]["I=3 H=8"]
    assert (counts["parameters"], counts["state"]) == (8 * 3 + 8 * 8 + 8 + 8, {"h": 8})
    assert counts["forward_flop"] == 2 * 8 * (3 + 8) + 8 + 8 + 8 + 8  # products; two biases, their sum, tanh
    assert counts["shapes"] == {"weight_ih": "8x3", "weight_hh": "8x8", "bias_ih": "8", "bias_hh": "8"}


def test_every_backend_has_an_error_and_it_is_no_zero(elman):
    assert set(elman["error"]) == set(cells.backend_names())
    there = {name: e for name, e in elman["error"].items() if not isinstance(e, str)}  # a reason why not
    assert {"numpy", "numba", "torch", "native"} <= set(there)
    assert all(0 < error < 1e-5 for error in there.values())


def test_the_loss_curve_has_twenty_updates_and_falls(elman):
    losses = elman["loss"]["updates"]
    assert len(losses) == 20 and np.mean(losses[-5:]) < np.mean(losses[:5])


def test_every_cell_of_the_zoo_has_a_readable_baseline():
    assert sorted(read(Path(cells.__file__).resolve().parent.parent / FOLDER)) == zoo()


# what differs

RED = {
    "a parameter more": (("counts", "I=3 H=8", "parameters"), lambda v: v + 1),
    "a state wider": (("counts", "I=3 H=8", "state", "h"), lambda v: v + 1),
    "an operation more": (("counts", "I=16 H=16", "backward_flop"), lambda v: v + 1),
    "an array transposed": (("counts", "I=3 H=8", "shapes", "weight_ih"), lambda v: "3x8"),
    "a size that fits no more": (("counts", "I=3 H=8"), lambda v: "unfit: no"),
    "a size left out": (("counts", "I=3 H=8"), None),
    "an array more": (("allocations", "numpy", "count"), lambda v: v + 1),
    "a byte more at once": (("allocations", "numba", "peak_bytes"), lambda v: v + 1),
    "an array less": (("allocations", "numba", "numba"), lambda v: v - 1),
    "a tenfold error": (("error", "numba"), lambda v: 1e-5),
    "an error that is NaN": (("error", "numba"), lambda v: float("nan")),
    "a backend that runs it no more": (("error", "numba"), lambda v: "unsupported"),
    "another rate": (("rate", "value"), lambda v: v * (1 + 3e-6)),
    "a rate that is NaN": (("rate", "value"), lambda v: float("nan")),
    "another form": (("rate", "model"), lambda v: "power law"),
    "another loss": (("loss", "updates"), lambda v: [*v[:7], v[7] * (1 + 3e-6), *v[8:]]),
    "fewer updates": (("loss", "updates"), lambda v: v[:-1]),
    "no updates": (("loss", "updates"), lambda v: []),
    "nothing of a group": (("loss", "updates"), None),
}
GREEN = {
    "nothing": (("rate", "value"), lambda v: v),
    "the last digits of a rate": (("rate", "value"), lambda v: v * (1 + 1e-9)),
    "the last digits of a loss": (("loss", "updates"), lambda v: [x * (1 - 1e-9) for x in v]),
    "another order of BLAS's sums": (("error", "numba"), lambda v: 1.9 * v),
    "a smaller error": (("error", "numba"), lambda v: v / 10),
}


@pytest.mark.parametrize("which", RED)
def test_a_difference_is_red(run, capsys, elman, which):
    path, value = RED[which]
    assert run("--check", elman=changed(elman, path, value)) == 1
    assert f"elman  {' '.join(path)}" in capsys.readouterr().out


@pytest.mark.parametrize("which", GREEN)
def test_what_another_machine_changes_is_not_red(run, elman, which):
    assert run("--check", elman=changed(elman, *GREEN[which])) == 0


def test_the_table_shows_old_and_new_and_of_a_curve_where_it_parts(run, capsys, elman):
    other = changed(changed(elman, *RED["another loss"]), *RED["a parameter more"])
    run("--check", elman=other)
    lines = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()[:3]]
    assert [cell.strip() for cell in lines[0]] == ["cell", "what", "old", "new"]
    assert [cell.strip() for cell in lines[1]] == ["elman", "counts I=3 H=8 parameters", "104", "105"]
    assert lines[2][2].startswith("[7] ") and lines[2][3].startswith("[7] ") and lines[2][2] != lines[2][3]


def test_another_kernel_is_shown_and_is_not_red(run, capsys, elman):
    assert run("--check", elman=changed(elman, ("kernel", "float32"), lambda v: "0123456789ab")) == 0
    assert "for information" in (shown := capsys.readouterr().out) and "0123456789ab" in shown


def test_a_baseline_that_was_emptied_by_hand_is_red(folder, run, elman):
    path = folder / "elman.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": {"I=3 H=8": {}}}))
    assert run("--check", elman=elman) == 1


def test_minus_infinity_is_a_rate_like_any_other(elman):
    finite = changed(elman, ("rate", "value"), lambda v: float("-inf"))
    baseline = Baseline("elman", versions(), json.loads(json.dumps(rounded(finite))))
    assert not compare(baseline, finite, versions()).differences
    assert [d.what for d in compare(baseline, elman, versions()).differences] == ["rate value"]


# cells come and go


def test_a_renamed_cell_is_red_under_both_names(run, capsys, elman):
    assert run("--check", elman2=elman) == 1
    shown = capsys.readouterr().out
    assert "not in the zoo: removed or renamed" in shown and "elman2  the cell  no baseline" in shown


def test_a_cell_without_a_baseline_is_red_and_the_command_is_named(run, capsys, elman):
    assert run("--check", elman=elman, new=elman) == 1
    assert "new   the cell  no baseline  in the zoo" in (shown := capsys.readouterr().out)
    assert "nox -s baselines records it" in shown


def test_a_cell_that_cannot_be_measured_is_red_and_keeps_its_baseline(folder, run, capsys):
    before = (folder / "elman.json").read_text()
    assert run("--check", elman="crashed: exit code 7") == 1
    assert "crashed: exit code 7" in capsys.readouterr().out
    assert run(elman="crashed: exit code 7") == 1
    assert (folder / "elman.json").read_text() == before


def test_a_cell_that_breaks_its_process_leaves_the_others_intact(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    dies, raises = f"{file}:Dies", f"{file}:Raises"
    found = gather([dies, raises, "indrnn"])
    assert found[dies].startswith("crashed: ") and "no shapes" in found[raises]
    assert found["indrnn"]["counts"]["I=3 H=8"]["parameters"] == cells.get("indrnn").parameter_count(3, 8)


# renewal


def test_a_renewal_on_another_machine_changes_no_file(folder, run, elman):
    before = (folder / "elman.json").read_text()
    close = changed(
        changed(elman, *GREEN["the last digits of a loss"]), *GREEN["another order of BLAS's sums"]
    )
    assert run(elman=close) == 0
    assert (folder / "elman.json").read_text() == before


def test_a_renewal_records_what_differs_and_the_check_is_green_again(run, capsys, elman):
    other = changed(elman, *RED["a parameter more"])
    assert run(elman=other, new=elman) == 0
    assert "parameters  104 " in capsys.readouterr().out
    assert run("--check", elman=other, new=elman) == 0


def test_a_renewal_removes_the_baseline_of_a_cell_that_is_gone(folder, run, elman):
    assert run(new=elman) == 0
    assert [p.name for p in folder.iterdir()] == ["new.json"]


def test_of_a_cell_that_is_named_nothing_else_is_compared_or_removed(folder, run, elman):
    assert run("other", elman=elman, other=elman) == 0
    assert sorted(p.stem for p in folder.iterdir()) == ["elman", "other"]
    assert run("--check", "other", elman=changed(elman, *RED["a parameter more"]), other=elman) == 0


# versions


def made_with(folder, **other):
    path = folder / "elman.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"made_with": content["made_with"] | other}))


def test_other_versions_are_no_baseline_for_what_depends_on_them(folder, run, capsys, elman):
    made_with(folder, numba="0.1")
    other = changed(elman, *RED["an array less"])
    assert run("--check", elman=other) == 0
    assert (
        f"no baseline for allocations numba: recorded with numba 0.1, here {versions()['numba']}"
        in capsys.readouterr().out
    )
    assert (
        run("--check", elman=changed(elman, *RED["an array more"])) == 1
    )  # of NumPy's, whose version is the same


def test_counts_and_errors_are_compared_whatever_the_versions(folder, run, elman):
    made_with(folder, python="3.99", numpy="9.9", numba="9.9", torch="9.9")
    assert run("--check", elman=elman) == 0
    for which in ("a parameter more", "a tenfold error"):
        assert run("--check", elman=changed(elman, *RED[which])) == 1


def test_a_renewal_with_other_versions_takes_what_depends_on_them(elman):
    old = Baseline("elman", versions() | {"numba": "0.1"}, rounded(elman))
    new = changed(elman, *RED["an array less"])
    assert renewed(old, new, versions())["allocations"]["numba"] == new["allocations"]["numba"]


def test_a_backend_that_is_unavailable_here_is_not_compared(run, capsys, elman):
    assert run("--check", elman=changed(elman, ("error", "native"), lambda v: "unavailable")) == 0
    assert "error native: the backend is unavailable here" in capsys.readouterr().out


# nothing compared, and bad input


def test_nothing_to_compare_with_is_exit_code_3(folder, run, capsys, elman):
    (folder / "elman.json").unlink()
    assert run("--check", elman=elman) == 3
    folder.rmdir()
    assert run("--check", elman=elman) == 3
    assert "nothing was compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, content",
    [
        ("elman.json", ""),
        ("elman.json", "{"),
        ("elman.json", "[]"),
        ("elman.json", '{"schema": 1, "cell": "elman"}'),
        ("elman.json", '{"schema": 2, "cell": "elman"}'),
        ("elman.json", '{"schema": 1, "cell": "' + "x" * 9999 + '"}'),
        ("gru.json", None),
        ("notes.txt", "x"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_and_is_exit_code_2(folder, run, capsys, elman, name, content):
    text = (folder / "elman.json").read_text() if content is None else content
    (folder / name).write_text(text)
    with pytest.raises(BaselineError, match=name):
        read(folder)
    assert run("--check", elman=elman) == run(elman=elman) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(name in line and len(line) < 1100 for line in lines)


@pytest.mark.parametrize("arguments, said", [(["elmann"], "did you mean 'elman'"), (["--chekc"], "--chekc")])
def test_bad_input_is_one_line_and_exit_code_2(run, capsys, elman, arguments, said):
    assert run(*arguments, elman=elman) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_control_characters_in_a_baseline_reach_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "zoo", lambda: ["elman"])
    groups = ("allocations", "counts", "error", "kernel", "loss", "rate")
    known = {group: {"a": 1.0} for group in groups}
    write(tmp_path, Baseline("elman", {"python": "3"}, known | {"counts": {"\x1b]0;x\x07": 2.0}}))
    assert command.main(["--check", "elman", "--folder", str(tmp_path)], {"elman": known}) == 1
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed and "\x07" not in printed and "\\x1b" in printed
