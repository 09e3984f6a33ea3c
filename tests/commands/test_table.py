"""Tables of the commands: whole and plain where they are piped, cut to the width of a terminal."""

import pytest

from cellbench.harness.commands._table import print_facts, print_table

pytestmark = pytest.mark.quick

LONG = "word " * 60
ROWS = [("lstm", "1,000", LONG), ("a_longer_name", "7", "short [not markup]")]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal then
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")


def test_piped_a_table_is_plain_whole_and_without_padding(capsys):
    print_table(("name", "count", "what"), ROWS, numbers=["count"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [" ".join(row).split() for row in ROWS]
    assert lines[0].split() == ["name", "count", "what"] and not any("\x1b" in line for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert lines[1].index("1,000") + len("1,000") == lines[2].index("7") + 1  # set right


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_bold_names_and_cuts_the_last_column(capsys):
    print_table(("name", "count", "what"), ROWS, numbers=["count"])
    head, first, second = capsys.readouterr().out.splitlines()
    assert "\x1b[1m" in head and "\x1b" not in first + second
    assert len(first) == 60 and first.endswith("…") and second.endswith("short [not markup]")


def test_piped_facts_stand_beside_their_names_unbroken(capsys):
    print_facts([("cpu", ["one", LONG.strip()]), ("a wide name", [])], 6)
    assert capsys.readouterr().out == f"cpu    one\n       {LONG.strip()}\n"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_wraps_facts_beside_their_names(capsys):
    print_facts([("cpu", [LONG])], 6)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("\x1b[1mcpu") and len(rest) > 4
    assert all(line.startswith(" " * 7) and len(line) <= 60 for line in rest)
