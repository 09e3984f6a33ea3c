"""The probe error_growth: errors over T against another library in float64, tf32 by its bits, its section."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellbench import cells, harness
from cellbench.cells.programs.formats import FORMATS, TF32
from cellbench.harness import report, store
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk, Plan
from cellbench.harness.probes import error_growth
from cellbench.harness.probes._rounded_products import RoundedProducts, to_tf32

CASE = Case("error_growth", "gru", "torch", "cpu", "float32", 1, 17, 3, 4, 5, "forward")
FOUR = ("float32", TF32, "bfloat16", "float16")


def case_of(**values):
    return Case(**{**vars(CASE), **values})


def by_lag(rows, metric):
    (one,) = (row for row in rows if row["metric"] == metric)
    return dict(zip(one["lag"], one["values"], strict=True))


def of_torch_nn(dtype, steps):
    """The largest error of torch.nn.GRU's output and state, in numbers of the dtype, against its float64."""
    kind = getattr(torch, dtype)
    weights = cells.get("gru").init(4, 5, seed=0)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((steps, 3, 4))).to(kind)
    narrow, wide = torch.nn.GRU(4, 5, dtype=kind), torch.nn.GRU(4, 5, dtype=torch.float64)
    with torch.no_grad():
        for name, value in weights.items():
            rounded = torch.from_numpy(value).to(kind)
            getattr(narrow, f"{name}_l0").copy_(rounded)
            getattr(wide, f"{name}_l0").copy_(rounded.double())
        pairs = list(zip(narrow(x), wide(x.double()), strict=True))
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_errors_over_t_are_those_of_torch_nn_against_its_own_float64(dtype):
    ran, rows = error_growth.growth(case_of(backend="native", dtype=dtype))
    errors = by_lag(rows, "error")
    assert list(errors) == [1, 4, 16, 17] and ran.startswith("torch ")
    assert errors == pytest.approx({steps: of_torch_nn(dtype, steps) for steps in errors}, rel=1e-6)
    assert by_lag(rows, "tolerance")[16] == pytest.approx(
        {"float32": 32, "bfloat16": 4, "float16": 4}[dtype] * FORMATS[dtype].eps * 5
    )


@pytest.mark.quick
def test_tf32_is_the_reference_with_its_products_operands_rounded():
    """NumPy in float64, each operand rounded by the format's own rule, computes nearly the same."""
    cell, round_ = cells.get("gru"), FORMATS[TF32].round
    given = error_growth.inputs(case_of(dtype=TF32))
    state = np.zeros((3, 5))
    for x in given.x.astype(np.float64):
        wx, wh = (
            np.split(round_(v) @ round_(given.params[f"weight_{k}"]).T + given.params[f"bias_{k}"], 3, axis=1)
            for k, v in (("ih", x), ("hh", state))
        )
        r, z = (1 / (1 + np.exp(-(wx[k] + wh[k]))) for k in (0, 1))
        state = (1 - z) * np.tanh(wx[2] + r * wh[2]) + z * state
    exact = error_growth.reference(given, case_of(dtype=TF32))["state h"]
    expected = np.abs(state - exact).max()
    program = cells.backend("torch").prepare(cell, given.params, steps=17, batch=3, direction="forward")
    with RoundedProducts():
        found = program.forward(given.x).state["h"]
    assert expected > 1e-5 and np.abs(found - exact).max() == pytest.approx(expected, rel=0.05)
    ran, rows = error_growth.growth(case_of(dtype=TF32))
    assert ran.endswith("operands of products rounded to tf32, sums in float32")
    assert by_lag(rows, "error")[17] >= np.abs(found - exact).max() / np.abs(exact).max() * 0.99


@pytest.mark.quick
def test_rounding_to_tf32_is_the_formats_own_and_keeps_what_is_not_finite():
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    ties = np.float32(1) + np.arange(64, dtype=np.float32) * np.float32(2**-11)
    for array in (values, ties, np.float32([0.0, -0.0, 3e38])):
        assert (to_tf32(torch.from_numpy(array)).numpy() == FORMATS[TF32].round(array)).all()
    kept = to_tf32(torch.tensor([np.inf, -np.inf, np.nan])).numpy()
    assert kept[0] == np.inf and kept[1] == -np.inf and np.isnan(kept[2])


@pytest.mark.quick
def test_autograds_products_are_rounded_too_and_nothing_else_is():
    a, b = (torch.randn(3, 3, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    a.requires_grad_(True)
    with RoundedProducts():
        (gradient,) = torch.autograd.grad((a @ b).sum(), a)
        product = a.detach() * b
    assert torch.equal(gradient, torch.ones(3, 3) @ to_tf32(b).T) and torch.equal(product, a.detach() * b)


@pytest.mark.quick
def test_each_format_is_a_case_at_the_longest_t_whatever_dtype_says():
    plan = Plan(("gru",), ("torch",), (), (4, 9), (1,), (2,), (3,), ("forward",), "float64", "cpu", 1, (0,))
    cases = error_growth.ErrorGrowth().cases(plan)
    assert [(case.dtype, case.steps) for case in cases] == [(dtype, 9) for dtype in FOUR]
    assert len({case.id for case in cases}) == 4
    assert error_growth.lengths(1) == [1] and error_growth.lengths(16) == [1, 4, 16]


@pytest.mark.quick
@pytest.mark.parametrize(("backend", "dtype"), [("numba", TF32), ("native", TF32), ("numpy", "float16")])
def test_a_format_that_a_backend_has_not_is_unsupported(backend, dtype):
    with pytest.raises(NotOk, match=f"backend {backend} has no dtype {dtype}") as stop:
        error_growth.growth(case_of(backend=backend, dtype=dtype))
    assert stop.value.status == "unsupported"


@pytest.mark.quick
def test_what_goes_wrong_says_at_which_t_and_keeps_what_was_right_before(monkeypatch):
    real = error_growth.prepare

    def drifting(case, params):
        program = real(case, params)
        read = program.read
        program.read = lambda: (replace(read()[0], output=read()[0].output + (case.steps > 4)), None)
        return program

    monkeypatch.setattr(error_growth, "prepare", drifting)
    with pytest.raises(NotOk, match=r"^at T = 16: output is off") as stop:
        error_growth.growth(CASE)
    assert stop.value.status == "wrong" and list(by_lag(stop.value.series, "error")) == [1, 4]


def test_the_section_draws_a_line_for_each_format_and_its_tolerance_dashed(tmp_path):
    writer = store.create(tmp_path / "runs", {})
    for dtype in FOUR:
        case = case_of(dtype=dtype, variant=dtype)
        ran, rows = error_growth.growth(case)
        writer.append(case.id, case.definition, "ok", series=rows, implementation=ran, done=True)
    writer.close()
    folder = report.write(harness.load(tmp_path / "runs"), [], tmp_path / "page").parent
    text, drawn = (folder / "report.md").read_text(), (folder / "error_growth.svg").read_text()
    assert [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| gru | torch")] == [*FOUR]
    assert all(f">{dtype}<" in drawn for dtype in (*FOUR, "tolerance")) and "stroke-dasharray" in drawn
