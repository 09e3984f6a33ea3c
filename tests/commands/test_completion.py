"""What the shell offers after a part of a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from cellbench.harness.cli import main, names

pytestmark = pytest.mark.quick


def offered(line, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["--complete"]) == 0
    return set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cellbench re", {"regress", "report"}),
        ("cellbench --v", {"--version"}),
        ("cellbench list ta", {"tasks"}),
        ("cellbench show lstm --ker", {"--kernel"}),
        ("cellbench run workload.b", {"workload.batch="}),
        ("cellbench run experiment=q", {"experiment=quick"}),
        ("cellbench run cells=ls", {"cells=lstm"}),
        ("cellbench run probes=[throughput,lat", {"probes=[throughput,latency"}),
        ("cellbench foo ", set()),
        ("cellbench list qqq", set()),
    ],
)
def test_the_last_word_is_completed(line, words, monkeypatch, capsys):
    assert offered(line, monkeypatch, capsys) == words


def test_all_commands_are_offered_first_and_what_is_behind_the_cursor_does_not_count(monkeypatch, capsys):
    assert offered("cellbench ", monkeypatch, capsys) == {*names(), "--help", "--version"}
    monkeypatch.setenv("COMP_LINE", "cellbench ex --help")
    monkeypatch.setenv("COMP_POINT", "12")
    assert main(["--complete"]) == 0 and capsys.readouterr().out == "export\n"


@pytest.mark.parametrize(
    ("line", "breaks", "replies"),
    [
        ("cellbench hi", "=", "history\n"),
        ("cellbench run experiment=q", " =:", "quick\n"),  # bash replaces what stands behind the =
        ("cellbench run experiment=q", "", "experiment=quick\n"),  # as in zsh
        ("cellbench run workload.b", " =:", "workload.batch=\n"),
    ],
)
def test_bash_completes_with_the_script_that_is_printed(line, breaks, replies, tmp_path):
    program = Path(sys.executable).with_name("cellbench")
    script = f"""
        eval "$({program} --completion)"
        cellbench() {{ {program} "$@"; }}
        COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDBREAKS='{breaks}'
        _cellbench
        echo "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, replies, "")
