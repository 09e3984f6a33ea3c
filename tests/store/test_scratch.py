"""Temporary folders: gone after an end, an error, a signal, and after a kill at the next start."""

import os
import signal
import subprocess
import sys

import pytest

from cellbench.harness.store.scratch import NEW, PREFIX, scratch

HOLD = """
import sys, time
from pathlib import Path
from cellbench.harness.store.scratch import scratch
with scratch(Path(sys.argv[1])) as place:
    (place / "big").write_bytes(bytes(1000))
    print(place, flush=True)
    time.sleep(600)
"""


def holder(folder):
    """A process with a folder of its own in this one, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_a_folder_is_removed_at_the_end_and_after_an_error(tmp_path):
    with scratch(tmp_path) as place:
        (place / "x").mkdir()
        assert f"{PREFIX}{os.getpid()}-" in str(place) and place.stat().st_mode & 0o77 == 0
    with pytest.raises(KeyError), scratch(tmp_path) as place:
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_what_is_in_use_stays(tmp_path):
    killed, left = holder(tmp_path)
    living, kept = holder(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert os.path.isdir(left)  # noqa: PTH112
    other = tmp_path / f"{PREFIX}notes"
    other.mkdir()
    young, elsewhere = tmp_path / f"{NEW}0", tmp_path / f"{PREFIX}1-link"
    young.mkdir()
    elsewhere.symlink_to(other)
    with scratch(tmp_path) as mine:
        there = {str(path) for path in tmp_path.iterdir()}
        assert there == {kept, str(mine), str(other), str(young), str(elsewhere)}
    living.kill()
    living.wait()
