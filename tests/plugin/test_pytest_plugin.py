"""The pytest plugin in a user's suite: a repository whose functions changed since its commit."""

import json
import subprocess
import sys

import pytest
import scipy.special  # noqa: F401  here, since pytester forgets what its runs import, and NumPy loads only once
from support.judges import HERE, REAL

from cellbench import harness
from cellbench.harness.cli import main
from cellbench.harness.measure.judge import Judgement
from cellbench.harness.measure.verdict import Verdict
from cellbench.harness.plugin.gate import among

pytest_plugins = "pytester"

OLD = {
    "kern/__init__": "",
    "kern/inner": "AGE = 'old'\ndef total(n):\n    return sum(range(n))\n",
    "kern/gone": "AGE = 'old'\n",
    "kern/work": (
        """
        import importlib
        import kern.inner
        import kern.inner as inner
        from . import inner as relative
        from kern.inner import AGE, total

        def ages():
            from kern import inner as late
            import kern.gone
            return [kern.inner.AGE, kern.gone.AGE, inner.AGE, relative.AGE, AGE, late.AGE]

        def summed(n):
            return total(n)

        class Kept:
            @staticmethod
            def inside():
                return 1
    """
    ),
    "kern/mixed": (
        "import importlib\nother = importlib.import_module('kern.late')\ndef function():\n    pass\n"
    ),
    "kern/late": "",
    "cell": (
        """
        from cellbench.cells import GatedCell, State, tanh

        class Mine(GatedCell):
            gates, states = ("n",), ("h",)

            def equations(self, wx, wh, prev):
                return State(h=tanh(wx.n + wh.n))
    """
    ),
}
NEW = OLD | {
    "kern/inner": "AGE = 'new'\ndef total(n):\n    return sum(range(n)) + sum(range(n)) - n * (n - 1) // 2\n",
    "kern/gone": "AGE = 'new'\n",
    "kern/work": OLD["kern/work"] + "\n        def added():\n            return 1\n",
}
SAID = """
    import pytest
    from cellbench.harness.measure.judge import Judgement
    from cellbench.harness.measure.verdict import Verdict

    class Said:  # the verdict is the new function's name
        def judge(self, pairs):
            name = pairs[0].name.split()[0].partition(":")[2]
            if name == "wrong":
                return [Judgement(pairs[0].name, Verdict.INVALID, "wrong: off by 1", status="wrong")]
            return [Judgement(pairs[0].name, Verdict(name), "so it is said", p=1e-9)]

    @pytest.fixture(scope="session")
    def cellbench_judge():
        return Said()
"""


@pytest.fixture(autouse=True)
def without_hydra_s_plugin(pytester, monkeypatch):
    """Each run of pytest would import it for a second; nothing here asks for it."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hydra_pytest")


@pytest.fixture
def suite(pytester):
    """A repository with NEW in its working tree; suite(test functions, conftest) writes its tests."""
    pytester.makepyfile(**OLD)
    for command in ("init -q", "add -A", "-c user.name=n -c user.email=e commit -q -m one"):
        subprocess.run(["git", *command.split()], cwd=pytester.path, check=True)
    pytester.makepyfile(**NEW)
    pytester.syspathinsert()

    def write(tests, conftest=HERE):
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_gates=tests)
        return pytester

    return write


def judged(pytester, *options, code=None, apart=False):
    """What the plugin writes of a run, by test; apart: in a process of its own."""
    run = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
    done = run("--cellbench-compare=HEAD", "--cellbench-json=judged.json", *options)
    assert code is None or done.ret == code, done.stdout.str()
    found = json.loads((pytester.path / "judged.json").read_text())["judgements"]
    return done, {one["test"].partition("::")[2]: one for one in found}


def one_line_error(done):
    said = [line for line in done.stderr.lines if line.startswith("ERROR: ")]
    assert done.ret == pytest.ExitCode.USAGE_ERROR and len(said) == 1, done.stderr.str()
    return said[0]


def test_a_function_that_takes_twice_as_long_as_at_the_revision_is_red(suite):
    pytester = suite(
        "from kern import work\n\ndef test_sum(cellbench):\n"
        "    cellbench.not_slower_than_base(work.summed, args=(5_000,), equal='operator:eq')",
        REAL,
    )
    done, found = judged(pytester, code=1, apart=True)
    assert found["test_sum"]["effect"]["estimate"] > 0.5
    assert found["test_sum"]["verdict"] in (
        "SLOWER",
        "UNSURE",
        "INVALID",
    )  # the last two where other work loads the machine
    done.stdout.fnmatch_lines(
        ["E*AssertionError: *: kern.work:summed against HEAD *", "*again: pytest *HEAD"]
    )
    done.stdout.fnmatch_lines(["*= cellbench: base HEAD is *", "*: *test_sum: kern.work:summed*"])


def test_each_side_has_the_modules_of_its_own_revision_however_they_are_imported(suite):
    tests = """
        from kern import work

        def apart(before, now):
            assert before == ["old"] * 6 and now == ["new"] * 6, (before, now)

        def test_ages(cellbench):
            cellbench.not_slower_than_base(work.ages, equal=apart)

        def test_method(cellbench):
            cellbench.not_slower_than_base(work.Kept.inside)

        def five():
            return (5,)

        def ten(before, now):
            return before == now == 10

        def test_setup(cellbench):
            cellbench.not_slower_than_base(work.summed, setup=five, equal=ten)

        def test_named(cellbench):
            cellbench.not_slower_than_base("kern.work:summed", kwargs={"n": 5}, equal="test_gates:ten")

        def never(before, now):
            assert before == now

        def test_differing(cellbench):
            cellbench.not_slower_than_base(work.ages, equal=never)
    """
    _, found = judged(suite(tests))
    ok = [name for name, one in found.items() if one["status"] == "ok"]
    assert ok == ["test_ages", "test_method", "test_setup", "test_named"]
    assert found["test_differing"]["status"] == "wrong"
    assert found["test_differing"]["outcome"] == "not met" and "old" in found["test_differing"]["reason"]


def test_what_the_revision_lacks_or_would_mix_is_no_baseline_and_red(suite):
    tests = """
        from kern import mixed, work

        def here():
            pass

        def test_added(cellbench):
            cellbench.not_slower_than_base(work.added)

        def test_file(cellbench):
            cellbench.not_slower_than_base(here)

        def test_mixed(cellbench):
            import sys
            del sys.modules["kern.late"]  # as in a fresh process
            cellbench.not_slower_than_base(mixed.function)
    """
    done, found = judged(suite(tests), code=1)
    done.assert_outcomes(failed=3)
    assert {(one["verdict"], one["status"], one["outcome"]) for one in found.values()} == {
        ("INVALID", "no baseline", "cannot tell")
    }
    reasons = [one["reason"] for one in found.values()]
    assert (
        "has no added" in reasons[0]
        and "there is no test_gates.py at HEAD" in reasons[1]
        and "kern.late" in reasons[2]
    )
    assert (
        judged(suite(tests), "--cellbench-unsure=skip")[0].ret == pytest.ExitCode.NO_TESTS_COLLECTED
    )  # nothing was measured


def test_a_cell_is_compared_with_its_file_at_the_revision(suite):
    tests = """
        import cell

        SMALL = dict(backend="numpy", steps=3, batch=2, input_size=4, hidden_size=4)

        def test_path(cellbench):
            cellbench.cell_not_slower_than_base("cell.py:Mine", **SMALL)

        def test_class(cellbench):
            cellbench.cell_not_slower_than_base(cell.Mine, **SMALL)

        def test_new_name(cellbench):
            cellbench.cell_not_slower_than_base("newer.py:Mine", **SMALL)
    """
    pytester = suite(tests)
    pytester.makepyfile(newer=OLD["cell"])
    _, found = judged(pytester)
    assert [one["status"] for one in found.values()] == ["ok", "ok", "no baseline"]
    assert found["test_class"]["name"] == "cell.py:Mine against HEAD"
    pytester.runpytest_inprocess().assert_outcomes(skipped=3)


GATES = """
    def SAME(): pass
    def FASTER(): pass
    def SLOWER(): pass
    def UNSURE(): pass
    def INVALID(): pass
    def wrong(): pass

    import pytest
    FUNCTIONS = [SAME, FASTER, SLOWER, UNSURE, INVALID, wrong]
    EACH = pytest.mark.parametrize("new", FUNCTIONS, ids=lambda f: f.__name__)

    @EACH
    def test_not_slower(cellbench, new):
        cellbench.not_slower(new, than=SAME)

    @EACH
    def test_faster(cellbench, new):
        cellbench.faster(new, than=SAME)

    @EACH
    def test_same(cellbench, new):
        cellbench.same(SAME, new)
"""


@pytest.mark.quick
@pytest.mark.parametrize(
    "unsure, outcomes",
    [("fail", {"failed": 14}), ("skip", {"failed": 8, "skipped": 6}), ("xfail", {"failed": 8, "xfailed": 6})],
)
def test_only_what_was_wanted_and_could_be_told_is_green(suite, unsure, outcomes):
    done = suite(GATES, SAID).runpytest_inprocess(f"--cellbench-unsure={unsure}")
    done.assert_outcomes(passed=4, **outcomes)
    done.stdout.fnmatch_lines(
        ["met: *test_not_slower?SAME?*", "not met: *test_faster?SAME?*", "cannot tell: *test_same?UNSURE?*"]
    )


def test_without_a_revision_the_function_runs_once_and_the_test_is_skipped(suite):
    tests = """
        from pathlib import Path

        def counted():
            with Path("ran").open("a") as file:
                file.write("x")

        def test_counted(cellbench):
            cellbench.not_slower_than_base(counted)
    """
    pytester = suite(tests)
    done = pytester.runpytest_inprocess("-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*ran once, not measured: --cellbench-compare=REV *"])
    assert (pytester.path / "ran").read_text() == "x"


REFUSED = {
    "lambda: 1": "*<lambda>*stands by its name*",
    "inner()": "*<locals>*stands by its name*",
    "functools.partial(sorted, [1])": "*no function by name*",
    "steps": "*does no work when it is called*",
    "'kern.work:nothing'": "*could not find kern.work:nothing*",
    "'kern.inner:AGE'": "*str*cannot be called*",
    "sorted, args=(lambda: 1,)": "*cannot be pickled*setup=FUNCTION*",
    "sorted, args=[1]": "*must be a tuple*",
    "sorted, args=(1,), setup=sorted": "*give one of them*",
}


def test_what_fresh_processes_could_not_run_is_refused_in_one_line(suite):
    calls = "\n".join(
        f"def test_{n}(cellbench):\n    cellbench.same(sorted, {call})\n" for n, call in enumerate(REFUSED)
    )
    tests = (
        "import functools\ndef inner():\n    def local(): pass\n    return local\ndef steps():\n   "
        f" yield\n{calls}"
    )
    done = suite(tests, SAID).runpytest_inprocess()
    done.assert_outcomes(failed=len(REFUSED))
    errors = [line for line in done.stdout.lines if line.startswith("E  ")]
    assert len(errors) == len(REFUSED) and all("GateError: " in line for line in errors), errors
    for pattern in REFUSED.values():
        done.stdout.fnmatch_lines([f"E  {pattern}"])
    assert not any(
        "functions.py" in line for line in done.stdout.lines
    )  # pytest shows the line of the test, not ours


@pytest.mark.parametrize(
    "options, names",
    [
        (["--cellbench-compare=nowhere"], "--cellbench-compare=nowhere is no revision of"),
        (["--cellbench-compare=HEAD", "-n2"], "2 workers of pytest-xdist"),
        (["--cellbench-json=no/folder/file.json"], "there is no folder no/folder"),
    ],
    ids=["revision", "workers", "folder"],
)
def test_an_option_that_cannot_be_followed_is_one_line_and_a_usage_error(suite, options, names):
    assert names in one_line_error(suite(GATES, SAID).runpytest_inprocess(*options))


@pytest.mark.parametrize(
    "option", ["--cellbench-processes=2", "--cellbench-budget=nan", "--cellbench-unsure=green"]
)
def test_an_impossible_number_is_a_usage_error_that_names_it(suite, option):
    done = suite(GATES, SAID).runpytest_inprocess(option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert option.partition("=")[0] in done.stderr.str() and option.partition("=")[2] in done.stderr.str()


def test_outside_of_git_a_revision_is_a_usage_error(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    assert "lies in no git repository" in one_line_error(
        pytester.runpytest_inprocess("--cellbench-compare=HEAD")
    )


def test_a_comparison_that_measured_nothing_is_not_green(suite):
    pytester = suite("def test_other():\n    pass\n")
    done = pytester.runpytest_inprocess("--cellbench-compare=HEAD")
    done.assert_outcomes(passed=1)
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    done.stdout.fnmatch_lines(["nothing was measured against HEAD*"])
    assert (
        pytester.runpytest_inprocess().ret == 0
        and pytester.runpytest_inprocess("--cellbench-compare=HEAD", "--co").ret == 0
    )


def test_one_worker_of_xdist_measures_and_two_say_that_they_did_not(suite):
    tests = (
        "from kern import work\n\ndef test_added(cellbench):\n   "
        " cellbench.not_slower_than_base(work.added)\n"
    )
    done, found = judged(suite(tests), "-n1", "--cellbench-unsure=xfail", apart=True)
    assert found["test_added"]["status"] == "no baseline"
    done = suite(tests).runpytest_subprocess("-n2", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*not measured: 2 workers of pytest-xdist disturb each other*"])


def test_gates_carry_a_marker_that_selects_them(suite):
    pytester = suite(GATES + "\n    def test_other():\n        pass\n", SAID)
    pytester.runpytest_inprocess("--strict-markers", "-m", "not cellbench").assert_outcomes(
        passed=1, deselected=18
    )


def test_a_change_must_stand_among_all_tests_that_gate():
    change = Judgement("f", Verdict.SLOWER, "so it is", p=0.004)
    assert among(change, 12) is change
    assert among(change, 13).verdict is Verdict.UNSURE and "13 tests" in among(change, 13).reason


ENDS = """
    import os, sys

    def test_left():
        os._exit(0)

    def test_replaced():
        os.execlp("true", "true")

    def test_exited():
        sys.exit(0)

    def test_raised():
        raise BaseException

    def test_child():
        if os.fork() == 0:  # which may end as it likes
            os._exit(0)
        assert os.wait()[1] == 0
"""
EXIT_OF_C = "import ctypes\n    ctypes.CDLL(None).exit(0)"
LEAVE_BY_C = (  # which ctypes does not look up by its name
    "import ctypes\n    ctypes.CFUNCTYPE(None, ctypes.c_int)(('_exit', ctypes.CDLL(None)))(0)"
)
# these are told where a gate or its file is asked for: then a parent process has the last word
BEYOND = {
    "_exit of C": (LEAVE_BY_C, "*ended with exit code 0 before its last line*"),
    "at the exit": ("import atexit, os\n    atexit.register(os._exit, 0)\n    assert False", "*"),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the names are those of Linux")
def test_what_ends_a_process_at_once_of_the_c_library_fails_the_test_that_calls_it(pytester):
    calls = ["_exit(0)", "quick_exit(0)", "_Exit(ctypes.c_int(256))", "execl(b'/bin/true', b'true', None)"]
    tests = [f"def test_{n}():\n    ctypes.CDLL(None).{call}\n" for n, call in enumerate(calls)]
    child = "def test_child():\n    if os.fork() == 0:\n        ctypes.CDLL(None).quick_exit(0)\n"
    pytester.makepyfile(
        "import ctypes, os\n\n" + "\n".join([*tests, child, "    assert os.wait()[1] == 0\n"])
    )
    done = pytester.runpytest_subprocess()
    done.assert_outcomes(failed=len(calls), passed=1)
    done.stdout.fnmatch_lines(["*EndedProcess: quick_exit of the C library would have ended pytest*"])


def test_what_ends_the_interpreter_in_a_test_fails_that_test_alone(pytester):
    pytester.makepyfile(test_ends=ENDS, test_import="import os\nos._exit(0)")
    done = pytester.runpytest_subprocess("--continue-on-collection-errors")
    done.assert_outcomes(failed=4, passed=1, errors=1)
    assert done.ret == 1
    done.stdout.fnmatch_lines_random(
        [
            "*EndedProcess: os._exit(0) would have ended pytest*",
            "*EndedProcess: os.execv*('/*true') would have put another program in pytest's place*",
        ]
    )


@pytest.mark.parametrize("way", BEYOND)
def test_a_session_of_gates_is_green_by_its_own_last_line_alone(pytester, way):
    text, line = BEYOND[way]
    pytester.makepyfile(f"def test_one():\n    {text}")
    pytester.makeconftest(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    done = pytester.runpytest_subprocess("--cellbench-json=judged.json")
    assert done.ret == 1
    done.stderr.fnmatch_lines([line])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of real time are Linux's")
@pytest.mark.parametrize(
    "where, options", [("a test", ()), ("a conftest", ("--cellbench-json=judged.json",))]
)
def test_exit_of_the_c_library_is_never_green_and_is_told_with_its_place(pytester, where, options):
    if where == "a conftest":
        pytester.makeconftest(f"def end():\n    {EXIT_OF_C}\n\nend()")
    else:
        pytester.makepyfile(f"def test_one():\n    {EXIT_OF_C}")
    done = pytester.runpytest_subprocess(*options)
    assert done.ret not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    done.stderr.fnmatch_lines(["cellbench: a test called exit of the C library*", "*line 3 in *"])


def test_a_process_that_pytest_forked_may_end_as_the_c_library_does(pytester):
    pytester.makepyfile(
        "import ctypes, os\n\ndef test_child():\n    if os.fork() == 0:\n        ctypes.CDLL(None).exit(0)\n"
        "    assert os.wait()[1] == 0\n"
    )
    done = pytester.runpytest_subprocess()
    assert done.ret == 0
    assert "exit of the C library" not in done.stderr.str()


def test_a_conftest_that_ends_the_interpreter_is_a_usage_error(pytester):
    pytester.makeconftest("import sys\nsys.exit(0)")
    done = pytester.runpytest_subprocess()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: a conftest.py ends the interpreter: sys.exit(0) (conftest.py:2)"])


def test_a_file_that_is_edited_while_its_gate_measures_is_never_green(suite):
    pytester = suite(
        """
        import pathlib
        from kern import work

        def edits():
            pathlib.Path(work.__file__).write_text(pathlib.Path(work.__file__).read_text() + "\\n")
            return (5,)

        def test_sum(cellbench):
            cellbench.same(work.summed, work.summed, setup=edits)
    """
    )
    found = judged(pytester, code=1)[1]
    assert found["test_sum"]["status"] == "failed"
    assert "work.py changed while it was measured; measure anew" in found["test_sum"]["reason"]


@pytest.mark.quick
def test_pytest_loads_the_plugin_and_nothing_heavy_with_it(pytester):
    pytester.makepyfile(
        "import sys\n\ndef test_modules():\n    assert 'cellbench.harness.plugin.hooks' in sys.modules\n   "
        " heavy = {'numpy', 'psutil', *(f'cellbench.{n}' for n in ('cells', 'harness.measure',"
        " 'harness.plugin.gate'))}\n    assert not heavy & set(sys.modules)\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "save", ["--benchmark-json=b.json", "--benchmark-save=b", "--benchmark-save=b --benchmark-save-data"]
)
def test_what_pytest_benchmark_writes_is_imported_under_its_names(pytester, capsys, monkeypatch, save):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # in whose processes it measures nothing
    pytester.makepyfile(
        test_speed=(
            "import pytest\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_sum(benchmark, n):\n   "
            " benchmark.extra_info.update(steps='many', threads=[1])\n    benchmark.pedantic(sum,"
            " args=([n],), rounds=5)\n"
        )
    )
    pytester.runpytest_inprocess(*save.split()).assert_outcomes(passed=2)
    [file] = [*pytester.path.glob("b.json"), *pytester.path.glob(".benchmarks/*/*_b.json")]
    assert main(["import", str(file), "--results", "runs"]) == 0
    frame = harness.load("runs")
    assert set(frame.variant) == {"test_speed.py::test_sum[1]", "test_speed.py::test_sum[2]"}
    assert (frame.groupby("variant").value.count() == (3 if save == "--benchmark-save=b" else 5)).all() and (
        frame.value > 0
    ).all()
    text = file.read_text()
    for damaged in (
        text[: len(text) // 2],
        text.replace('"fullname": "test_speed', '"fullname": 3, "was": "'),
        "",
    ):
        file.write_text(damaged)
        capsys.readouterr()
        assert main(["import", str(file), "--results", "other"]) == 2
        error = capsys.readouterr().err
        assert file.name in error and error.count("\n") == 1
    assert not (pytester.path / "other").exists()


def test_benchmarks_of_one_name_and_impossible_times_are_refused(tmp_path, capsys):
    def imported(*benchmarks):
        (tmp_path / "b.json").write_text(
            json.dumps({"benchmarks": [{"extra_info": {}, **b} for b in benchmarks]})
        )
        return main(["import", str(tmp_path / "b.json"), "--results", str(tmp_path / "runs")])

    good = {"fullname": "a", "stats": {"data": [1.0]}}
    assert imported(good, good | {"fullname": "b"}) == 0
    assert imported(good, good) == 2 and "'a' more than once" in capsys.readouterr().err
    for data in (["1"], [float("nan")], [-1.0], "12"):
        assert imported(good | {"stats": {"data": data}}) == 2
