"""Odd command lines end with a code and, where they are refused, in one line that a person can read.

`nox -s fuzz` tries 1 000; a failure prints the line.
"""

import os
import random
import shlex
from pathlib import Path

import pytest
from support.fuzz import watch
from support.fuzz.lines import line, write_files

from cellbench.harness.cli import main

COUNT, TOGETHER = 200, 25


@pytest.fixture(scope="module")
def sandbox():
    before = Path.cwd()
    with watch.sandbox() as folder:
        (folder / "now").mkdir()
        os.chdir(folder / "now")
        write_files(folder / "now")
        yield watch.Watch(*(folder / name for name in ("now", "state", "cache", "tmp")))
    os.chdir(before)


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_no_odd_command_line_is_a_traceback(first, sandbox):
    sandbox.evil = "/nowhere"  # a file that a person types is theirs to run
    for seed in range(first, first + TOGETHER):
        arguments = line(random.Random(seed))
        _, _, wrong = watch.taken(sandbox, lambda words=arguments: main(words))
        assert not wrong, f"seed {seed}: cellbench {shlex.join(arguments)}"
