"""A forward's second loop over the units computes what waits for a function of a new state."""

import numba
import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_name

from cellbench import cells
from cellbench.cells import GatedCell, State, sigmoid, tanh
from cellbench.cells.kernels.compiling import compile_for
from cellbench.cells.kernels.float32 import LANES
from cellbench.cells.kernels.loops import loops


class Shares(GatedCell):
    """Its gate g is in both states, so that a second loop would compute it again."""

    gates = ("f", "g")
    states = ("h", "c")

    def equations(self, wx, wh, prev):
        g = sigmoid(wx.g + wh.g)
        c = sigmoid(wx.f + wh.f) * prev.c + g
        return State(h=g * tanh(c), c=c)


@pytest.mark.parametrize("name", ["lstm", "cifg", "peephole_lstm"])
def test_what_waits_for_tanh_of_the_new_state_has_a_loop_of_its_own(name):
    first, second = loops(cells.get(name), str)
    assert "new_c" in second.reads and not {"prev_c", "wx_f"} & {*second.reads}
    assert "wx_o" not in first.reads


@pytest.mark.parametrize("cell", [cells.get("sru"), cells.get("slstm"), cells.get("gru"), Shares()], ids=str)
def test_what_waits_for_a_sum_or_shares_a_value_stays_in_one_loop(cell):
    assert len(loops(cell, str)) == 1


@pytest.mark.parametrize("name", ["lstm", "sru"])
def test_all_that_is_kept_and_returned_is_left_by_one_loop(name):
    d = cells.get(name).derivation()
    left = [node for loop in loops(cells.get(name), str) for node in loop.variable]
    assert {*d.results} <= {*left} and len(left) == len({*left})


@pytest.mark.parametrize("shared", [False, True])
def test_only_arrays_that_no_other_thread_writes_are_compiled_as_apart(shared):
    """A loop over two arrays has one check for overlap, and none where they are apart."""

    @numba.njit
    def kernel(a, b):
        for j in range(len(a)):
            a[j] += b[j]

    compile_for(kernel, [np.empty(1), np.empty(1)], shared)
    (code,) = kernel.inspect_llvm().values()
    assert ("vector.memcheck" in code) == shared and "vector.body" in code


def test_loops_take_the_whole_registers_of_a_processor_and_other_functions_are_compiled_as_ever():
    def add(a, b):
        for j in range(len(a)):
            a[j] += b[j]

    ours, others = numba.njit(add), numba.njit(add)
    compile_for(ours, [np.empty(1, np.float32)] * 2)
    others.compile((numba.float32[::1],) * 2)
    own, other = (str(one.inspect_llvm()) for one in (ours, others))
    assert f"<{LANES} x float>" in own
    if LANES == 16 and get_host_cpu_name() == "icelake-server":
        assert "<16 x float>" not in other
