"""A results folder made hostile in any of its fields: no code runs, and nothing is written outside."""

import os
import random
import subprocess
import sys
from pathlib import Path

from support import hostile

TESTS = Path(__file__).parents[1]


def test_two_hundred_mutated_result_files_run_nothing_and_write_nothing_outside():
    """`nox -s fuzz` tries 5 000, and more by --count and --seed."""
    command = [sys.executable, "-m", "support.hostile", "--count", "200", "--seed", "7"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "200 inputs" in done.stdout and " 0 not taken well" in done.stdout


def test_the_watch_sees_what_a_hostile_file_could_do(tmp_path, monkeypatch):
    """Without it the test above could not fail."""
    monkeypatch.chdir(tmp_path)
    sandbox = hostile.Sandbox(tmp_path / "sandbox")
    sandbox.restore()
    evil = compile("1", str(sandbox.now / "evil.py"), "exec")
    for event, arguments in (
        ("exec", (evil,)),
        ("open", (str(sandbox.folder / "thesis/index.html"), "w", os.O_WRONLY)),
        ("os.remove", (str(sandbox.folder / "thesis/index.html"), -1)),
        ("open", ("../thesis/index.html", "w", os.O_WRONLY)),
        ("os.system", (b"true",)),
    ):
        sandbox.events.clear()
        sandbox.watch(event, arguments)
        assert len(sandbox.events) == 1, event
    sandbox.events.clear()
    sandbox.watch("open", (str(sandbox.now / "page/index.html"), "w", os.O_WRONLY))
    sandbox.watch("open", (str(sandbox.folder / "thesis/index.html"), "r", os.O_RDONLY))
    assert not sandbox.events


def test_a_mutation_is_the_same_for_the_same_seed():
    value = {"a": [1, {"b": "c"}], "d": None}
    first, second = (repr(hostile.changed_value(value, random.Random(3))) for _ in range(2))
    assert first == second != repr(value) and value == {"a": [1, {"b": "c"}], "d": None}
