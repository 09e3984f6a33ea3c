"""The outputs of a comparison: none of them may say that all is well where the exit code does not."""

import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from cellbench.harness.measure.bootstrap import Interval
from cellbench.harness.measure.conditions import Warned, Warning
from cellbench.harness.measure.judge import Judgement
from cellbench.harness.measure.verdict import Verdict
from cellbench.harness.regress import outputs
from cellbench.harness.regress.benchmarks import Comparison, Fact
from cellbench.harness.regress.outputs.grid import grid

pytestmark = pytest.mark.quick

LOADED = Warned(Warning.LOAD, "other work loads this machine")
KINDS = {
    "same": Judgement("gru same", Verdict.SAME, "+0.1 %, below 1.5 %", Interval(0.001, -0.002, 0.004), 5),
    "faster": Judgement("gru faster", Verdict.FASTER, "confirmed", Interval(-0.05, -0.06, -0.04), 5, 5),
    "slower": Judgement(
        "gru slower",
        Verdict.SLOWER,
        "confirmed",
        Interval(0.05, 0.04, 0.06),
        5,
        5,
        1e-4,
        "ok",
        9.5,
        (LOADED,),
    ),
    "unsure": Judgement(
        "gru unsure", Verdict.UNSURE, "the interval is too wide", Interval(0.02, -0.03, 0.07), 10
    ),
    "invalid": Judgement(
        "gru invalid", Verdict.INVALID, "a second instance of A differs", Interval(0.1, 0.0, 0.2), 10
    ),
    "wrong": Judgement("gru wrong", Verdict.INVALID, "wrong: output is off", status="wrong"),
    "crashed": Judgement("gru crashed", Verdict.INVALID, "crashed: SIGSEGV", status="crashed"),
    "unavailable": Judgement("gru unavailable", Verdict.INVALID, "no environment", status="unavailable"),
}
CODES = {
    "same": 0,
    "faster": 0,
    "slower": 1,
    "unsure": 3,
    "invalid": 3,
    "wrong": 1,
    "crashed": 1,
    "unavailable": 3,
}
ACTIONS = {"GITHUB_ACTIONS": "true"}
NASTY = "a|b <i>&amp; `c` \"d\" 'e' 100 %: x, y %0A ]]> ::error::\x1b[31m \N{SNOWMAN}\nnext"


def comparison(*kinds, **more):
    judgements = tuple(KINDS[kind] for kind in kinds)
    commands = {j.name: f"cellbench regress base=main 'cells=[{j.name.split()[1]}]'" for j in judgements}
    return Comparison("working tree against main", "main", "working tree", judgements, commands, **more)


ALL = [
    *(comparison(*kinds) for n in (0, 1, 2) for kinds in itertools.combinations(KINDS, n)),
    comparison("same", missing=("lstm numba: gone",)),
    comparison(missing=("lstm numba: gone",)),
    comparison("same", facts=(Fact("parameters", "100", "101"),)),
    comparison("same", facts=(Fact("hash", "a", "b", gated=False),)),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_exit_code_of_a_single_benchmark(kind):
    assert outputs.exit_code(comparison(kind)) == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_benchmark_that_is_fine_hides_no_other(kind):
    assert outputs.exit_code(comparison("same", kind, "faster")) == CODES[kind]


def test_a_failure_goes_before_what_cannot_be_told():
    assert outputs.exit_code(comparison("unsure", "slower", "invalid")) == 1


def test_nothing_measured_is_not_fine():
    assert outputs.exit_code(comparison()) == 3
    assert "nothing was measured" in outputs.text(
        comparison()
    ) and "nothing was measured" in outputs.markdown(comparison())


def test_what_is_missing_is_a_failure_even_alone():
    assert (
        outputs.exit_code(comparison("same", missing=("x: renamed",)))
        == outputs.exit_code(comparison(missing=("x",)))
        == 1
    )


def test_a_fact_fails_only_where_it_is_gated():
    assert outputs.exit_code(comparison("same", facts=(Fact("hash", "a", "b", gated=False),))) == 0
    assert outputs.exit_code(comparison("same", facts=(Fact("parameters", "1", "2"),))) == 1


def test_a_broken_benchmark_fails_whatever_its_verdict():
    broken = replace(KINDS["same"], status="crashed")
    assert outputs.exit_code(Comparison("t", "a", "b", (broken,))) == 1
    assert outputs.exit_code(Comparison("t", "a", "b", (replace(broken, status="unavailable"),))) == 3


@pytest.mark.parametrize("found", ALL)
def test_every_form_is_green_just_where_the_exit_code_is_0(found):
    code = outputs.exit_code(found)
    suite = xml.fromstring(outputs.junit(found).encode()).find("testsuite")
    red = len(suite.findall("testcase/failure")) + len(suite.findall("testcase/error"))
    assert (red == 0) == (code == 0)
    assert (len(suite.findall("testcase/failure")) > 0) == (code == 1)
    told = outputs.annotations(found, ACTIONS)
    assert ("::error " in told) == (code == 1) and ("::warning " in told or code != 3)
    assert json.loads(outputs.record(found))["exit_code"] == code
    word = {0: ("OK",), 1: ("REGRESSION", "FAILED"), 3: ("CANNOT TELL",)}[code]
    assert outputs.text(found).splitlines()[-1].startswith(word)
    assert any(w in outputs.markdown(found).splitlines()[0] for w in word)


@pytest.mark.parametrize("found", ALL)
def test_counts_of_the_suite_are_those_of_its_cases(found):
    root = xml.fromstring(outputs.junit(found).encode())
    for suite in (root, root.find("testsuite")):
        cases = list(root.iter("testcase"))
        assert int(suite.get("tests")) == len(cases) > 0
        assert int(suite.get("failures")) == len(list(root.iter("failure")))
        assert int(suite.get("errors")) == len(list(root.iter("error")))


def test_the_text_names_every_benchmark_with_numbers_verdict_and_command():
    found = comparison(*KINDS)
    lines = outputs.text(found).splitlines()
    for j in found.judgements:
        line = next(n for n, text in enumerate(lines) if text.startswith(j.name + " "))
        assert lines[line].rstrip().endswith(j.verdict) or f" {j.verdict} " in lines[line]
        following = "\n".join(lines[line : line + 4])
        assert found.commands[j.name] in following
        assert j.verdict is Verdict.SAME or j.reason in following
    slower = next(text for text in lines if text.startswith("gru slower"))
    assert re.search(r"\+5\.0 %\s+\+4\.0 \.\. \+6\.0\s+5\+5\s+SLOWER", slower)


def test_columns_are_aligned():
    lines = [
        text for text in outputs.text(comparison(*KINDS)).splitlines() if re.match(r"benchmark|gru ", text)
    ]
    verdicts = [*map(str, Verdict), "verdict"]
    ends = {min(text.index(f"  {v}") for v in verdicts if f"  {v}" in text) for text in lines}
    assert len(lines) == len(KINDS) + 1 and len(ends) == 1


@pytest.mark.parametrize("length", [10, 60, 90, 200])
def test_the_text_holds_120_columns_and_loses_nothing(length):
    name = " ".join(["lstm:layers=2", *["T=256"] * length])[:length].strip()
    judgement = replace(KINDS["unsure"], name=name, reason="why " * 60)
    command = "cellbench regress base=main " + " ".join(f"'key{n}=[a b]'" for n in range(length // 4))
    text = outputs.text(
        Comparison("t " * 90, "a", "b", (judgement, KINDS["same"]), {name: command}, notes=("note " * 80,))
    )
    assert max(map(len, text.splitlines())) <= 120
    joined = " ".join(text.replace("\\\n", "").split())
    assert command in joined and joined.count("why") == 60 and joined.count("note") == 80
    assert name.count("T=256") <= text.count("T=256")


def test_the_text_is_plain_and_whole_whatever_the_terminal_is(monkeypatch):
    plain = outputs.text(comparison(*KINDS))
    for variable, value in (("FORCE_COLOR", "1"), ("COLUMNS", "20"), ("TERM", "dumb")):
        monkeypatch.setenv(variable, value)
    assert outputs.text(comparison(*KINDS)) == plain and "\x1b" not in plain


def test_a_grid_loses_nothing_of_a_long_row_and_reads_no_markup():
    long = ["[bold]" + "x" * 300, "[/] :smile:", "a\nb"]
    lines = grid(("name", "value", "more"), [long, ["s", "1", "2"]], right=(1,))
    assert len(lines) == 4 and long[0] in lines[1] and long[1] in lines[1]
    assert lines[1].endswith("a") and lines[2].strip() == "b" and lines[3].split() == ["s", "1", "2"]


def test_a_command_broken_over_lines_is_the_same_to_the_shell():
    command = "cellbench regress base=HEAD~1 " + " ".join(f"'key{n}=[a b, $c]'" for n in range(20))
    text = outputs.text(Comparison("t", "a", "b", (KINDS["same"],), {"gru same": command}))
    start = text.index("$ cellbench") + 2
    pasted = text[start : text.index("\n\n", start)]
    words = [shell(line.replace("cellbench", "printf '%s\\n'", 1)) for line in (pasted, command)]
    assert "\\\n" in pasted and words[0] == words[1] and words[0].count("\n") == 22


def shell(line):
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout


def test_a_warning_is_said_once_with_its_benchmarks_counted():
    found = Comparison(
        "t", "a", "b", tuple(replace(KINDS["same"], name=f"n{k}", warnings=(LOADED,)) for k in range(3))
    )
    assert outputs.text(found).count("other work loads") == 1 and "(3 of 3 benchmarks)" in outputs.text(found)


def test_markdown_has_one_row_a_benchmark_and_nothing_is_read_as_markup():
    judgement = replace(KINDS["slower"], name=NASTY, reason=NASTY)
    found = Comparison(
        NASTY,
        NASTY,
        NASTY,
        (judgement,),
        {NASTY: "run ``` it"},
        (NASTY,),
        (NASTY,),
        NASTY,
        (Fact(NASTY, "1", "2"),),
    )
    page = outputs.markdown(found)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 6 and len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]}) == 1
    outside = re.sub(r"(`{4,})sh\n.*?\1", "", page, flags=re.DOTALL)
    assert "<i>" not in outside and "````sh" in page
    assert re.search(r"<details><summary>.*</summary>\n\n`{4}sh\n.*\n`{4}\n\n</details>", page, re.DOTALL)


def test_junit_of_anything_can_be_read_back():
    judgement = replace(KINDS["slower"], name=NASTY, reason=NASTY)
    found = Comparison(
        NASTY, NASTY, NASTY, (judgement,), {NASTY: NASTY}, (NASTY,), (NASTY,), NASTY, (Fact(NASTY, "1", "2"),)
    )
    suite = xml.fromstring(outputs.junit(found).encode()).find("testsuite")
    assert suite.find("testcase").get("name") == NASTY.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert "\N{SNOWMAN}" in suite.find("testcase/failure").get("message")


def test_an_annotation_is_one_line_and_its_text_comes_back():
    judgement = replace(KINDS["slower"], name=NASTY, reason=NASTY)
    told = outputs.annotations(
        Comparison("t", "a", "b", (judgement,), {NASTY: "run\r\nit"}), ACTIONS
    ).splitlines()
    assert len(told) == 2 and all(
        re.match(r"::(error|warning|notice) title=[^:,\r\n]*::", line) for line in told
    )
    title, message = re.fullmatch(r"::error title=([^:,]*)::(.*)", told[1]).groups()
    assert decoded(title) == f"SLOWER {NASTY}" and decoded(message).endswith(f"{NASTY}\nrun\r\nit")


def decoded(text):
    for code, sign in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_annotations_are_for_github_alone():
    assert (
        outputs.annotations(comparison("slower"), {})
        == outputs.annotations(comparison("slower"), {"GITHUB_ACTIONS": "false"})
        == ""
    )


def test_json_holds_floats_exactly_and_null_for_what_is_not_finite():
    effect = Interval(0.1 + 0.2, float("nan"), float("inf"))
    judgement = replace(KINDS["slower"], effect=effect, p=np.float64(1e-300), timed_s=float("-inf"))
    text = outputs.record(Comparison("t", "a", "b", (judgement,)))
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["benchmarks"][0]
    assert found["effect"] == {"estimate": 0.1 + 0.2, "low": None, "high": None}
    assert found["p"] == 1e-300 and found["timed_s"] is None and found["command"] is None
    assert found["warnings"] == [{"kind": "LOAD", "text": "other work loads this machine"}]


def test_the_names_in_the_json_are_those_of_its_schema():
    found = json.loads(outputs.record(comparison("same", facts=(Fact("f", "1", "2"),))))
    described = outputs.record.__doc__.replace("\n", " ")
    assert found["schema"] == 1 and all(
        re.search(rf"\b{name}\b", described) for name in [*found, *found["benchmarks"][0]]
    )


def test_write_makes_the_folder_and_replaces_what_was_there(tmp_path):
    folder = tmp_path / "a" / "b"
    outputs.write(folder, comparison("slower"))
    paths = outputs.write(folder, comparison("same"))
    assert (
        sorted(p.name for p in paths)
        == sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        == ["junit.xml", "regress.json", "regress.md"]
    )
    assert json.loads((folder / "regress.json").read_text())["exit_code"] == 0


def test_a_write_that_is_cut_off_leaves_the_old_file_whole(tmp_path, monkeypatch):
    outputs.write(tmp_path, comparison("same"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match=r"cannot be written: No space left"):
        outputs.write(tmp_path, comparison("slower"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError) as caught:
        outputs.write(tmp_path / "file" / "folder", comparison("same"))
    assert str(tmp_path / "file") in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_heavy_is_imported_before_a_file_is_written():
    heavy = ("pandas", "scipy", "torch", "numba", "hydra")
    code = f"import sys, cellbench.harness.regress.outputs; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
