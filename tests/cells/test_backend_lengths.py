"""Ragged batches: every sequence as if it ran alone to its own length, whatever its padding holds."""

import numpy as np
import pytest
from support.comparison import (
    BACKENDS,
    CELLS,
    ODD,
    bitwise,
    compare,
    computed,
    label,
    named,
    on_backends,
    prepare,
    problem,
    slack,
    supports,
    tolerance,
)
from support.stacks import LENGTHS, one_by_one, torch_nn

from cellbench import cells

STACKS = ["", ":layers=2", ":bidirectional=true", ":layers=3:bidirectional=true"]
# those that Numba is tried with: its kernels of the other cells come from the same text, and compile for long
FUSED = [
    "elman",
    "lstm",
    "gru",
    "slstm",
    "lru",
    *(f"{ODD}:{name}" for name in ("Apart", "Heads", "Pair", "Oscillator")),
]


def ragged(backend, case, dtype="float64", lengths=LENGTHS, **more):
    return prepare(backend, case, dtype, lengths=lengths, **more)


def padded(case, value, lengths=LENGTHS):
    """The problem with x and d_output beyond the lengths replaced."""
    for array in (case.x, case.d_output):
        for b, length in enumerate(lengths):
            array[length:, b] = value
    return case


@on_backends(
    "which",
    [
        f"{name}{options}:biases={biases}"
        for name in ("elman", "lstm", "gru")
        for options in STACKS
        for biases in (0, 2)
    ],
)
def test_ragged_sequences_and_their_gradients_equal_packed_torch_nn(which, backend):
    case = problem(cells.get(which), 7)
    compare(computed(ragged(backend, case), case), torch_nn(case, LENGTHS), tolerance("float64", 7))


ALONE = [
    (which + options, backend)
    for options in ("", ":bidirectional=true")
    for which in CELLS
    for backend in BACKENDS
    if supports(backend, which + options) and (backend != "numba" or which in FUSED)
]


@pytest.mark.parametrize(("which", "backend"), ALONE, ids=label)
def test_every_sequence_equals_itself_alone_by_float64_autograd(which, backend):
    case = problem(cells.get(which), 7)
    allowed = 4 * slack(case.cell) * tolerance("float64", 7)
    compare(computed(ragged(backend, case), case), one_by_one(case, LENGTHS), allowed)


def test_ragged_sequences_in_float32_equal_float64(backend, dtype):
    case = problem(cells.get("lstm:layers=2:bidirectional=true:readout=2"), 7)
    compare(computed(ragged(backend, case, dtype), case), one_by_one(case, LENGTHS), 2 * tolerance(dtype, 7))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@on_backends("which", ["lstm:layers=2:bidirectional=true", "gru:readout=2", f"{ODD}:Heads", f"{ODD}:Written"])
def test_what_padding_holds_changes_no_bit(which, value, backend):
    case = problem(cells.get(which), 7)
    program = ragged(backend, case)
    want = computed(program, padded(case, 0.0))
    bitwise(computed(program, padded(case, value)), want)
    for name in ("output", "d_x"):
        assert all((want[name][length:, b] == 0).all() for b, length in enumerate(LENGTHS))


def test_a_nan_in_a_sequence_stays_in_it(backend):
    case = problem(cells.get("lstm:layers=2:bidirectional=true"), 7)
    program = ragged(backend, case)
    want = named(program.forward(case.x, case.state))
    case.x[3, 0, 2] = np.nan
    found = named(program.forward(case.x, case.state))
    others = {k: v[..., 1:, :] for k, v in found.items()}
    compare(others, {k: v[..., 1:, :] for k, v in want.items()}, tolerance("float64", 7))
    assert np.isnan(found["output"][:4, 0]).any() and (found["output"][4:, 0] == 0).all()
    assert np.isnan(found["state.h"][:, 0]).any()


def test_lengths_of_all_steps_change_nothing(backend, dtype):
    case = problem(cells.get("gru:bidirectional=true"), 7)
    full = computed(ragged(backend, case, dtype, [7, 7, 7]), case)
    compare(full, computed(prepare(backend, case, dtype), case), tolerance(dtype, 7))


def test_sequences_of_one_step_and_one_sequence(backend):
    for lengths, sizes in (([1, 1, 1], {}), ([3], {"batch": 1})):
        case = problem(cells.get("lstm:bidirectional=true"), 7, **sizes)
        compare(
            computed(ragged(backend, case, lengths=lengths), case),
            one_by_one(case, lengths),
            tolerance("float64", 7),
        )


def test_the_trajectory_passes_over_padding_unchanged_or_is_refused(backend):
    case = problem(cells.get("lstm"), 7)
    program = ragged(backend, case)
    if reason := program.untraceable():
        with pytest.raises(ValueError, match=reason.partition(":")[0]):
            computed(program, case, trace=True)
        return
    found = computed(program, case, trace=True)
    for name in ("h", "c"):
        path = found[f"trajectory.{name}"]
        assert all((path[length + 1 :, b] == case.d_state[name][b]).all() for b, length in enumerate(LENGTHS))
        compare({name: path[0]}, {name: found[f"d_state.{name}"]}, 1e-14)


def test_load_run_read_of_ragged_sequences_equals_forward_backward(backend):
    case = problem(cells.get("gru:layers=2"), 7)
    program = ragged(backend, case)
    want = named(program.forward(case.x, case.state), program.backward(case.d_output))
    program.load(case.x, case.state, case.d_output)
    program.run()
    program.sync()
    compare(named(*program.read()), want, tolerance("float64", 7))


def test_forward_only_of_ragged_sequences_gives_the_outputs_of_backward(backend):
    case = problem(cells.get("lstm"), 7)
    both = ragged(backend, case).forward(case.x, case.state)
    alone = ragged(backend, case, direction="forward").forward(case.x, case.state)
    compare(named(alone), named(both), tolerance("float64", 7))


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_lengths_may_be_any_sequence_of_whole_numbers(kind, backend):
    case = problem(cells.get("gru"), 7)
    bitwise(
        computed(ragged(backend, case, lengths=kind(LENGTHS)), case), computed(ragged(backend, case), case)
    )


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([4, 0, 9], r"lengths\[1\] is 0; it must be a whole number from 1 to steps = 7"),
        ([4, 8, 0], r"lengths\[1\] is 8"),
        ([4, 7, 2.0], r"lengths\[2\] is 2.0"),
        ([True, 7, 2], r"lengths\[0\] is True"),
        ([4, 7], "lengths has 2 entries; the batch is 3, so it must have 3"),
        ([], "lengths has 0 entries"),
        (4, "lengths is 4; it must be a sequence of 3 whole numbers"),
        ("471", r"lengths\[0\] is '4'"),
        (np.array([[4, 7, 1]] * 3), r"lengths\[0\] is \[4, 7, 1\]"),
    ],
)
def test_bad_lengths_are_one_line_that_names_the_first(lengths, said, backend):
    with pytest.raises(ValueError, match="^" + said) as error:
        ragged(backend, problem(cells.get("gru"), 7), lengths=lengths)
    assert "\n" not in str(error.value)
