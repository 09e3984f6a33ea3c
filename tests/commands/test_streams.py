"""Standard output and error: closed, full, of few characters, without a reader; and names that do harm."""

import io
import subprocess
import sys

import pytest
from support.stored_runs import a_run, native, program

from cellbench.harness import screen, store
from cellbench.harness.cli import main
from cellbench.harness.runs.progress import Progress

CELLBENCH = f"{sys.executable} -m cellbench.harness.cli"
RUN = f"{CELLBENCH} run 'cells=[elman,gru]' 'probes=[parameters]' results=runs"


def shell(command, folder):
    """(exit code of the command before a pipe, what came out)."""
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize("how", ["2>&1 | head -1", "2>/dev/full", ">/dev/full", ">&- 2>&-"])
def test_a_run_whose_progress_cannot_be_written_goes_on_and_ends_as_it_would_have(tmp_path, how):
    assert shell(f"{RUN} {how}", tmp_path).returncode == 0
    (run,) = store.runs(tmp_path / "runs")
    assert [block["status"] for block in store.read_blocks(run)] == ["ok", "ok"]


def test_a_run_whose_reader_goes_away_is_named_on_the_other_stream(tmp_path):
    done = shell(f"{RUN} | true", tmp_path)
    assert done.returncode == 0 and done.stderr.splitlines()[-1].startswith("run: runs/")


@pytest.mark.parametrize(
    ("command", "how"),
    [("list", ">&-"), ("--help", "| true"), ("list", "<&- >&- 2>&-"), ("show gru", "| true")],
)
def test_a_stream_that_nobody_reads_is_no_error(tmp_path, command, how):
    done = shell(f"{CELLBENCH} {command} {how}", tmp_path)
    assert done.returncode == 0 and done.stderr == ""


LOUD = """
import numpy as np
def step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    print("x" * 100_000, flush=True)
    return np.tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)
"""


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("| true", 0, ""),
        (">/dev/full", 1, "cellbench: standard output cannot be written: No space left on device\n"),
    ],
)
def test_code_that_prints_without_a_reader_is_not_blamed_for_closing_the_stream(tmp_path, how, code, text):
    (tmp_path / "loud.py").write_text(LOUD)
    done = shell(f"{CELLBENCH} check loud.py:step --against elman {how}", tmp_path)
    assert (done.returncode, done.stderr) == (code, text)


@pytest.mark.parametrize("command", ["list", "--help"])
def test_an_answer_that_could_not_be_written_is_no_success(tmp_path, command):
    done = shell(f"{CELLBENCH} {command} >/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "cellbench: standard output cannot be written: No space left on device\n"


def test_few_characters_are_enough(tmp_path):
    folder = "r\u00fcn\u2192"
    command = f"PYTHONIOENCODING=latin-1 PYTHONUTF8=0 {CELLBENCH} run 'cells=[gru]' 'probes=[parameters]'"
    done = shell(f"{command} \"results='{folder}'\" | iconv -f latin1", tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("run: r\u00fcn\\u2192/")


NASTY = "\x1b[31mred\x1b]0;title\x07\x9bA\u202eevil\udc80\r"
CONTROLS = [c for c in NASTY if screen.UNSAFE.match(c)]


def test_control_characters_of_stored_names_reach_no_terminal(tmp_path, capsys):
    name = f"gru{NASTY}"
    runs = [a_run(tmp_path / side, program(name), native(cell=name)) for side in "ab"]
    main(["compare", *map(str, runs)])
    main(["history", *map(str, runs), "--file", str(tmp_path / "h.jsonl"), "--output", str(tmp_path / "p")])
    main(["report", str(runs[0]), "--output", str(tmp_path / "page")])
    printed = "".join(capsys.readouterr())
    assert len(CONTROLS) == 7 and not [c for c in CONTROLS if c in printed]
    assert "\\x1b[31mred" in printed  # it is shown, as what it is


@pytest.mark.parametrize("name", ["::error::x", "  ::warning file=a::x", "##[error]x", "##vso[task.fail]x"])
def test_a_stored_name_begins_no_command_of_a_ci_system(tmp_path, capsys, name):
    runs = [a_run(tmp_path / side, program(name), native(cell=name)) for side in "ab"]
    main(["compare", *map(str, runs)])
    main(["report", str(runs[0]), "--output", str(tmp_path / "page")])
    lines = [line.strip() for line in "".join(capsys.readouterr()).splitlines()]
    assert not [line for line in lines if line.startswith("::") or "##[" in line or "##vso[" in line]
    assert any("error" in line or "warning" in line or "vso" in line for line in lines)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (("a\nb", "\tc\n"), "a\nb\tc\n"),
        (("::", "error::x\n", "::y"), "\\::error::x\n\\::y"),
        (("a", "::b\n", "  ", "::c"), "a::b\n  \\::c"),
        (("\ud800 \x00\x7f\x85\u2066",), "\\ud800 \\x00\\x7f\\x85\\u2066"),
        (("\u00a0 \u00e9 \u2192 \U0001f600",), "\u00a0 \u00e9 \u2192 \U0001f600"),
    ],
)
def test_what_a_person_reads_is_cleaned_whatever_pieces_it_comes_in(written, shown):
    stream = io.StringIO()
    for piece in written:
        screen.Screen(stream).write(piece) if len(written) == 1 else print(piece, end="", file=_kept(stream))
    assert stream.getvalue() == shown


def _kept(stream, screens={}):  # noqa: B006, one screen for each stream
    return screens.setdefault(id(stream), screen.Screen(stream))


class Broken(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_progress_without_a_stream_or_on_a_broken_one_is_quiet(monkeypatch):
    for stream in (Broken(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress(1.0)
        progress.start("case", 1.0)
        progress.finish("ok", "\x1b")
        progress.close()
