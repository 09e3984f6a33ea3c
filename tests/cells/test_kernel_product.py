"""The packed product of a step is the product of NumPy, whatever the sizes leave over."""

import ctypes

import numpy as np
import pytest
from llvmlite import binding, ir

from cellbench import cells
from cellbench.cells.kernels import fused, lines, tiles
from cellbench.cells.kernels.float32 import LANES, PANEL
from cellbench.cells.kernels.panels import packed
from cellbench.cells.kernels.product import add_product, product

BEYOND = 7.0  # what lies around the output, which stays


def multiplied(a, weight, start, turn=0):
    """The product inside a larger array, whose other numbers must stay as they are."""
    (panels,) = packed(weight[None], PANEL)
    rows, outputs = len(a), len(weight)
    around = np.full((rows + 1, outputs + 3), BEYOND, a.dtype)
    out = around[:rows, :outputs]
    if start is None:
        product(a, panels, out, turn)
    else:
        add_product(a, panels, start, out, turn)
    assert (around[rows] == BEYOND).all() and (around[:, outputs:] == BEYOND).all()
    return out


def drawn(batch, inner, outputs):
    rng = np.random.default_rng(batch * 100 + inner * 10 + outputs)
    shapes = (batch, inner), (outputs, inner), (batch, outputs)
    return (rng.standard_normal(shape).astype(np.float32) for shape in shapes)


@pytest.mark.parametrize("batch", [*range(1, 15), 64])
@pytest.mark.parametrize("inner", [1, 2, 3, 7, 33, 64])
def test_every_number_of_rows_and_every_rest_is_numpy_s_product(batch, inner):
    for outputs in (1, LANES - 1, LANES, LANES + 1, PANEL - 1, PANEL, 3 * PANEL + 1):
        a, weight, start = drawn(batch, inner, outputs)
        exact = a.astype(float) @ weight.T.astype(float)
        for turn, first in enumerate((None, start, start[:1], None, start)):
            want = exact if first is None else exact + first
            assert abs(multiplied(a, weight, first, turn) - want).max() < 1e-6 * max(3, inner)


@pytest.mark.parametrize("batch", [1, 6, 7, 8, 9, 13])
def test_weights_that_no_cache_of_one_s_own_holds_are_multiplied_alike(batch):
    a, weight, start = drawn(batch, 1000, 3 + tiles.FAR // 1000)
    assert weight.size > tiles.FAR
    want = a.astype(float) @ weight.T.astype(float) + start
    there, back = (multiplied(a, weight, start, turn) for turn in (2, 3))
    assert abs(there - want).max() < 1e-3 and (back == there).all()


def test_rows_may_lie_apart_and_the_start_may_be_the_output():
    a, weight, start = drawn(7, 9, 5)
    wide = np.full((7, 12), np.nan, np.float32)
    wide[:, 2:11] = a
    want = multiplied(a, weight, start)
    (panels,) = packed(weight[None], PANEL)
    add_product(wide[:, 2:11], panels, start, start, 0)
    assert (start == want).all()


def test_nothing_summed_is_the_start():
    a, weight, start = np.empty((3, 0), np.float32), np.empty((5, 0), np.float32), np.ones((3, 5), np.float32)
    assert not multiplied(a, weight, None).any() and (multiplied(a, weight, start) == start).all()


def test_a_nan_stays_in_its_row():
    a, weight, _ = drawn(7, 9, 5)
    a[4, 3] = np.nan
    bad = np.isnan(multiplied(a, weight, None)).all(1)
    assert bad.tolist() == [row == 4 for row in range(7)]


def test_a_panel_is_whole_vectors_that_registers_hold():
    assert PANEL % LANES == 0 and LANES in (4, 8, 16)
    assert tiles.ROWS * PANEL // LANES in (12, 24)  # sums, of 16 or 32 registers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_printed_kernel_has_the_product_and_no_library_s(dtype):
    text = fused.text(cells.get("lstm"), dtype)
    assert "add_product_of(h_at, now_h, weight[0], " in text and "np.dot" not in text


def test_weights_that_do_not_fit_are_one_line():
    weight = np.broadcast_to(np.float32(0), (1, 1 << 20, 1 << 24))
    with pytest.raises(ValueError, match=r"weights \(1048576, 16777216\) take 65536 GiB once more") as told:
        packed(weight, PANEL)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("number", [ir.FloatType(), ir.DoubleType()], ids=str)
def test_a_processor_without_wide_registers_computes_the_same(number):
    """Code for the oldest of this machine's family, run here: of 16 bytes, and no multiply-add."""
    dtype, lanes = (np.float32, 4) if isinstance(number, ir.FloatType) else (np.float64, 2)
    machine = binding.Target.from_default_triple().create_target_machine(cpu="generic", opt=3, jit=True)
    engine = tiles.engine(tiles.machine_code(number, lanes, 4 * lanes, machine), machine)
    index, array = ctypes.c_int64, ctypes.c_void_p
    kinds = [array, index, array, array, index, array, *[index] * 5]
    run = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address("product"))
    for batch, inner, outputs in ((1, 7, 3), (5, 33, 4 * lanes), (13, 8, 9 * lanes + 1)):
        a, weight, start = (array.astype(dtype) for array in drawn(batch, inner, outputs))
        (panels,), out = packed(weight[None], 4 * lanes), np.empty_like(start)
        at = [each.ctypes.data for each in (a, panels, start, out)]
        run(at[0], inner, at[1], at[2], outputs, at[3], outputs, batch, inner, outputs, 0)
        assert abs(out - start - a.astype(float) @ weight.T.astype(float)).max() < 1e-6 * inner


@pytest.mark.parametrize(("number", "register"), [(ir.FloatType(), ".4s"), (ir.DoubleType(), ".2d")], ids=str)
def test_the_product_compiles_for_a_processor_of_another_family(number, register):
    machine = of_another_family()
    lanes = 4 if isinstance(number, ir.FloatType) else 2
    code = machine.emit_assembly(tiles.parsed(str(tiles.module(number, lanes, 4 * lanes)), machine))
    lines = [line for line in code.splitlines() if "fmla" in line]
    assert len(lines) > 24 and all(register in line for line in lines)
    assert "\tbl\tfma" not in code  # a call of the library's


def of_another_family():
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    return target.create_target_machine(cpu="neoverse-n1", opt=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (7, 5), (3, 129, 257)])
def test_arrays_of_kernels_begin_with_a_line_of_the_caches(shape, dtype):
    made = lines.empty(shape, dtype)
    assert made.ctypes.data % 64 == 0 and made.flags.c_contiguous
    assert made.shape == shape and made.dtype == dtype
    panels = packed(np.ones((2, PANEL + 3, 5), dtype), PANEL)
    assert panels.ctypes.data % 64 == 0 and panels[:, 1, :, :3].all() and not panels[:, 1, :, 3:].any()


@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_what_a_kernel_multiplies_and_writes_at_every_step_begins_with_a_line(name):
    cell = cells.get(name)
    program = cells.backend("numba").prepare(
        cell, cell.init(16, 16), steps=3, batch=2, dtype="float32", device="cpu", direction="backward"
    )
    weights = program.weights[0]
    arrays = [weights.inputs, weights.recurrent, weights.transposed, program.turned, program.wx, program.keep]
    arrays += [trajectory.rows for trajectory in program.states]
    assert {a.ctypes.data % 64 for a in arrays if a.size} == {0}
