"""Files written whole: an error leaves the old content and nothing beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellbench.harness.store import atomic

pytestmark = pytest.mark.quick


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("first", "second, longer", ""):
        atomic.write_text(path, text)
        assert path.read_text() == text and list(tmp_path.iterdir()) == [path]


def test_an_error_in_between_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.name.startswith(".")
        temporary.write_text("new")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (steps.append("rename"), replace(self, to))[1])
    atomic.write_text(tmp_path / "a.txt", "content")
    assert steps == [(tmp_path / "a.txt").stat().st_ino, "rename", tmp_path.stat().st_ino]


def test_a_link_stays_a_link_and_a_pipe_is_written_to(tmp_path):
    atomic.write_text(tmp_path / "a.txt", "old")
    (tmp_path / "link").symlink_to("a.txt")
    atomic.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a.txt").read_text() == "new"
    reading, writing = os.pipe()
    atomic.write_text(Path(f"/dev/fd/{writing}"), "through")
    os.close(writing)
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_a_new_file_has_the_rights_that_the_user_gives_new_files(tmp_path):
    (tmp_path / "plain").write_text("")
    atomic.write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        atomic.write_text(tmp_path / "no" / "a.txt", "")


def test_json_is_strict_and_floats_are_exact(tmp_path):
    value = {"a": [1, 0.1, float("nan"), (np.float32(0.5), np.inf)], "b": {"c": -np.inf, "é": None}}
    atomic.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf8")
    assert "NaN" not in text and "Infinity" not in text and "é" in text
    assert json.loads(text) == {"a": [1, 0.1, None, [0.5, None]], "b": {"c": None, "é": None}}
    assert json.loads(atomic.as_json([np.inf, 0.1], exact=True)) == [np.inf, 0.1]
    with pytest.raises(TypeError):
        atomic.as_json({"a": object()})


def test_what_a_killed_process_left_goes_though_nobody_has_asked_how_it_ended(tmp_path):
    path = tmp_path / "a.txt"
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left = tmp_path / f".a.txt.{atomic.owner().partition('-')[0]}-{process.pid}-0123abcd.tmp"
    left.write_text("torn")
    atomic.write_text(path, "while it runs")
    assert left.exists()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the list of processes
    atomic.write_text(path, "afterwards")
    assert not left.exists()
    process.communicate()
