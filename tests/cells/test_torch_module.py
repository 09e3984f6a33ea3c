"""cells.torch_module makes what torch.nn makes: the same arrays, calls, results and gradients."""

import re

import numpy as np
import pytest
import torch
from support.layouts import drawn, furthest, gradients
from torch import nn

from cellbench import cells
from cellbench.cells.derived.layers import unfit

ALL = [*cells.names(), "lstm:proj_size=2"]
WITH_KERNEL = [n for n in ALL if cells.backend("numba").unsupported(cells.get(n)) is None]


def loaded(layout, backend="numba"):
    """torch.nn's module, and ours with its weights by load_state_dict, strict."""
    theirs, ours = layout.theirs(), layout.ours(backend)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in ours.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_layout_computes_and_trains_as_torch_nn_does(seed):
    layout = drawn(np.random.default_rng(seed))
    theirs, ours = loaded(layout)
    (want, want_d), (got, got_d) = gradients(layout, theirs), gradients(layout, ours)
    assert furthest(got, want) < 1e-12 and furthest(got_d, want_d) < 1e-10
    with torch.no_grad():
        assert furthest(layout.call(ours, layout.inputs()), want) < 1e-12


@pytest.mark.parametrize("seed", range(2))
def test_a_drawn_layout_in_float32(seed):
    layout = drawn(np.random.default_rng(100 + seed), torch.float32)
    theirs, ours = loaded(layout)
    (want, want_d), (got, got_d) = gradients(layout, theirs), gradients(layout, ours)
    assert all(t.dtype == torch.float32 for t in (*got, *got_d))
    assert furthest(got, want) < 1e-5 and furthest(got_d, want_d) < 1e-4


@pytest.mark.parametrize("backend", ["numpy", "torch", "native"])
def test_other_backends_compute_the_same_module(backend):
    layout = drawn(np.random.default_rng(3))
    theirs, ours = loaded(layout, backend)
    (want, want_d), (got, got_d) = gradients(layout, theirs), gradients(layout, ours)
    assert furthest(got, want) < 1e-12 and furthest(got_d, want_d) < 1e-10


@pytest.mark.parametrize(("kind", "spec"), [("GRU", "gru"), ("LSTM", "lstm"), ("RNN", "elman")])
def test_a_seed_draws_the_weights_that_torch_nn_draws(kind, spec):
    torch.manual_seed(7)
    theirs = getattr(nn, kind)(4, 5, 2, bidirectional=True)
    torch.manual_seed(7)
    ours = cells.torch_module(spec, 4, 5, 2, bidirectional=True)
    assert isinstance(ours, getattr(nn, kind))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("spec", WITH_KERNEL)
def test_every_cell_with_a_kernel_is_a_module_with_the_cell_s_arrays(spec):
    """Held against the backend torch, whose gradients are autograd's, in layers of two directions."""
    sizes = (6, 6)  # which every cell can have
    both = not unfit(cells.get(spec), 2 * sizes[1], sizes[1])
    module = cells.torch_module(spec, *sizes, num_layers=2, bidirectional=both, dtype=torch.float64)
    cell = cells.get(spec, layers=2, bidirectional=both)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert shapes == cell.parameter_shapes(*sizes)
    params = {name: p.detach().numpy() for name, p in module.named_parameters()}
    rng = np.random.default_rng(0)
    state = {k: 0.5 * rng.standard_normal(s) for k, s in cell.state_shapes(3, sizes[1]).items()}
    x = rng.standard_normal((5, 3, sizes[0]))
    program = cells.backend("torch").prepare(cell, params, steps=5, batch=3, dtype="float64")
    want = program.forward(x, state)
    d_output = rng.standard_normal(want.output.shape)
    grads = program.backward(d_output, {k: np.ones_like(v) for k, v in want.state.items()})

    leaves = [torch.from_numpy(a).requires_grad_() for a in (x, *state.values())]
    output, last = module(leaves[0], tuple(leaves[1:]) if len(state) > 1 else leaves[1])
    last = last if isinstance(last, tuple) else (last,)
    cotangents = [torch.from_numpy(d_output), *map(torch.ones_like, last)]
    found = torch.autograd.grad([output, *last], [*leaves, *module.parameters()], cotangents)
    tensors = [torch.from_numpy(np.asarray(a)) for a in (want.output, *want.state.values())]
    assert furthest([output, *last], tensors) < 1e-11
    want_d = [grads.x, *grads.state.values(), *(grads.params[name] for name in shapes)]
    assert furthest(found, [torch.from_numpy(np.asarray(a)) for a in want_d]) < 1e-9


def test_a_cell_without_a_kernel_is_a_module_on_another_backend():
    """Of mlstm, whose first state is a matrix: two calls that carry the states on are one call."""
    module = cells.torch_module("mlstm", 4, 4, backend="numpy", dtype=torch.float64)
    x = torch.randn(6, 2, 4, dtype=torch.float64)
    whole, last = module(x)
    first, state = module(x[:4])
    second, end = module(x[4:], state)
    assert furthest([torch.cat([first, second]), *end], [whole, *last]) < 1e-12


def test_a_single_layer_s_arrays_end_in_l0_too():
    assert list(cells.torch_module("ugrnn", 3, 4).state_dict()) == [
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
    ]
    assert list(cells.torch_module("gru:biases=1", 3, 4, bias=False).state_dict()) == [
        "weight_ih_l0",
        "weight_hh_l0",
    ]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("lstn", 3, 4), {}, "did you mean 'lstm'"),
        (("mlstm", 3, 4), {}, "writes out its step"),
        (("gru", 0, 4), {}, "input_size is 0"),
        (("gru", 3, 4, 0), {}, "num_layers is 0"),
        (("gru", 3, 4), {"dropout": 2}, "dropout is 2"),
        (("gru", 3, 4), {"bias": 1}, "bias is 1"),
        (("gru", 3, 4), {"dtype": torch.float16}, "dtype is torch.float16"),
        (("gru", 3, 4), {"device": "cuda"}, "device is 'cuda'"),
        (("gru", 3, 4), {"device": "nowhere"}, "device is 'nowhere'"),
        (("gru", 3, 4), {"backend": "numbo"}, "did you mean 'numba'"),
        (("gru:layers=2", 3, 4), {}, "num_layers="),
        (("gru:readout=2", 3, 4), {}, "torch.nn.Linear"),
        (("lstm:proj_size=4", 3, 4), {}, "proj_size 4, which must be less than hidden_size 4"),
        (
            ("gru", 3, 4),
            {"nonlinearity": "relu"},
            "takes no 'nonlinearity' for cell 'gru'; it takes num_layers",
        ),
        (("elman", 3, 4), {"nonlinearity": "relu"}, "torch.nn's nonlinearity is activation here"),
        (("gru", 3, 4), {"num_layer": 2}, "did you mean 'num_layers'?"),
        (("gru", 3, 4), {"proj_size": 2}, "takes no 'proj_size' for cell 'gru'"),
        (("gru", 3, 4), {"dtype": "float32"}, "dtype is 'float32'"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        cells.torch_module(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "hx", "message"),
    [
        (torch.zeros(5, 2, 4), None, "input is (5, 2, 4)"),
        (torch.zeros(5), None, "input is (5,)"),
        (torch.zeros(0, 2, 3), None, "input is (0, 2, 3)"),
        (torch.zeros(5, 2, 3).double(), None, "input is torch.float64"),
        (torch.zeros(5, 2, 3, dtype=torch.long), None, "input is torch.int64"),
        (torch.zeros(5, 2, 3, device="meta"), None, "input is on meta"),
        (np.zeros((5, 2, 3)), None, "input is ndarray"),
        (torch.zeros(5, 2, 3), torch.zeros(1, 2, 4), "given as a tuple of 2 tensors"),
        (torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 5)), "state c of hx is (1, 2, 5)"),
        (torch.zeros(5, 2, 3), 3, "hx is a int"),
        (torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4).double(), torch.zeros(1, 2, 4)), "state h of hx is"),
    ],
)
def test_a_bad_call_is_said_in_one_line(x, hx, message):
    module = cells.torch_module("lstm", 3, 4)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        module(x, hx)
    assert "\n" not in str(caught.value)


def test_weights_that_left_the_cpu_are_refused_in_one_line():
    module = cells.torch_module("gru", 3, 4).to("meta")
    with pytest.raises(ValueError, match="on meta; this module computes on the CPU") as caught:
        module(torch.zeros(5, 2, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["plain", "batch_first", "unbatched"])
@pytest.mark.parametrize(("kind", "spec"), [("GRU", "gru"), ("LSTM", "lstm")])
def test_calls_one_after_the_other_without_a_graph_are_torch_nn_s(kind, spec, form):
    """A call as the one before takes its checks and its program from there; what changed since is seen."""
    theirs = getattr(nn, kind)(3, 4, batch_first=form == "batch_first")
    ours = cells.torch_module(spec, 3, 4, batch_first=form == "batch_first")
    ours.load_state_dict(theirs.state_dict())
    shape = {"plain": (5, 2, 3), "batch_first": (2, 5, 3), "unbatched": (5, 3)}[form]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (theirs, ours)]

    def written(tensors):
        with torch.no_grad():
            for tensor in tensors:
                tensor.mul_(1.5)

    changes = [
        lambda: None,
        lambda: written([theirs.weight_hh_l0, ours.weight_hh_l0]),
        lambda: ours.load_state_dict(theirs.state_dict()),
        lambda: [setattr(m.bias_hh_l0, "data", torch.ones_like(m.bias_hh_l0)) for m in (theirs, ours)],
        lambda: [m.weight_ih_l0.data.zero_() for m in (theirs, ours)],
        lambda: [o.step() for o in optimizers],
    ]
    hx = None
    for change in [*changes, *changes]:
        x = torch.randn(shape)
        for module, optimizer in zip((theirs, ours), optimizers, strict=True):
            optimizer.zero_grad()
            module(x)[0].sum().backward()
        change()
        with torch.no_grad():
            for _ in range(3):
                (y, hx), (own, own_hx) = theirs(x, hx), ours(x, hx)
                last, own_last = (s if isinstance(s, tuple) else (s,) for s in (hx, own_hx))
                assert furthest([own, *own_last], [y, *last]) < 1e-5
                assert own.stride() == y.stride()
                kept, _ = own.clone(), ours(2 * x)
                assert torch.equal(own, kept)


def test_a_bad_call_after_a_good_one_is_refused_too():
    module = cells.torch_module("lstm", 3, 4)
    x, zeros = torch.zeros(1, 1, 3), torch.zeros(1, 1, 4)
    wrong = [
        (x.double(), None, "input is torch.float64"),
        (x, (zeros, zeros.double()), "state c of hx is torch.float64"),
        (x, (zeros, torch.zeros(1, 1, 5)), "state c of hx is (1, 1, 5)"),
        (x, zeros, "given as a tuple of 2 tensors"),
        (x.to("meta"), None, "input is on meta"),
    ]
    with torch.no_grad():
        for bad, hx, message in wrong:
            for _ in range(2):
                module(x, [zeros, zeros])
            with pytest.raises(ValueError, match=re.escape(message)):
                module(bad, hx)
