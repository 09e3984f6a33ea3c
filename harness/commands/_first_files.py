"""The files that `cellbench init` writes: a workflow, a session of nox, a first test."""

from __future__ import annotations

from collections.abc import Sequence

WORKFLOW = """\
# Is a cell of this repository slower than at the base, or does it compute another thing?
name: cellbench

on:
  pull_request:

permissions: {{}}

jobs:
  regress:
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    permissions:
      contents: read
      pull-requests: write # of the one comment
    steps:
      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0
        with:
          fetch-depth: 0 # the base is in it
          persist-credentials: false
      - uses: actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c # v6.0.0
        with:
          python-version: "3.12"
{install}      - uses: cellbench/cellbench@{version}
        with:
          cells: {cells}
"""
INSTALL = "      - run: python -m pip install .\n"
SESSION = """\
@nox.session
def cellbench(session: nox.Session) -> None:
    \"\"\"Compares the cells with a revision: nox -s cellbench [-- base=main KEY=VALUE ...].\"\"\"
    session.install("git+https://github.com/cellbench/cellbench"{own})
    words = session.posargs or ["base=main"]
    session.run("cellbench", "regress", "cells=[{cells}]", *words)
"""
NOXFILE = '"""Sessions of nox."""\n\nimport nox\n\n\n'
TEST = '''\
"""The cells of this repository: what each backend computes, and how fast.

pytest --cellbench-compare=main compares their speed with a revision.
"""

from pathlib import Path

import numpy as np
import pytest

from cellbench import cells

ROOT = Path(__file__).resolve().parents[1]
CELLS = {list}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_backend_agrees_with_the_equations(cell, backend):
    one = cells.get(f"{{ROOT}}/{{cell}}")
    params, x = one.init(6, 6), np.random.default_rng(0).standard_normal((9, 2, 6))
    want, got = (
        cells.backend(name).prepare(one, params, steps=9, batch=2, dtype="float64").forward(x).output
        for name in ("numpy", backend)
    )
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_not_slower_than_at_the_base(cell, cellbench):
    cellbench.cell_not_slower_than_base(f"{{ROOT}}/{{cell}}")
'''


def files(cells: Sequence[str], version: str, is_package: bool) -> dict[str, str]:
    """The text of each file by its path in the repository."""
    install, joined = INSTALL if is_package else "", ",".join(cells)
    listed = "[" + ", ".join(f'"{cell}"' for cell in cells) + "]"
    return {
        ".github/workflows/cellbench.yml": WORKFLOW.format(install=install, version=version, cells=joined),
        "noxfile.py": NOXFILE + session(cells, is_package),
        "tests/test_cellbench.py": TEST.format(list=listed),
    }


def session(cells: Sequence[str], is_package: bool) -> str:
    """The session of nox alone, for a noxfile that is there."""
    return SESSION.format(own=', "."' if is_package else "", cells=",".join(cells))
