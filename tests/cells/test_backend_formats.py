"""bfloat16 and float16: what has them, what comes out, and how far it may be from float64."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.comparison import BACKENDS, CELLS, compare, computed, fitting, label, problem, traceable

from cellbench import cells
from cellbench.cells.programs.formats import DTYPES, FORMATS, rounded
from cellbench.cells.programs.tolerance import MOST, moved, relative_errors, tolerance
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk
from cellbench.harness.programs import arrays, check, inputs, prepare, reference

NARROW = [name for name in DTYPES if FORMATS[name].narrow]
ABLE = [b for b in [*BACKENDS, "torch:mode=scan"] if set(NARROW) <= set(cells.backend(b).dtypes)]
# whose gradients overflow float16, which the check says
BEYOND_FLOAT16 = ("s5",)


def case_of(spec, backend, dtype, steps=17, batch=3, input_size=5, hidden_size=7, direction="backward"):
    sizes = fitting(cells.get(spec), input_size, hidden_size)
    return Case("throughput", spec, backend, "cpu", dtype, 1, steps, batch, *sizes, direction)


def run(case, given):
    program = prepare(case, given.params, given.lengths)
    program.load(given.x, None, given.d_output)
    program.run()
    return program.read()


def pairs(specs=CELLS):
    chosen = [
        (s, b, d)
        for s in specs
        for b in ABLE
        for d in NARROW
        if cells.backend(b).unsupported(cells.get(s), d) is None
    ]
    return pytest.mark.parametrize(
        ("spec", "backend", "dtype"), chosen, ids=["-".join(map(label, c)) for c in chosen]
    )


@pairs([s for s in CELLS if s not in BEYOND_FLOAT16])
def test_output_states_and_gradients_are_within_the_format_s_tolerance_of_float64(spec, backend, dtype):
    case = case_of(spec, backend, dtype)
    given = inputs(case, seed=1)
    error, allowed = check(run(case, given), given, case)
    assert error <= allowed <= MOST


def test_an_overflow_of_float16_is_told_with_its_largest_number():
    for spec in BEYOND_FLOAT16:
        case = case_of(spec, "torch", "float16", steps=64, batch=16, input_size=32, hidden_size=64)
        given = inputs(case, seed=1)
        with pytest.raises(
            NotOk, match=r"in float64, and the largest number of float16 is 6.6e\+04"
        ) as caught:
            check(run(case, given), given, case)
        assert caught.value.status == "unsupported"


@pytest.mark.parametrize("backend", ABLE)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("steps", [2, 40])
def test_ten_tolerances_a_zeroed_array_and_a_nan_are_wrong(backend, dtype, steps):
    spec = "mingru" if "scan" in backend else "lstm"
    case = case_of(spec, backend, dtype, steps)
    given = inputs(case)
    out, grads = run(case, given)
    check((out, grads), given, case)
    for name, array in arrays(out, grads).items():
        kept = array.copy()
        largest = np.abs(kept).max()
        wrong = {
            "off": kept.flat[0] + 10 * tolerance(dtype, steps) * largest,
            "nan": np.nan,
        }
        for value in wrong.values():
            array.flat[0] = value
            with pytest.raises(NotOk, match=f"^{name} is "):
                check((out, grads), given, case)
            array[...] = kept
        array[...] = 0
        with pytest.raises(NotOk, match=f"^{name} is off"):
            check((out, grads), given, case)
        array[...] = kept


def test_the_reference_is_run_on_the_rounded_inputs_and_weights():
    # bfloat16's rounding of the inputs alone is eps / 2, more than float64 from the rounded ones leaves
    case = case_of("lstm", "native", "bfloat16")
    given = inputs(case)
    for array in [*given.params.values(), given.x, given.d_output]:
        np.testing.assert_array_equal(array, torch.tensor(array).bfloat16().float().numpy())
    exact = reference(given, case)
    program = cells.backend("numpy").prepare(
        cells.get("lstm"), given.params, steps=case.steps, batch=case.batch, dtype="float64"
    )
    program.load(given.x, None, given.d_output)
    program.run()
    np.testing.assert_array_equal(arrays(*program.read())["d_x"], exact["d_x"])


@pytest.mark.parametrize("backend", ABLE)
def test_results_are_numpy_arrays_that_hold_the_format_s_numbers(backend):
    cell = cells.get("mingru" if "scan" in backend else "gru")
    for dtype, carrier in (("bfloat16", np.float32), ("float16", np.float16)):
        case = problem(cell)
        program = cells.backend(backend).prepare(cell, case.params, steps=17, batch=3, dtype=dtype)
        for array in computed(program, case, trace=traceable(program)).values():
            assert array.dtype == carrier
            kind = getattr(torch, dtype)
            np.testing.assert_array_equal(array, torch.tensor(array).to(kind).to(torch.tensor(array).dtype))


def test_rounding_is_torch_s_ties_subnormals_and_infinities_too():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(4000) * 10.0 ** rng.uniform(-45, 39, 4000)
    ends = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1 + 2**-8,
        1 + 3 * 2**-8,
        65504,
        65519,
        65520,
        6e-8,
        2.0**-149,
    ]
    values = np.concatenate([values[np.abs(values) < 3e38], ends]).astype(np.float32)
    for dtype in NARROW:
        theirs = torch.tensor(values).to(getattr(torch, dtype)).float().numpy()
        np.testing.assert_array_equal(rounded(values, dtype).astype(np.float32), theirs)
    assert FORMATS["float16"].largest == np.finfo(np.float16).max
    for name in ("float16", "float32", "float64"):
        assert FORMATS[name].eps == np.finfo(name).eps and FORMATS[name].tiny == np.finfo(name).tiny


@pytest.mark.parametrize("options", ["layers=2:bidirectional=true", "readout=2", "biases=0"])
@pytest.mark.parametrize("lengths", [None, [17, 2, 9]])
def test_stacks_read_outs_and_ragged_batches_have_the_formats_too(options, lengths):
    for backend in ("torch", "native"):
        for dtype in NARROW:
            case = case_of(f"gru:{options}", backend, dtype)
            given = replace(inputs(case), lengths=None if lengths is None else np.array(lengths))
            check(run(case, given), given, case)


def test_tensors_of_the_format_go_in():
    cell = cells.get("lstm")
    case = problem(cell)
    narrow = {k: torch.tensor(v).bfloat16().requires_grad_() for k, v in case.params.items()}
    program = cells.backend("torch").prepare(cell, narrow, steps=17, batch=3, dtype="bfloat16")
    from_tensors = program.forward(torch.tensor(case.x).bfloat16()).output
    held = cells.backend("torch").prepare(
        cell, {k: v.detach().float().numpy() for k, v in narrow.items()}, steps=17, batch=3, dtype="bfloat16"
    )
    np.testing.assert_array_equal(from_tensors, held.forward(rounded(case.x, "bfloat16")).output)


def test_the_reference_takes_tensors_of_the_formats():
    cell, case = cells.get("gru"), problem(cells.get("gru"))
    narrow = {k: torch.tensor(v).bfloat16() for k, v in case.params.items()}
    same = {k: v.double().numpy() for k, v in narrow.items()}
    sizes = {"steps": 17, "batch": 3, "dtype": "float64"}
    outs = [
        cells.backend("numpy").prepare(cell, p, **sizes).forward(torch.tensor(case.x).half()).output
        for p in (narrow, same)
    ]
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b not in ABLE])
@pytest.mark.parametrize("dtype", NARROW)
def test_a_backend_without_the_format_says_which_have_it(backend, dtype):
    reason, own = cells.backend(backend).unsupported(cells.get("lstm"), dtype), cells.backend(backend).dtypes
    assert (
        reason == f"backend {backend} has no dtype {dtype}; it has {', '.join(own)}; torch and native have it"
    )
    missing = cells.backend(backend).unavailable()
    with pytest.raises(ValueError, match=re.escape(missing or f"no dtype {dtype}")):
        cells.backend(backend).prepare(
            cells.get("lstm"), cells.get("lstm").init(2, 2), steps=1, batch=1, dtype=dtype
        )


def test_a_format_that_nobody_has_names_no_backend():
    assert cells.backend("torch").unsupported(cells.get("gru"), "float8") == (
        f"backend torch has no dtype float8; it has {', '.join(FORMATS)}"
    )


def test_a_kink_that_rounding_goes_over_is_no_error_of_the_program():
    # rounding takes units of a relu to its other side here, in float64 with inputs half an eps off too
    case = case_of("ligru", "torch", "float16", steps=64, batch=16, input_size=32, hidden_size=64)
    given = inputs(case, seed=1)
    result = run(case, given)
    errors = relative_errors(arrays(*result), reference(given, case), case.steps)
    assert max(errors.values()) > tolerance("float16", case.steps)
    check(result, given, case)


def test_what_rounding_moves_excuses_half_an_array_at_most():
    assert moved(0.01) == 0.02 and moved(10.0) == MOST == 0.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_tolerances_grow_with_the_format_s_eps_and_the_root_of_the_steps(dtype):
    factor = 4 if dtype in NARROW else 32
    assert tolerance(dtype, 4) == pytest.approx(factor * FORMATS[dtype].eps * 3)
    assert tolerance(dtype, 10**9) <= MOST


def test_gradients_by_lag_in_a_narrow_format_stop_where_the_format_does():
    from cellbench.harness.gradients import lag_profile

    cell = cells.get("elman")
    params = cell.init(3, 8, scheme="orthogonal(0.5)")
    x = np.random.default_rng(0).standard_normal((60, 2, 3))
    exact = lag_profile(cell, params, x).log_norm
    half = lag_profile(cell, params, x, backend="torch", dtype="float16").log_norm
    brain = lag_profile(cell, params, x, backend="torch", dtype="bfloat16").log_norm
    assert np.isfinite(exact).all() and np.isfinite(brain).all()
    assert np.isneginf(half[-1]).all()  # 2^-24 is float16's smallest number
    np.testing.assert_allclose(half[:5], exact[:5], atol=0.05)
    np.testing.assert_allclose(brain[:5], exact[:5], atol=0.2)
    compare({"first": brain[0]}, {"first": exact[0]}, 1e-2)
