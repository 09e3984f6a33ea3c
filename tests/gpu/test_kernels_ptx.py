"""The PTX that Triton's compiler makes of printed kernels, executed on the CPU: right, and free of races.

A barrier that is taken out must be told as a race. A handful of cells here; `nox -s kernels` takes all.
"""

import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from support.comparison import fitting

from cellbench import cells
from cellbench.cells.checking.kernels.check import plain_errors, short_name
from cellbench.cells.checking.kernels.compiled import FORM, CompiledJob, answers
from cellbench.cells.checking.kernels.problem import Sizes
from cellbench.cells.checking.kernels.ptx import bits
from cellbench.cells.checking.kernels.ptx.block import Block
from cellbench.cells.checking.kernels.ptx.execute import function
from cellbench.cells.checking.kernels.ptx.kernel import Kernel
from cellbench.cells.checking.kernels.ptx.memory import Fault
from cellbench.cells.checking.kernels.ptx.order import Global, Touched
from cellbench.cells.checking.kernels.ptx.text import Instruction
from cellbench.cells.kernels.triton.form import GRID, RESIDENT, SCAN, STEPWISE, Form, scans
from cellbench.cells.kernels.triton.resources import missing
from cellbench.cells.programs.tolerance import tolerance
from cellbench.harness.studies.resources import printable

compiles = pytest.mark.skipif(
    missing() is not None, reason="triton is not installed; it is in the extra test, on Linux"
)
SMALL, ODD = Sizes(2, 2, 3, 16), Sizes(5, 3, 7, 33)
# of the largest error of any array, at these sizes; float32 is three products of tf32
ALLOWED = {"float32": 2e-6, "tf32": 4e-3, "bfloat16": 3e-2, "float16": 4e-3}
ONE = CompiledJob("gru", "float32", SMALL, 90)
SPREAD = Form(False, 16, 1, STEPWISE, 8, 16)
GRID_FORM = replace(SPREAD, kind=GRID)
PARTED = replace(GRID_FORM, warps=8, parted=True)
IN_A_GRID = CompiledJob("elman", "bfloat16", SMALL, 90, GRID_FORM)
ROUNDED = CompiledJob("lstm", "tf32", SMALL, 90)
SCANNED = CompiledJob("mingru", "float32", Sizes(5, 1, 2, 16), 80, Form(False, 1, 2, SCAN, 16, 4))
SHARED_OUT = CompiledJob("elman", "float32", SMALL, 90, replace(PARTED, warps=2))
HANDFUL = [ONE, ROUNDED, IN_A_GRID, SHARED_OUT, SCANNED, CompiledJob("elman", "float32", SMALL, 80, SPREAD)]
DROPPED = [("forward", 0), ("backward", 0)]
ARRIVALS = [("forward", 3), ("backward", 4)]  # of one warp, which needs no other barrier
EVERY = [
    CompiledJob(spec, dtype, ODD, target, form)
    for spec in ("lstm", "gru", "elman", "slstm:heads=3", "peephole_lstm", "cornn", "mingru", "fastgrnn")
    for dtype in ALLOWED
    for target in (80, 90)
    for form in ((FORM, replace(FORM, packed=False)) if spec in ("lstm", "gru") else (FORM,))
]
EVERY += [CompiledJob("gru", "bfloat16", ODD, target, replace(FORM, block_b=16)) for target in (80, 90)]
EVERY += [
    CompiledJob(spec, dtype, replace(ODD, steps=3), target, form)
    for spec in ("lstm", "gru", "slstm:heads=3", "peephole_lstm", "cornn", "mingru")
    for dtype in ("float32", "bfloat16")
    for target in (80, 90)
    for form in (GRID_FORM, SPREAD)
]
EVERY += [
    CompiledJob(spec, "float32", replace(ODD, steps=3), target, replace(PARTED, block_h=units))
    for spec in ("lstm", "gru", "slstm:heads=3", "peephole_lstm", "elman", "cornn")
    for target, units in ((80, 8), (90, 16))
]
EVERY += [CompiledJob("cornn", "bfloat16", replace(ODD, steps=3), 90, PARTED)]
EVERY += [
    CompiledJob(spec, dtype, Sizes(35, 2, 33, 33), target, Form(False, 1, 4, SCAN, 32, 32))
    for spec in ("mingru", "minlstm", "lru", "rglru", "s5", "mamba")
    for dtype in ("float32", "bfloat16")
    for target in (80, 90)
]
LOOPED = {job.spec.partition(":")[0] for job in EVERY if job.form.kind != SCAN}
EVERY += [
    CompiledJob(name, dtype, replace(ODD, input_size=inputs, hidden_size=hidden), target)
    for name in printable()
    if name not in LOOPED
    for inputs, hidden in [fitting(cells.get(name), ODD.input_size, ODD.hidden_size)]
    for dtype, target in (("float32", 90), ("bfloat16", 80))
]
ALL = os.environ.get("CELLBENCH_KERNELS") == "all"
JOBS = EVERY if ALL else HANDFUL


def without(job, barrier):
    return CompiledJob(**vars(job) | {"dropped": barrier})


@cache
def results():
    """Answers by job; of one process."""
    jobs = [*JOBS, *(without(ONE, barrier) for barrier in DROPPED)]
    jobs += [without(IN_A_GRID, barrier) for barrier in ARRIVALS]
    return dict(zip(jobs, answers(jobs), strict=True))


def label(job):
    form = f"{short_name(job.form).replace(' ', '-')}-{job.form.block_b}"
    return f"{job.spec}-{job.dtype}-sm_{job.target}-{form}"


@pytest.mark.quick
def test_the_session_executes_every_cell_that_has_kernels_and_every_scan():
    executed = {(job.spec.partition(":")[0], job.form.kind) for job in EVERY}
    assert {name for name, kind in executed if kind == RESIDENT} == set(printable())
    assert {name for name, kind in executed if kind == SCAN} == {
        n for n in printable() if scans(cells.get(n))
    }


@compiles
@pytest.mark.parametrize("job", JOBS, ids=label)
def test_compiled_ptx_is_the_float64_reference_without_a_race(job):
    answer = results()[job]
    assert "errors" in answer, answer["failed"] + answer.get("trace", "")
    wrong = {name: error for name, error in answer["errors"].items() if not error <= ALLOWED[job.dtype]}
    if wrong and job.dtype != "float32":  # as rounding moves the float64 reference itself, near a kink
        limits = plain_errors(job.spec, job.dtype, job.sizes, job.seed)
        # states that are sums over all steps: torch is as far off, 0.07 of s5's d_lambda_im in bfloat16
        stated = tolerance(job.dtype, job.sizes.steps) if scans(cells.get(job.spec)) else 0.0
        wrong = {name: error for name, error in wrong.items() if not error <= max(limits[name], stated)}
    assert len(answer["errors"]) > 5 and not wrong


@compiles
@pytest.mark.parametrize("barrier", DROPPED)
def test_a_barrier_that_is_taken_out_is_told_as_a_race(barrier):
    answer = results()[without(ONE, barrier)]
    assert answer["failed"].startswith("Fault: shared memory: warp ")
    assert "since the last barrier" in answer["failed"] and ".py:" in answer["failed"]


@compiles
@pytest.mark.parametrize("barrier", ARRIVALS)
def test_an_arrival_without_a_barrier_before_it_is_told_as_a_race_of_blocks(barrier):
    failed = results()[without(IN_A_GRID, barrier)]["failed"]
    assert failed.startswith("Fault: global memory: block 1 loads byte ")
    assert "which another block touched, and no barrier orders the two" in failed and ".py:" in failed


@compiles
@pytest.mark.skipif(not ALL, reason="nox -s kernels takes every barrier")
@pytest.mark.parametrize("job", [ONE, CompiledJob("lstm", "bfloat16", SMALL, 80)], ids=label)
def test_every_barrier_that_is_taken_out_is_told(job):
    (whole,) = answers([job])
    barriers = [tuple(barrier) for barrier in whole["passed"]]
    told = answers([without(job, barrier) for barrier in barriers])
    silent = [b for b, answer in zip(barriers, told, strict=True) if "failed" not in answer]
    assert len(barriers) >= 10 and not silent
    assert all("since the last barrier" in answer["failed"] for answer in told)


# hand-written kernels


def ptx(body, threads=64):
    return f"""
.visible .entry test(
    .param .u64 .ptr .global .align 1 test_param_0,
    .param .u32 test_param_1
)
.reqntid {threads}
{{
    .reg .b32 %r<9>;
    ld.param.b64 %rd1, [test_param_0];
    ld.param.b32 %r1, [test_param_1];
    mov.u32 %r2, %tid.x;
    shl.b32 %r3, %r2, 2;
    mad.wide.u32 %rd2, %r2, 4, %rd1;
    {body}
    ret;
}}
"""


def ran(body, array, number=0, threads=64, shared=1024, dropped=None):
    kernel = Kernel(ptx(body, threads), shared, dropped)
    kernel((1,), array, number)
    return array


NEIGHBOUR = """
    ld.global.b32 %r4, [%rd2];
    st.shared.b32 [%r3], %r4;
    bar.sync 0;
    xor.b32 %r5, %r3, 128;
    ld.shared.b32 %r6, [%r5];
    st.global.b32 [%rd2], %r6;
"""


@pytest.mark.quick
def test_what_another_warp_stored_is_read_after_a_barrier_alone():
    array = torch.arange(64, dtype=torch.int32)
    assert torch.equal(ran(NEIGHBOUR, array.clone()), array.roll(32))
    with pytest.raises(Fault, match=r"shared memory: warp 0 loads byte 128, which another warp touched"):
        ran(NEIGHBOUR, array.clone(), dropped=0)
    # within a warp no barrier is needed
    near = NEIGHBOUR.replace("bar.sync 0;", "").replace("%r3, 128", "%r3, 4")
    assert torch.equal(ran(near, array.clone()), array.reshape(-1, 2).flip(1).reshape(-1))


@pytest.mark.quick
def test_a_store_over_what_another_warp_reads_is_a_race_too():
    body = NEIGHBOUR.replace("st.global.b32 [%rd2], %r6;", "st.shared.b32 [%r3], %r6;")
    with pytest.raises(Fault, match=r"warp . stores byte"):
        ran(body, torch.arange(64, dtype=torch.int32))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("ld.global.b32 %r4, [%rd2+4];", "global memory: out of bounds"),
        ("add.s64 %rd3, %rd2, 2; ld.global.b32 %r4, [%rd3];", "not aligned|out of bounds"),
        ("st.shared.b32 [%r3+1024], %r2;", "shared memory: out of bounds"),
        ("setp.lt.u32 %p1, %r2, 5; @%p1 bra $L; add.s32 %r4, %r2, 1;\n$L:", "threads of a block part"),
        ("wgmma.mma_async %r4, %r2;", "wgmma.mma_async of the kernel is not known"),
        ("$L:\nbra $L;", "does not end"),
    ],
)
def test_what_no_kernel_may_do_is_a_fault(body, says, monkeypatch):
    monkeypatch.setattr("cellbench.cells.checking.kernels.ptx.kernel.MOST_TURNS", 100)
    with pytest.raises(Fault, match=says):
        ran(body, torch.zeros(64, dtype=torch.int32))


@pytest.mark.quick
def test_a_loop_a_predicate_and_arithmetic_are_as_written():
    body = """
    mov.b32 %r4, 0;
    mov.b32 %r5, 0;
$L:
    mad.lo.s32 %r5, %r2, %r4, %r5;
    add.s32 %r4, %r4, 1;
    setp.lt.s32 %p1, %r4, %r1;
    @%p1 bra $L;
    setp.gt.s32 %p2, %r5, 30;
    @!%p2 st.global.b32 [%rd2], %r5;
    cvt.rn.f32.s32 %r6, %r5;
    mul.f32 %r6, %r6, 0f3F000000;
    @%p2 st.global.b32 [%rd2], %r6;
"""
    got = ran(body, torch.zeros(64, dtype=torch.int32), 4)
    sums = torch.arange(64, dtype=torch.int32) * (0 + 1 + 2 + 3)
    half = (sums.float() / 2).view(torch.int32)
    assert torch.equal(got, torch.where(sums > 30, half, sums))


@pytest.mark.quick
def test_numbers_are_rounded_as_torch_rounds_them():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.standard_normal(2000) * 10.0 ** rng.integers(-9, 9, 2000), [0, np.inf, -0.0]]
    )
    values = values.astype(np.float32)
    for kind, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        wanted = torch.from_numpy(values).to(dtype)
        got = bits.write(kind, values)
        assert np.array_equal(got, wanted.view(torch.uint16).numpy())
        assert np.array_equal(bits.read(kind, got), wanted.double().numpy())
    assert np.isnan(bits.read("bf16", bits.write("bf16", np.array([np.nan]))))
    cut = bits.read("f32", bits.to_tf32(bits.write("f32", values[:2000])))
    assert (np.abs(cut - values[:2000]) <= 2.0**-11 * np.abs(values[:2000])).all() and (
        cut != values[:2000]
    ).any()


def a_block(threads=32):
    empty = Global(np.zeros(0, np.uint8), np.zeros(0, bool), 0, Touched(1, 0))
    return Block(threads, (0, 0, 0), (1, 1, 1), 2048, empty, {}, None)


@pytest.mark.quick
@pytest.mark.parametrize(("kind", "depth"), [("bf16", 16), ("f16", 16), ("tf32", 8)])
def test_a_matrix_instruction_multiplies_what_its_fragments_hold(kind, depth):
    # as the PTX manual lays them out: thread 4 g + t has row g, columns 2 t, 2 t + 1 of 16 bits, or t of 32
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-8, 8, shape).astype(float) for shape in ((16, depth), (depth, 8), (16, 8)))
    group, thread = np.arange(32) // 4, np.arange(32) % 4

    def packed(matrix, row, column):
        if kind == "tf32":
            return bits.write("f32", matrix[row, column])
        two = [bits.write(kind, matrix[row, column + k]) for k in (0, 1)]
        return bits.joined(*two, 4)

    at, half = (thread, 4) if kind == "tf32" else (2 * thread, 8)
    left = [packed(a, group + 8 * (k % 2), at + half * (k // 2)) for k in range(4)]
    right = [packed(b.T, group, at + half * k) for k in (0, 1)]
    summed = [bits.write("f32", c[group + 8 * (k // 2), 2 * thread + k % 2]) for k in range(4)]
    got = a_block().multiply(kind, left, right, summed)
    for k in range(4):
        wanted = (a @ b + c)[group + 8 * (k // 2), 2 * thread + k % 2]
        assert np.array_equal(bits.read("f32", got[k]), wanted)


@pytest.mark.quick
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_go_to_shared_memory_and_back(transposed):
    block, rng = a_block(64), np.random.default_rng(0)
    values = [rng.integers(0, 2**32, 64, np.uint32) for _ in range(4)]
    address = np.arange(64, dtype=np.uint32) * 16
    block.store_matrices(address, values, transposed, "here")
    block.barrier(0)
    for old, new in zip(values, block.load_matrices(address, transposed, 4, "here"), strict=True):
        assert np.array_equal(old, new)
    other = block.load_matrices(address, not transposed, 1, "here")[0]
    whole = bits.halves(values[0].reshape(2, 32)).reshape(2, 8, 8)
    assert np.array_equal(bits.halves(other.reshape(2, 32)).reshape(2, 8, 8), whole.swapaxes(1, 2))


@pytest.mark.quick
def test_a_shuffle_takes_other_threads_registers():
    block, lanes = a_block(), np.arange(32, dtype=np.uint32)
    assert np.array_equal(block.shuffle("bfly", lanes, np.uint32(4), 31), lanes ^ 4)
    assert np.array_equal(block.shuffle("idx", lanes, np.uint32(5), 31), np.full(32, 5))
    up = block.shuffle("up", lanes, np.uint32(1), 0)
    assert np.array_equal(up, np.maximum(lanes.astype(int) - 1, 0))


def registers_after(name, operands, **registers):
    """What one instruction leaves in a block's registers."""
    block = a_block()
    block.registers.update(registers)
    function(Instruction(tuple(name.split(".")), operands, None, False, "here"), {})(block)
    return block.registers


@pytest.mark.quick
def test_bytes_pairs_and_upper_halves_are_those_of_the_ptx_manual():
    a, b = np.full(32, 0x44332211, np.uint32), np.full(32, 0x88776655, np.uint32)
    for which, wanted in (("0x7531U", 0x88664422), ("0x3210", 0x44332211), ("0x00F8", 0x1111FF00)):
        assert (
            registers_after("prmt.b32", ("%r3", "%r1", "%r2", which), **{"%r1": a, "%r2": b})["%r3"] == wanted
        ).all()
    pair = bits.joined(*(bits.write("bf16", np.array([v])) for v in (2.0, -1.0)), 4)
    zero = np.zeros(1, np.uint32)
    found = registers_after("setp.gt.bf16x2", ("%p1|%p2", "%r1", "%r2"), **{"%r1": pair, "%r2": zero})
    assert (found["%p1"].all(), found["%p2"].any()) == (True, False)
    negated = registers_after("neg.bf16x2", ("%r2", "%r1"), **{"%r1": pair})["%r2"]
    assert bits.read("bf16", bits.halves(negated)).tolist() == [[-2.0, 1.0]]
    left, right = 0xFFFFFFFFFFFFFFF5, 0x9E3779B97F4A7C15
    given = {"%rd1": np.array([left], np.uint64), "%rd2": np.array([right], np.uint64)}
    for kind, sign in (("u64", 0), ("s64", 2**64)):
        got = registers_after(f"mul.hi.{kind}", ("%rd3", "%rd1", "%rd2"), **given)["%rd3"]
        assert int(got[0]) == (((left - sign) * (right - sign)) >> 64) % 2**64


@pytest.mark.quick
def test_every_cell_of_the_list_has_kernels():
    assert all(
        cells.backend("triton").unsupported(cells.get(job.spec), device="cuda") is None for job in EVERY
    )
