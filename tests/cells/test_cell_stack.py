"""Cells of several layers and of both directions equal torch.nn, and their layers one after the other."""

from itertools import product

import numpy as np
import pytest
import torch
from support.comparison import (
    CELLS,
    DTYPES,
    ODD,
    bitwise,
    combined,
    compare,
    computed,
    fitting,
    named,
    on_backends,
    prepare,
    problem,
    slack,
    tolerance,
)
from support.stacks import OPTIONS, one_by_one, torch_nn

from cellbench import cells
from cellbench.cells.derived import layers

TORCH = ["elman", "elman:activation=relu", "lstm", "gru"]


EQUAL = [
    f"{name}:layers={layers}:bidirectional={both}:biases={biases}"
    for name, layers, both, biases in product(TORCH, (1, 2, 3), (False, True), (0, 2))
]


def stack(spec, steps=7, **sizes):
    """A problem of a stack."""
    return problem(cells.get(spec), steps, **sizes)


def stackable(spec):
    """Whether all layers can have the sizes of a problem: some cells want inputs as wide as they are."""
    cell = cells.get(spec)
    return layers.unfit(cell, *fitting(cell, 5, 7)) is None


# every cell in the fullest stack, and torch's with each option alone
STACKS = [f"{spec}:{OPTIONS[-1]}" for spec in CELLS]
STACKS += [f"{spec}:{options}" for spec, options in product(TORCH, OPTIONS[:-1])]
EVERY, LABELS = combined([spec for spec in STACKS if stackable(spec)], DTYPES)


@on_backends("which", EQUAL)
def test_a_stack_and_its_gradients_equal_torch_nn(which, backend):
    case = stack(which)
    compare(computed(prepare(backend, case), case), torch_nn(case), tolerance("float64", 7))


@pytest.mark.parametrize(("which", "backend", "dtype"), EVERY, ids=LABELS)
def test_a_stack_equals_its_layers_by_float64_autograd(which, backend, dtype):
    case = stack(which)
    # two layers' rounding, the second's on the first's
    allowed = 4 * slack(case.cell) * tolerance(dtype, case.steps)
    compare(computed(prepare(backend, case, dtype), case), one_by_one(case), allowed)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_read_out_sees_the_last_layer_s_two_directions(options, backend):
    case = stack(f"gru:readout=3:{options}")
    assert case.params["weight_out"].shape == (3, 7 * case.cell.directions)
    compare(computed(prepare(backend, case), case), one_by_one(case), 2 * tolerance("float64", 7))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_names_order_shapes_and_counts_are_torch_s(name, options):
    cell = cells.get(f"{name}:{options}")
    kind, more = cell.torch_module()
    module = getattr(torch.nn, kind)(5, 7, cell.layers, bidirectional=cell.bidirectional, **more)
    shapes = cell.parameter_shapes(5, 7)
    assert list(shapes.items()) == [(k, tuple(v.shape)) for k, v in module.named_parameters()]
    assert cell.parameter_count(5, 7) == sum(p.numel() for p in module.parameters())
    output, last = module(torch.zeros(2, 3, 5))
    assert cell.output_size(5, 7) == output.shape[-1]
    assert {tuple(v.shape) for v in (last if isinstance(last, tuple) else (last,))} == set(
        cell.state_shapes(3, 7).values()
    )
    assert cell.sizes(cell.init(5, 7)) == (5, 7)


def test_one_layer_in_one_direction_keeps_the_plain_names():
    assert cells.get("gru:layers=1:bidirectional=false") == cells.get("gru")
    assert list(cells.get("gru").parameter_shapes(5, 7)) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


def test_initial_arrays_are_drawn_for_each_part_and_repeat():
    cell = cells.get("lstm:layers=2:bidirectional=true")
    for scheme in ("torch", "orthogonal(1.5)", "forget_bias(2)"):
        first = cell.init(5, 7, seed=3, scheme=scheme)
        bitwise(cell.init(5, 7, seed=3, scheme=scheme), first)
        own = cells.get("lstm").init(5, 7, seed=3, scheme=scheme)
        bitwise({k: first[f"{k}_l0"] for k in own}, own)
        assert not np.array_equal(first["weight_hh_l0"], first["weight_hh_l0_reverse"])
        if scheme.startswith("orthogonal"):
            block = first["weight_hh_l1_reverse"][:7]
            compare({"W W'": block @ block.T}, {"W W'": 1.5**2 * np.eye(7)}, 1e-14)
        if scheme.startswith("forget"):
            assert (first["bias_ih_l1"][7:14] == 2).all()


def test_operations_are_those_of_the_layers():
    one, wide = cells.get("gru").operations(5, 7), cells.get("gru").operations(14, 7)
    both = cells.get("gru:layers=2:bidirectional=true").operations(5, 7)
    assert both.forward == 2 * (one.forward + wide.forward)
    assert (
        both.backward == 2 * (one.backward + wide.backward) + 5 + 14
    )  # the sums of what two directions give their input
    read = cells.get("gru:bidirectional=true:readout=3").operations(5, 7)
    assert read.forward == 2 * one.forward + 2 * 3 * 14 + 3


def test_options_show_and_lead_back_to_the_cell():
    cell = cells.get("lstm:layers=2:bidirectional=true")
    assert cell.options == "layers=2:bidirectional=True"
    assert cells.get(f"lstm:{cell.options}") == cell


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": 0}, "layers is 0; it must be a whole number of at least 1"),
        ({"layers": 1.5}, "layers is 1.5"),
        ({"layers": True}, "layers is True"),
        ({"bidirectional": 2}, "bidirectional is 2; it must be True or False"),
    ],
)
def test_a_bad_option_is_one_line(options, said):
    with pytest.raises(ValueError, match="^" + said.replace(".", r"\.")):
        cells.get("gru", **options)
    with pytest.raises(
        ValueError, match=r"^option bidirectional of 'gru' is 'yes'; it must be true or false$"
    ):
        cells.get("gru:bidirectional=yes")


def test_wrong_arrays_of_a_stack_are_named(backend):
    cell = cells.get("gru:layers=2")
    params = cell.init(5, 7)
    make = cells.backend(backend).prepare
    with pytest.raises(ValueError, match=r"parameters are weight_ih, .* has weight_ih_l0"):
        make(cell, cells.get("gru").init(5, 7), steps=3, batch=2)
    with pytest.raises(ValueError, match=r"weight_ih_l1 is \(21, 5\).* must be \(21, 7\)"):
        make(cell, params | {"weight_ih_l1": params["weight_ih_l0"]}, steps=3, batch=2)
    program = make(cell, params, steps=3, batch=2)
    with pytest.raises(
        ValueError,
        match=r"state h is \(2, 7\); this program takes \(2, 2, 7\) \(layers \* directions, B, H\)",
    ):
        program.forward(np.zeros((3, 2, 5)), {"h": np.zeros((2, 7))})


def test_a_layer_that_cannot_have_the_size_is_named():
    with pytest.raises(ValueError, match=r"layer 1: cell 'mamba' .* input_size 14 must equal hidden_size 7"):
        cells.get("mamba:layers=2:bidirectional=true").init(7, 7)


@on_backends("which", ["lstm:layers=2", f"{ODD}:Written:layers=2"])
def test_the_trajectory_of_layers_starts_and_ends_with_the_states_cotangents_or_is_refused(which, backend):
    case = stack(which)
    program = prepare(backend, case)
    if reason := program.untraceable():
        with pytest.raises(ValueError, match=reason.partition(":")[0]):
            computed(program, case, trace=True)
        return
    found = computed(program, case, trace=True)
    for name, want in case.d_state.items():
        path = found[f"trajectory.{name}"]
        assert path.shape == (8, *want.shape)
        compare({name: path[0]}, {name: found[f"d_state.{name}"]}, 1e-14)
        last = want[-1] + (case.d_output[-1] if name == output_state(case.cell) else 0)
        compare({name: path[-1, -1]}, {name: last}, 1e-14)


def output_state(cell):
    """The state that is the cell's output."""
    return "c" if cell.written_out else cell.states[0]


def test_two_directions_have_no_trajectory_and_say_so(backend):
    case = stack("gru:bidirectional=true")
    program = prepare(backend, case)
    program.forward(case.x)
    with pytest.raises(ValueError, match="trajectory"):
        program.backward(case.d_output, trace=True)


def test_load_run_read_of_a_stack_equals_forward_backward(backend, dtype):
    case = stack("lstm:layers=2:bidirectional=true")
    program = prepare(backend, case, dtype)
    want = named(program.forward(case.x, case.state), program.backward(case.d_output))
    for _ in range(2):
        program.load(case.x, case.state, case.d_output)
        program.run()
        program.sync()
        compare(named(*program.read()), want, tolerance(dtype, case.steps))
    bitwise(named(program.forward(case.x, case.state), program.backward(case.d_output)), want)


def test_new_parameters_of_a_stack_are_taken(backend):
    case, other = stack("gru:layers=2:bidirectional=true"), stack("gru:layers=2:bidirectional=true", seed=1)
    program = prepare(backend, case)
    computed(program, case)
    program.assign(other.params)
    compare(computed(program, other), one_by_one(other), 2 * tolerance("float64", 7))


def test_forward_only_of_a_stack_gives_the_outputs_of_backward(backend):
    case = stack("lstm:layers=2:bidirectional=true")
    both = prepare(backend, case).forward(case.x, case.state)
    alone = prepare(backend, case, direction="forward").forward(case.x, case.state)
    compare(named(alone), named(both), tolerance("float64", 7))


def test_the_layers_of_a_stack_come_in_torch_s_order():
    in_order = layers.of(cells.get("lru:layers=2:bidirectional=true"), 5, 7)
    assert [(layer.suffix, layer.input_size) for layer in in_order] == [
        ("_l0", 5),
        ("_l0_reverse", 5),
        ("_l1", 10),
        ("_l1_reverse", 10),
    ]
