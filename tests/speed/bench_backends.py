"""Benchmarks of every cell on every backend through pytest-benchmark's fixture: forward, and forward and
backward.

`nox -s bench` runs them; what identifies a case is in extra_info, where `cellbench import` finds it.
"""

import pytest

from cellbench import cells
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk
from cellbench.harness.programs import check, inputs, prepare

SIZE = {"steps": 64, "batch": 16, "input_size": 32, "hidden_size": 64}


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("backend", cells.backend_names())
@pytest.mark.parametrize("cell", cells.names())
def test_run(benchmark, cell, backend, direction):
    case = Case("throughput", cell, backend, "cpu", "float32", **SIZE, direction=direction)
    given = inputs(case)
    try:
        program = prepare(case, given.params)
    except NotOk as stop:
        pytest.skip(stop.reason)
    program.load(given.x, None, given.d_output)
    program.run()
    check(program.read(), given, case)
    benchmark.extra_info.update({k: v for k, v in case.definition.items() if v is not None and k != "probe"})
    benchmark.extra_info["implementation"] = program.implementation
    benchmark(program.run)
