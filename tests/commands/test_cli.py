"""The command line: commands are found and answer --help; a wrong word names the nearest right one."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cellbench.harness import cli, commands, store
from cellbench.harness.cli import main
from cellbench.harness.commands import list as listing

pytestmark = pytest.mark.quick

COMMANDS = [
    "check",
    "claims",
    "compare",
    "data",
    "doctor",
    "export",
    "history",
    "import",
    "init",
    "list",
    "pack",
    "publish",
    "regress",
    "report",
    "run",
    "show",
    "sweeps",
]


def refused(capsys, *arguments):
    """The one line on standard error of a command line that is refused."""
    code = main(list(arguments))
    printed = capsys.readouterr()
    assert code == 2 and printed.out == "" and printed.err.startswith("cellbench: ")
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


def helped(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


WRONG = [
    "run --pla",
    "rum",
    "report nowhere",
    "data fetch adding",
    "import no.json",
    "run resume=nowhere",
    "list cell",
    "list cells tasks",
    "report --output /dev/null/x",
    "compare a:b --json x.json",
    "compare a b --output x",
    "regress base=main --output=",
    "--results x",
]


@pytest.mark.parametrize("arguments", [text.split() for text in WRONG], ids=WRONG)
def test_a_wrong_command_is_one_line_and_exit_code_2(capsys, arguments):
    refused(capsys, *arguments)


NEAREST = {
    "rnu": "unknown command 'rnu'; did you mean 'run'?",
    "rnu --help": "unknown command 'rnu'; did you mean 'run'?",
    "--versoin": "unknown flag '--versoin'; did you mean '--version'?",
    "run --pla": "unknown flag '--pla'; did you mean '--plan'?",
    "run cells=[gru] --multrun": "unknown flag '--multrun'; did you mean '--multirun'?",
    "regress base=main --ouput=x": "unknown flag '--ouput'; did you mean '--output'?",
    "compare numba:torch --outptu x": "unknown flag '--outptu'; did you mean '--output'?",
    "compare a b --jsn x": "unknown flag '--jsn'; did you mean '--json'?",
    "show gru --kernl": "unknown flag '--kernl'; did you mean '--kernel'?",
    "check x.py --aganst gru": "unknown flag '--aganst'; did you mean '--against'?",
    "list cels": "did you mean 'cells'?",
    "data fetsh": "did you mean 'fetch'?",
    "show gru --dtype flaot32": "did you mean 'float32'?",
}


@pytest.mark.parametrize("arguments", NEAREST)
def test_a_wrong_word_names_the_nearest_right_one(capsys, arguments):
    assert NEAREST[arguments] in refused(capsys, *arguments.split())


def test_without_arguments_the_help_goes_to_standard_error_and_the_code_is_2(capsys):
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == helped(capsys, "--help")


def test_the_help_has_a_line_for_each_command_from_its_docstring(capsys):
    assert cli.names() == COMMANDS
    lines = re.findall(r"^  (\w+) +(.*)$", helped(capsys, "--help").partition("options:")[0], re.M)
    assert [name for name, _ in lines] == COMMANDS
    for name, text in lines:
        file = "import_" if name == "import" else name
        source = (Path(commands.__path__[0]) / f"{file}.py").read_text()
        assert text == ast.get_docstring(ast.parse(source)).partition("\n")[0] and text.endswith(".")


GREET = '''"""Greets somebody.

At length.
"""


def add(parser):
    parser.usage = "cellbench greet NAME"
    parser.add_argument("name")
    parser.epilog = "examples: none"


def do(arguments):
    print(f"hello {arguments.name}")
    return 7
'''


def test_a_file_in_the_folder_is_a_command(capsys, tmp_path, monkeypatch):
    (tmp_path / "greet.py").write_text(GREET)
    (tmp_path / "_helper.py").write_text("raise ImportError")
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert re.search(r"^  greet +Greets somebody.$", helped(capsys, "--help"), re.M)
    assert "helper" not in helped(capsys, "--help")
    text = helped(capsys, "greet", "--help")
    assert "usage: cellbench greet NAME" in text and "At length." in text
    assert main(["greet", "you"]) == 7 and capsys.readouterr().out == "hello you\n"
    assert "did you mean 'greet'?" in refused(capsys, "gret")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_usage_options_examples_and_exit_codes(capsys, name):
    text = helped(capsys, name, "--help")
    assert text.startswith(f"usage: cellbench {name} ")
    assert cli.summary(name) in text
    examples = re.search(r"^examples:\n((?:  .*\n)+)", text, re.M)[1].splitlines()
    assert 2 <= len(examples) <= 5 and all(line.startswith(f"  cellbench {name}") for line in examples)
    codes = re.search(r"^exit codes:\n((?:  .*\n)+)", text, re.M)[1].splitlines()
    assert {int(line.split()[0]) for line in codes} >= {0, 2, 130}
    for flag in cli.command_parser(name).flags:
        assert flag in text


HELPS = ["regress base=x -h", "-h compare", "compare A:B --help", "run --help --nonsense", "run -m cells= -h"]


@pytest.mark.parametrize("arguments", HELPS)
def test_help_is_answered_wherever_it_stands(capsys, arguments):
    name = next(word for word in arguments.split() if word in COMMANDS)
    assert helped(capsys, *arguments.split()) == helped(capsys, name, "--help")


def test_the_version_is_printed(capsys):
    assert re.fullmatch(r"cellbench \S+\n", helped(capsys, "--version"))


def test_python_m_cellbench_is_the_command(tmp_path):
    """Its workers import the same file, and are no commands."""
    words = ["run", "cells=[elman]", "backends=[numpy]", "probes=[parameters]", "results=runs"]
    done = subprocess.run(
        [sys.executable, "-m", "cellbench", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (run,) = store.runs(tmp_path / "runs")
    assert [block["status"] for block in store.read_blocks(run)] == ["ok"]


LIGHT = [["--help"], ["--version"], ["run", "--help"], ["list"], *(["list", kind] for kind in listing.NAMES)]
HEAVY = ("torch", "numba", "hydra", "pandas", "scipy", "pyarrow", "seaborn", "sympy", "matplotlib")
# in one process, since starting one takes longer than all of them
SCRIPT = f"""
import sys
from cellbench.harness.cli import main
for arguments in {LIGHT}:
    assert main(arguments) == 0
    heavy = {{*{HEAVY}}} & {{*sys.modules}}
    assert not heavy, f"{{arguments}} imports {{heavy}}"
"""


def test_starting_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TOP = "import sys; from cellbench.harness.cli import main; main(['--help']); print(*sys.modules)"


def test_the_list_of_commands_imports_none_of_them():
    done = subprocess.run([sys.executable, "-c", TOP], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "cellbench.harness.commands" in modules and "numpy" not in modules
    assert not [name for name in modules if name.startswith("cellbench.harness.commands.")]


def test_a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "cellbench.harness.cli", "show", "lstm", "--kernel"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.wait() == 0 and process.stderr.read() == ""


@pytest.mark.parametrize(
    "command, unread",
    [
        (["compare", "native:numba", "seeds=3"], "seeds"),
        (["compare", "native:numba", "match=parameters"], "match"),
        (["compare", "lstm:gru", "probe.throughput.processes=7"], "probe.throughput.processes"),
        (["regress", "base=HEAD", "tasks=[adding]"], "tasks"),
        (["regress", "base=HEAD", "budget_s=9"], "budget_s"),
    ],
)
def test_a_key_that_a_command_would_not_read_is_refused(capsys, command, unread):
    assert main(command) == 2
    line = capsys.readouterr().err
    assert f"does not read {unread};" in line and line.count("\n") == 1


@pytest.mark.parametrize("command", [["run", "--cells", "gru"], ["compare", "native:numba", "--cells=gru"]])
def test_a_key_that_is_written_as_a_flag_is_told_how_keys_are_written(capsys, command):
    assert main(command) == 2
    assert "write cells=VALUE" in capsys.readouterr().err
