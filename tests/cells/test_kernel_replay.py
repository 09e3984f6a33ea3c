"""What a cell writes for whole arrays: recorded once, printed as loop nests, and replayed on new arrays."""

from functools import partial

import numpy as np
import pytest

from cellbench import cells
from cellbench.cells.kernels import packing, replay
from cellbench.cells.kernels.packing import Packing
from cellbench.cells.kernels.replay import Replays
from cellbench.cells.programs.products import Products
from cellbench.cells.vocabulary.matrices import concatenate, expm, linear
from cellbench.cells.vocabulary.primitives import exp, maximum, sigmoid, softplus, tanh
from cellbench.cells.vocabulary.tape import at_once

RANDOM = np.random.default_rng(0)
WRITING = [n for n in cells.names() if cells.get(n).writes("project") or cells.get(n).writes("emit")]


real = packing.panels.packed


def normal(*shape):
    return RANDOM.standard_normal(shape)


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(packing, "most_threads", lambda: 1)
    monkeypatch.setattr(packing, "WORK", 1)  # so that small products are packed too


def replays(keeping, dtype="float64"):
    return Replays("test", keeping, dtype)


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def nests_of(monkeypatch):
    """The nests that are compiled from now on."""
    compiled, nests = replay._compiled, []

    def noted(name, some):
        nests.extend(some)
        return compiled(name, some)

    monkeypatch.setattr(replay, "_compiled", noted)
    return nests


def held(function, shapes, compiled, monkeypatch):
    """Runs a function and its gradients both ways, twice on other numbers."""
    nests, runs = nests_of(monkeypatch), replays(keeping=True)
    for _ in range(2):
        arrays = [normal(*shape) for shape in shapes]
        wanted, pull = at_once("f", function, arrays)
        found, pull_found = runs.run("f", function, arrays)
        same(found, wanted)
        cotangents = [normal(*np.shape(r)) for r in wanted]
        same(pull_found(cotangents), pull(cotangents))
    assert len(nests) == compiled and list(runs.known.values()) != [None]
    return nests


def test_a_chain_is_one_nest_forward_and_what_a_pull_needs_is_kept(monkeypatch):
    def chain(a, b):
        return [tanh(a * 2 + b) / (1 + exp(-a))]

    (forward, *_) = held(chain, [(9, 10, 64), (64,)], 4, monkeypatch)
    assert forward.forms[1:] == ((90, 64), (64,))


@pytest.mark.parametrize(
    ("a", "b", "forms"),
    [
        ((8, 9, 16, 8), (8, 9, 1, 8), [(72, 16, 8), (72, 8)]),
        ((8, 9, 16, 8), (16, 8), [(72, 128), (128,)]),
        ((8, 9, 16, 1), (8, 9, 1, 8), [(72, 16), (72, 8)]),
        ((1, 1, 64, 64), (64, 1), [(64, 64), (64,)]),
        ((8, 1, 16, 64), (1, 9, 1, 1), [(8, 1024), (9,)]),
    ],
)
def test_axes_that_all_arrays_have_or_lack_together_are_one_loop(a, b, forms, monkeypatch):
    found = held(lambda a, b: [a * b], [a, b], 3, monkeypatch)
    assert list(found[0].forms[1:]) == forms


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 1), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_sum_is_made_in_its_nest_over_any_axes(axis, keepdims, monkeypatch):
    nests = held(
        lambda a, b: [(a * sigmoid(b)).sum(axis, keepdims)], [(12, 30, 20), (30, 20)], 3, monkeypatch
    )
    assert nests[0].sums and len(nests[0].reads) == 2


def test_a_long_sum_is_as_exact_as_its_terms():
    a, b = (normal(40_000, 1, 8).astype("float32") for _ in range(2))
    (found,), _ = replays(keeping=False, dtype="float32").run("f", lambda a, b: [(a * b).sum(0)], [a, b])
    exact = (a * b).sum(0, dtype="float64")
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-7 * np.abs(a * b).sum(0).max())


def test_views_products_and_small_arrays_are_numpys(monkeypatch):
    def every(x, w, v):
        halves = linear(x, w)[..., :4], linear(x, w)[..., 4:].swapaxes(0, 1).swapaxes(0, 1)
        joined = concatenate([*halves, halves[0]])
        return [maximum(joined, 0.1) - joined.mT.sum(-1, keepdims=True).mT * v, -v]

    held(every, [(5, 6, 7), (9, 7), (13,)], 0, monkeypatch)


def test_what_has_no_step_of_its_own_runs_at_once():
    runs, matrix = replays(keeping=False), normal(70, 70) / 70
    (found,), _ = runs.run("f", lambda a: [expm(a) * 2], [matrix])
    same([found], at_once("f", lambda a: [expm(a) * 2], [matrix])[0])
    assert list(runs.known.values()) == [None]


def gates(function, shapes, steps, batch, units, count, inside=lambda wx: None):
    """Runs a function both ways into one array of gates, whose cotangents overwrite it before the pull."""
    arrays, d_wx = [normal(*shape) for shape in shapes], normal(steps, batch, count, units)
    outcomes = []
    for run in (at_once, replays(keeping=True).run):
        wx = np.full((steps, batch, count, units), np.nan)
        _, pull = run("f", function, arrays, wx)
        first = wx.copy()
        wx[:] = d_wx
        outcomes.append([first, *pull(wx)])
    same(*outcomes)


@pytest.mark.parametrize(("steps", "batch"), [(7, 5), (1, 40), (40, 1), (1, 1)])
def test_gates_are_written_and_read_where_they_lie(steps, batch, monkeypatch):
    def split(x, a):
        whole = x.reshape(steps, batch, 80, 1) * exp(a)
        return [
            whole.reshape(steps, batch, -1),
            (whole * x.reshape(steps, batch, 80, 1)).reshape(steps, batch, -1),
        ]

    nests = nests_of(monkeypatch)
    gates(split, [(steps, batch, 80), (80, 60)], steps, batch, 80 * 60, 2)
    assert any(nest.out.gate == 1 for nest in nests)
    assert {read.gate for nest in nests for read in nest.reads} == {None, 0, 1}


def test_a_gate_that_a_pull_reads_is_no_part_of_the_array_that_its_cotangent_overwrites():
    gates(lambda x, b: [tanh(x + b), softplus(x * b)], [(6, 7, 150), (150,)], 6, 7, 150, 2)


def test_a_gate_that_another_is_made_of_is_kept_too():
    def squared(x):
        doubled = (x.reshape(6, 7, 150, 1) * np.full(2, 2.0)).reshape(6, 7, 300)
        return [doubled, doubled * doubled]

    gates(squared, [(6, 7, 150)], 6, 7, 300, 2)


def test_a_gate_without_an_array_of_its_own_is_written_too():
    gates(lambda x: [x * 2, 0.5], [(6, 7, 150)], 6, 7, 150, 2)


def test_one_value_as_two_gates_is_written_twice_and_has_both_cotangents():
    def twice(x):
        doubled = x * x[..., :1]
        return [doubled, -x, doubled]

    gates(twice, [(6, 7, 150)], 6, 7, 150, 3)


def linears(x, w, v, b):
    """Gates that are a product alone, one with a bias, inside a function, and read twice."""
    gates = [linear(x, w[:40]), linear(x, w[40:], b), tanh(linear(x, v, b)), linear(x, v)]
    return [*gates[:3], gates[3] * gates[3]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [packing.ROWS - 1, packing.ROWS])
def test_products_with_what_stays_the_same_are_packed_once(rows, dtype, one_thread, monkeypatch):
    packed = []
    monkeypatch.setattr(packing.panels, "packed", lambda *given: packed.append(given) or real(*given))
    runs = replays(keeping=True, dtype=dtype)
    for _ in range(2):  # of other arrays
        fixed = [normal(*shape).astype(dtype) for shape in ((80, 70), (40, 70), (40,))]
        whole = runs.anew()
        for _ in range(2):  # of other inputs
            x, d_wx = normal(1, rows, 70).astype(dtype), normal(1, rows, 4, 40).astype(dtype)
            outcomes = []
            for run in (lambda *given: at_once(*given[:4]), whole.run):
                wx = np.full_like(d_wx, np.nan)
                _, pull = run("f", lambda w, v, b, x: linears(x, w, v, b), [*fixed, x], wx, 3)
                outcomes.append([wx.copy(), *pull(d_wx)])
            for found, wanted in zip(*outcomes, strict=True):
                error = 50 * np.finfo(dtype).eps * np.abs(wanted).max()
                np.testing.assert_allclose(found, wanted, rtol=0, atol=error)
    # each time three matrices forward, and as many transposed
    assert len(packed) == (2 * 6 if rows >= packing.ROWS else 0)


def test_a_product_that_is_a_result_too_is_not_added_to(one_thread):
    def sums(w, b, x):
        first, second = linear(x, w), linear(x, w)
        return [first, first + second, linear(x, w) + b, second]

    given = [normal(40, 70), normal(40), normal(1, packing.ROWS, 70)]
    d_wx, outcomes = normal(1, packing.ROWS, 4, 40), []
    for run in (lambda *given: at_once(*given[:3]), replays(keeping=True).run):
        found, pull = run("f", sums, given, None, 2)
        outcomes.append([*found, *pull(list(np.moveaxis(d_wx, 2, 0)))])
    same(*outcomes)


def test_rows_that_lie_apart_are_multiplied_where_they_lie(one_thread):
    many, matrix, bias = normal(300, 2, 33), normal(33, 29), normal(29)
    out = np.zeros((300, 3, 29))
    Packing("float64").multiply("w", many[:, 1], matrix, bias, out[:, 2])
    same([out[:, 2], out[:, :2]], [many[:, 1] @ matrix + bias, np.zeros((300, 2, 29))])
    turned = Packing("float64").multiply("w", np.asfortranarray(many[:, 0]), matrix)
    same([turned], [many[:, 0] @ matrix])


def test_products_are_blas_s_where_it_has_threads(monkeypatch):
    monkeypatch.setattr(packing, "most_threads", lambda: 2)
    some = Packing("float64")
    same([some.multiply("w", np.ones((300, 4)), np.ones((4, 5)), np.ones(5))], [np.full((300, 5), 5.0)])
    assert not some.packed


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize(("steps", "batch"), [(50, 3), (1, 130), (130, 1)])
def test_every_cell_that_writes_for_whole_arrays_is_replayed(name, steps, batch, one_thread):
    cell, size = cells.get(name), 48
    params = cell.init(size, size, np.random.default_rng(1))
    x, units = normal(steps, batch, size), cell.units(size)
    runs = replays(keeping=True)
    kinds = [Products(cell, params, True), Products(cell, params, True, runs)]
    outputs = [normal(steps, batch, units) for _ in cell.derivation().outputs]
    d_y, d_wx = (
        normal(steps, batch, cell.output_size(size, size)),
        normal(steps, batch, len(cell.gates), units),
    )
    found = [partial(_both_ways, cell, products, x, outputs, d_y, d_wx)() for products in kinds]
    same(*found)
    assert None not in runs.known.values() and runs.known


def _both_ways(cell, products, x, outputs, d_y, d_wx):
    results = []
    if products.projects:
        wx = np.empty_like(d_wx)
        products.project(x, wx)
        results.append(wx.copy())
        wx[:] = d_wx
        results.append(products.pull_project(x, wx))
    if products.emits:
        results.append(products.emit(x, outputs))
        d_outputs, d_x = products.pull_emit(d_y)
        results += [*d_outputs, d_x]
    return [*results, *products.finish().values()]
