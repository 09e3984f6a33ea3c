"""Odd command lines end with a code and, where they are refused, in lines that a person can read.

CELLBENCH_FUZZ is their number, CELLBENCH_SEED where they begin; a failure prints the line.
"""

import os
import shlex

import numpy as np
import pytest
from support.command_lines import line, write_files

from cellbench.harness.cli import main

COUNT = int(os.environ.get("CELLBENCH_FUZZ", 200))
SEED = int(os.environ.get("CELLBENCH_SEED", 0))
TOGETHER = 25


@pytest.mark.parametrize("first", range(SEED, SEED + COUNT, TOGETHER))
def test_no_odd_command_line_is_a_traceback(first, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path / "data"))
    write_files(tmp_path)
    np.save("one.npy", np.ones(3))
    for seed in range(first, first + TOGETHER):
        arguments = line(np.random.default_rng(seed))
        told = f"seed {seed}: cellbench {shlex.join(arguments)}"
        try:
            code = main(arguments)
        except BaseException as error:
            raise AssertionError(f"{told} raised {error!r}") from error
        printed = capfd.readouterr()
        assert code in (0, 1, 2, 3), told
        assert "Traceback" not in printed.err, told
        assert code != 2 or printed.err.count("cellbench: ") == 1 or not arguments, f"{told}: {printed.err}"
