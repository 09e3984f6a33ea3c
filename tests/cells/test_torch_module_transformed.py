"""torch.compile computes the same; what cannot see the kernels, such as a trace, is refused."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from cellbench import cells

X = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))


class Around(nn.Module):
    """A recurrent module with operations of torch on both sides."""

    def __init__(self, recurrent):
        super().__init__()
        self.first, self.recurrent, self.last = nn.Linear(4, 4), recurrent, nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.recurrent(self.first(x))[0])


@pytest.mark.parametrize("spec", ["gru", "cifg"])  # one that is torch.nn's, and one that is not
def test_a_compiled_model_computes_and_trains_as_it_does_without(spec):
    model = Around(cells.torch_module(spec, 4, 6))
    compiled = torch.compile(model, backend="eager")
    gradients = []
    for each in (model, compiled):
        model.zero_grad()
        each(X).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert torch.equal(compiled(X), model(X))
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def traced(module):
    return torch.jit.trace(module, X, check_trace=False)


def exported(module):
    return torch.export.export(module, (X,))


def mapped(module):
    return torch.vmap(lambda x: module(x)[0])(X[None])


def differentiated(module):
    return torch.func.grad(lambda x: module(x)[0].sum())(X)


def pushed_forward(module):
    with forward_ad.dual_level():
        return module(forward_ad.make_dual(X, X))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("transform", [traced, exported, mapped, differentiated, pushed_forward])
def test_what_cannot_see_the_kernels_is_refused_in_one_line(transform, grad):
    """Without gradients a trace held the numbers of its example, and a forward derivative was missing."""
    module = cells.torch_module("gru", 4, 6).eval()
    with torch.set_grad_enabled(grad):
        module(X)
        with pytest.raises(ValueError, match=r"^torch\S* .*not see these kernels; swap .*restore\(model\)"):
            transform(module)
        module(X)  # and the next call is as before


@pytest.mark.parametrize("grad", [True, False])
def test_a_view_with_its_sign_to_come_is_computed(grad):
    module = cells.torch_module("gru", 4, 6)
    with torch.set_grad_enabled(grad):
        for x in (X, X):  # the second call takes over what the first one found
            assert torch.equal(module(torch._neg_view(x))[0], module(-x)[0])
        first = torch.ones(1, 3, 6)
        assert torch.equal(module(X, torch._neg_view(first))[0], module(X, -first)[0])


def test_a_sparse_input_is_refused():
    with pytest.raises(ValueError, match=r"input is a sparse tensor; convert it with .to_dense\(\)"):
        cells.torch_module("gru", 4, 6)(X.to_sparse())


@pytest.mark.parametrize("layout", [{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize(("spec", "name"), [("gru", "GRU"), ("lstm", "LSTM"), ("elman", "RNN")])
def test_a_batch_of_no_sequence_is_what_torch_nn_makes_of_it(spec, name, layout):
    x = X[:, :0].transpose(0, 1) if "batch_first" in layout else X[:, :0]
    first = torch.zeros(4 if "bidirectional" in layout else 1, 0, 6)
    shapes = []
    for module in (getattr(nn, name)(4, 6, **layout), cells.torch_module(spec, 4, 6, **layout)):
        given = x.clone().requires_grad_()
        output, last = module(given, (first, first) if name == "LSTM" else first)
        last = last if name == "LSTM" else [last]
        torch.autograd.backward([output.sum(), *(state.sum() for state in last)])
        assert all(not parameter.grad.any() for parameter in module.parameters())
        shapes.append([output.shape, given.grad.shape, *(state.shape for state in last)])
        with torch.no_grad():
            assert module(x)[0].shape == output.shape
    assert shapes[0] == shapes[1]
