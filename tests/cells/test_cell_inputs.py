"""How programs take inputs: layouts, dtypes, saturation, NaN, sequences in pieces, central differences."""

from functools import partial

import numpy as np
import pytest
import torch
from support.comparison import (
    CELLS,
    PLAIN,
    bitwise,
    compare,
    computed,
    label,
    named,
    prepare,
    problem,
    slack,
    tolerance,
)
from support.oracle import float64_autograd

from cellbench import cells
from cellbench.cells.derived.inner import inner_biases, inner_names
from cellbench.cells.kernels import arrays as printed

LAYOUTS = {
    "transposed": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
    "sliced": lambda a: np.repeat(np.pad(a, ((0, 0), (0, 0), (1, 2))), 2, axis=0)[::2, :, 1:-2],
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "float32": lambda a: a.astype(np.float32),
    "float64": lambda a: a.astype(np.float64),
    "long double": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f8"),
    "nested lists": lambda a: a.tolist(),
    "torch float32": lambda a: torch.tensor(a, dtype=torch.float32),
    "torch transposed": lambda a: torch.tensor(a.transpose(1, 0, 2).copy()).transpose(0, 1),
    "torch with gradient": lambda a: torch.tensor(a, requires_grad=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_and_dtype_of_the_inputs_do_not_matter(backend, dtype, layout):
    case = problem(cells.get(PLAIN))
    program = prepare(backend, case, dtype)
    want = computed(program, case)
    case.x, case.d_output = LAYOUTS[layout](case.x), LAYOUTS[layout](case.d_output)
    bitwise(computed(program, case), want)


def test_bfloat16_tensors_are_taken_as_real_floating(backend):
    case = problem(cells.get(PLAIN))
    program = prepare(backend, case)
    x = torch.tensor(case.x).bfloat16()
    bitwise(named(program.forward(x)), named(program.forward(x.double().numpy())))


def test_saturation_is_finite_and_equals_the_oracle(spec, backend, dtype):
    case = problem(cells.get(spec), inputs=1)
    for arrays in (case.params, case.state):  # multiples of 2^-10: float32 holds their sums with 800 exactly
        arrays.update({name: np.round(1024 * array) / 1024 for name, array in arrays.items()})
    sign = np.where(np.arange(len(case.params["weight_ih"])) % 2, 1.0, -1.0)
    case.params["weight_ih"] = np.broadcast_to(32 * sign[:, None], case.params["weight_ih"].shape)
    case.x = 25 * np.sign(
        case.x
    )  # pre-activations of +-800, and neither factor so large that it amplifies rounding
    allowed = slack(case.cell) * tolerance(dtype, case.steps)
    have, want = computed(prepare(backend, case, dtype), case), float64_autograd(case)
    states = [name for name in want if name.startswith("d_state")]
    # where the output grows with x, what a state gets is left over from terms as large as the output
    compare(
        {k: have.pop(k) for k in states},
        {k: want.pop(k) for k in states},
        allowed * max(1, np.abs(want["output"]).max()),
    )
    compare(have, want, allowed)


def test_a_nan_spoils_its_own_sample_from_its_step_on(spec, backend, dtype):
    case = problem(cells.get(spec))
    program = prepare(backend, case, dtype)
    clean = program.forward(case.x, case.state).output
    case.x[[5, -1], 1, 2] = np.nan  # at the end too, for states that remember a step or two
    out = program.forward(case.x, case.state)
    assert np.isnan(out.output[5:, 1]).all()
    assert all(np.isnan(v[1]).all() for v in out.state.values())
    spared = [0, 2]
    compare(
        {"before": out.output[:5], "others": out.output[:, spared]},
        {"before": clean[:5], "others": clean[:, spared]},
        0,
    )


def test_steps_of_one_equal_the_whole_sequence(spec, backend, dtype):
    case = problem(cells.get(spec))
    whole = prepare(backend, case, dtype).forward(case.x, case.state)
    one = prepare(backend, case, dtype, "forward", steps=1)
    state, outputs = case.state, []
    for x in case.x:
        out = one.forward(x[None], state)
        outputs.append(out.output[0])
        state = out.state
    pieces = {"output": np.stack(outputs)} | {f"state.{k}": v for k, v in state.items()}
    compare(pieces, named(whole), tolerance(dtype, case.steps))


def test_two_halves_with_carried_state_equal_the_whole_sequence(spec, backend, dtype):
    case = problem(cells.get(spec))
    want = computed(prepare(backend, case, dtype), case)
    early, late = (prepare(backend, case, dtype, steps=n) for n in (6, 11))
    first = early.forward(case.x[:6], case.state)
    second = late.forward(case.x[6:], first.state)
    later = late.backward(case.d_output[6:], case.d_state)
    sooner = early.backward(case.d_output[:6], later.state)
    got = named(second, sooner) | {"output": np.concatenate([first.output, second.output])}
    got |= {f"d_{k}": sooner.params[k] + later.params[k] for k in case.params} | {
        "d_x": np.concatenate([sooner.x, later.x])
    }
    compare(got, want, slack(case.cell) * tolerance(dtype, case.steps))


def test_reference_backward_matches_central_differences(spec):
    case = problem(cells.get(spec), steps=3, batch=2, inputs=2, hidden=3)
    grads = computed(prepare("numpy", case), case)

    def loss():
        out = prepare("numpy", case, direction="forward").forward(case.x, case.state)
        return np.sum(out.output * case.d_output) + sum(
            np.sum(v * case.d_state[k]) for k, v in out.state.items()
        )

    moved = (
        {f"d_{k}": v for k, v in case.params.items()}
        | {"d_x": case.x}
        | {f"d_state.{k}": v for k, v in case.state.items()}
    )
    differences = {name: central(loss, array) for name, array in moved.items()}
    compare({k: grads[k] for k in moved}, differences, 1e-7)


def central(loss, array, by=1e-5):
    """Gradient of the loss by the array, one element at a time."""
    result = np.empty_like(array)
    for k in np.ndindex(array.shape):
        kept = array[k]
        array[k] = kept + by
        above = loss()
        array[k] = kept - by
        result[k] = (above - loss()) / (2 * by)
        array[k] = kept
    return result


@pytest.mark.parametrize("spec", [spec for spec in CELLS if not cells.get(spec).written_out], ids=label)
@pytest.mark.parametrize("unsaturated", [False, True])
def test_vector_jacobian_product_matches_central_differences(spec, unsaturated):
    cell, rng = cells.get(spec), np.random.default_rng(0)
    module = printed.module(cell, unsaturated)

    def draw(names):
        return tuple(rng.standard_normal(200) for _ in names)

    kinds = (cell.gates, cell.fed_gates, cell.states, (*cell.vectors, *inner_biases(cell)))
    inputs, moves = (tuple(map(draw, kinds)) for _ in range(2))
    d_output, d_new = draw(cell.derivation().outputs), draw(cell.states)
    matrices = [rng.standard_normal((200, 200)) / 14 for _ in inner_names(cell)]
    times, transposed = (
        [tuple(partial(multiplied, m) for m in which)] if matrices else []
        for which in (matrices, [m.T for m in matrices])
    )

    def along(by):
        """The seeds times the outputs, after a move of the inputs."""
        moved = (
            tuple(v + by * m for v, m in zip(*pair, strict=True)) for pair in zip(inputs, moves, strict=True)
        )
        outputs, new, _ = module.forward(*moved, *times)
        seen = sum(d * v for d, v in zip(d_new, new, strict=True))
        own = cell.derivation().output_states
        rest = sum(d * v for d, v, state in zip(d_output, outputs, own, strict=True) if state is None)
        return per_unit(seen + rest)

    def per_unit(value):
        """Each unit by itself, unless the step joins them: then only their sum is the seeds' product."""
        return value if cell.pointwise else np.sum(value)

    _, new, keeps = module.forward(*inputs, *times)
    found = module.backward(keeps, inputs[2], new, inputs[3], d_output, d_new, *transposed)
    product = per_unit(
        sum(d * m for part, move in zip(found, moves, strict=False) for d, m in zip(part, move, strict=True))
    )
    compare({"product": product}, {"product": (along(1e-5) - along(-1e-5)) / 2e-5}, 1e-8)


def multiplied(matrix, value):
    return matrix @ np.broadcast_to(value, matrix.shape[1])


def test_the_caller_s_arrays_may_be_used_again_after_a_forward(backend, dtype):
    case = problem(cells.get(PLAIN))
    case.params = {k: v.astype(dtype) for k, v in case.params.items()}
    case.x = case.x.astype(dtype)
    program = prepare(backend, case, dtype)
    want = computed(program, case)
    out = program.forward(case.x, case.state)
    for array in (case.x, *case.params.values()):
        array[:] = 9
    bitwise(named(out, program.backward(case.d_output, case.d_state)), want)


def test_backward_of_inputs_that_were_loaded_but_not_run_is_refused_or_of_the_last_forward(backend):
    case = problem(cells.get(PLAIN))
    program = prepare(backend, case)
    want = computed(program, case)
    program.load(case.x[::-1], case.state)
    try:
        grads = program.backward(case.d_output, case.d_state)
    except ValueError as error:
        assert "forward" in str(error)
    else:
        bitwise({"d_weight_ih": grads.params["weight_ih"]}, {"d_weight_ih": want["d_weight_ih"]})
