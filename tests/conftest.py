"""Kernels are compiled once a session, in pytest's cache folder (a temporary one where pytest keeps none)."""

import gc
import os
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# at 700, a quarter of collecting 13,600 tests, and a tenth of compiling kernels, goes to the collector
gc.set_threshold(50_000, 20, 20)


def pytest_configure(config):
    kept = getattr(config, "cache", None)
    config.kernels = None if kept else tempfile.TemporaryDirectory(prefix="cellbench-")
    os.environ["CELLBENCH_CACHE"] = str(kept.mkdir("cellbench") if kept else config.kernels.name)


def pytest_unconfigure(config):
    if getattr(config, "kernels", None):
        config.kernels.cleanup()


@pytest.fixture(scope="session", autouse=True)
def base_of_temporary_folders(tmp_path_factory):
    """pytest makes its own on first use: where a test has other temporary files, it would go with those."""
    return tmp_path_factory.getbasetemp()
