"""What lies in the cache of kernels is held against what was printed, and made again where it differs."""

import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

from cellbench import cells
from cellbench.cells import seal
from cellbench.cells.kernels import compiled as kernels
from cellbench.cells.kernels import modules
from cellbench.harness.cli import main

CELL = "elman"
NUMPY = "import sys, numpy as np\n" + (
    "from cellbench import cells\n"
    f"cell = cells.get({CELL!r})\n"
    "backward = sys.argv[1] == 'numpy'\n"  # whose forward is the equations themselves, and is not printed
    "program = cells.backend(sys.argv[1]).prepare(cell, cell.init(2, 3), steps=4, batch=1, dtype='float64',"
    " direction='backward' if backward else 'forward')\n"
    "found = program.forward(np.ones((4, 1, 2))).output\n"
    "found = program.backward(np.ones((4, 1, 3))).x if backward else found\n"
    "print(float(found.sum()))\n"
)


def sum_of(backend, cache, **environment):
    """What the backend computes in a process of its own, and what it said."""
    given = os.environ | {"CELLBENCH_CACHE": str(cache)} | environment
    done = subprocess.run(
        [sys.executable, "-c", NUMPY, backend], capture_output=True, text=True, env=given, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout), done.stderr


@pytest.fixture(scope="module")
def right():
    cell = cells.get(CELL)
    program = cells.backend("torch").prepare(cell, cell.init(2, 3), steps=4, batch=1, dtype="float64")
    output = float(program.forward(np.ones((4, 1, 2))).output.sum())
    return {"numba": output, "numpy": float(program.backward(np.ones((4, 1, 3))).x.sum())}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory, right):
    """A cache with the kernels of both backends."""
    cache = tmp_path_factory.mktemp("cache")
    for backend in ("numpy", "numba"):
        assert sum_of(backend, cache)[0] == pytest.approx(right[backend], rel=1e-12)
    return cache


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("tanh(", "abs("),
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "raise SystemExit(0)\n" + text,
    ],
    ids=["changed", "empty", "cut", "evil"],
)
def test_a_printed_kernel_that_was_changed_is_written_again(tmp_path, compiled, right, damage):
    cache = shutil.copytree(compiled, tmp_path / "cache")
    (file,) = (cache / "kernels").glob("numpy_*.py")
    whole = file.read_text()
    file.write_text(damage(whole))
    assert sum_of("numpy", cache)[0] == pytest.approx(right["numpy"], rel=1e-12)
    assert file.read_text() == whole


EVIL = b"cposix\nsystem\n(S'touch PROOF'\ntR."


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".nbi", "empty"), (".nbi", "evil"), (".nbi", "another"), (".nbc", "flipped"), (".nbc", "cut")],
)
def test_compiled_code_that_was_changed_is_compiled_again(tmp_path, compiled, right, suffix, damage):
    cache = shutil.copytree(compiled, tmp_path / "cache")
    files = sorted((cache / "kernels/__pycache__").glob(f"numba_{CELL}_*.forward-*{suffix}"))
    before = files[0].read_bytes()
    changed = {
        "flipped": before[:-9] + bytes([before[-9] ^ 1]) + before[-8:],
        "empty": b"",
        "cut": before[:100],
        "evil": b"0" * seal.DIGITS + EVIL.replace(b"PROOF", str(tmp_path / "proof").encode()),
        "another": next((cache / "kernels/__pycache__").glob(f"*clamped*{suffix}")).read_bytes(),
    }
    files[0].write_bytes(changed[damage])
    assert sum_of("numba", cache)[0] == pytest.approx(right["numba"], rel=1e-12)
    assert not (tmp_path / "proof").exists() and files[0].read_bytes() != changed[damage]


def test_a_product_that_was_changed_is_compiled_again(tmp_path, compiled, right):
    cache = shutil.copytree(compiled, tmp_path / "cache")
    (file,) = (cache / "kernels").glob("product_float64_*.o")
    before = file.read_bytes()
    file.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
    assert sum_of("numba", cache)[0] == pytest.approx(right["numba"], rel=1e-12)
    assert file.read_bytes() == before


def test_a_pyc_beside_a_kernel_is_not_run(tmp_path, compiled, right):
    cache = shutil.copytree(compiled, tmp_path / "cache")
    (file,) = (cache / "kernels").glob("numpy_*.py")
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit(3)")
    import py_compile

    target = cache / "kernels/__pycache__" / f"{file.stem}.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(
        str(evil), str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert sum_of("numpy", cache)[0] == pytest.approx(right["numpy"], rel=1e-12)


NOWHERE = {"HOME": "/proc/x", "XDG_STATE_HOME": "/proc/x", "XDG_CACHE_HOME": "/proc/x", "NUMBA_CACHE_DIR": ""}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
def test_where_nothing_can_be_written_kernels_are_compiled_in_memory_with_one_warning(right):
    for backend in ("numpy", "numba"):
        value, said = sum_of(backend, "/proc/x", **NOWHERE)
        assert value == pytest.approx(right[backend], rel=1e-12)
        assert said.count("compiled in memory") == 1 and "/proc/x/kernels" in said


def twice(x):
    return 2 * x


def test_compiled_loops_of_a_package_that_is_read_only_live_in_memory(monkeypatch):
    """Numba finds no folder where the package, and the home, cannot be written."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert kernels.shared()(twice)(21) == 42


def test_a_disk_that_fills_up_while_a_kernel_is_kept_leaves_it_in_memory(tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernels.SealedFiles, "_open_for_write", full)
    monkeypatch.setenv("CELLBENCH_CACHE", str(tmp_path))
    text = "from numba import njit\n\n\n@njit\ndef thrice(x):\n    return 3 * x\n"
    assert modules.load("full", text).thrice(14) == 42
    assert not list(tmp_path.rglob("*.nb?"))


def test_where_nothing_can_be_written_show_and_doctor_say_so(monkeypatch, capsys):
    monkeypatch.setenv("CELLBENCH_CACHE", "/proc/x")
    assert main(["show", "cifg"]) == 0
    assert "/proc/x/kernels cannot be written" in capsys.readouterr().out
    assert main(["doctor", "--seconds", "0", "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)["advice"]
    assert [one["text"] for one in advice if one["kind"] == "CACHE" and "CELLBENCH_CACHE=DIR" in one["text"]]


def test_a_run_with_a_cache_that_cannot_be_written_measures_with_one_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CELLBENCH_CACHE", "/proc/x")
    given = [
        "cells=[gru]",
        "backends=[numpy]",
        "probes=[throughput]",
        "workload.steps=4",
        "direction=forward",
    ]
    given += ["probe.throughput.processes=1", "probe.throughput.samples=2", f"results={tmp_path}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["run", *given]) == 0
    assert capsys.readouterr().err.count("/proc/x/kernels cannot be written") == 1


def test_a_debugger_reads_a_kernel_that_lives_in_memory():
    import inspect

    module = modules._module("in_memory", "<in memory>", "def f(x):\n    return x + 1\n")
    assert "x + 1" in inspect.getsource(module.f)
