"""torch_module.replace swaps the recurrent modules of a model in place, and restore brings them back."""

import copy
import pickle

import numpy as np
import pytest
import torch
from support.layouts import furthest
from torch import nn

from cellbench import cells

swap = cells.torch_module


class Own(nn.GRU):
    """A subclass that computes something of its own."""

    def forward(self, input, hx=None):
        output, last = super().forward(input, hx)
        return -output, last


class Drawn(nn.GRU):
    """A subclass that draws its weights in its own way, and computes as its base."""

    def reset_parameters(self):
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Model(nn.Module):
    """Modules in attributes, in lists, in a sequence, and one that is there twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.LSTM(3, 4, batch_first=True)
        self.inner = nn.ModuleList([nn.ModuleDict({"deep": nn.GRU(4, 4)}), nn.RNN(4, 4, nonlinearity="relu")])
        self.again = self.inner[1]
        self.hidden = [self.first]  # a reference that is no registered module
        self.read_out = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)[0]
        x = self.inner[0]["deep"](x)[0]
        return self.read_out(self.again(self.inner[1](x)[0])[0])


def rnns(model):
    return [m for m in model.modules() if isinstance(m, nn.RNNBase)]


def trained(model, x, updates=4, swaps=None):
    """Losses of a training; swaps {update: function} change the model in the middle of it."""
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for k in range(updates):
        (swaps or {}).get(k, lambda m: m)(model)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [torch.stack(losses), *(p.detach() for p in model.parameters())]


def test_a_model_trains_the_same_and_its_optimizer_goes_on_through_a_swap_and_back():
    torch.manual_seed(0)
    model = Model().double()
    other, x = copy.deepcopy(model), torch.randn(2, 5, 3, dtype=torch.float64)
    want = trained(model, x, 6)
    got = trained(other, x, 6, {2: swap.replace, 4: swap.restore})
    assert furthest(got, want) < 1e-10


def test_the_same_objects_stay_and_compute_through_the_kernels():
    model = Model()
    modules, parameters = list(model.modules()), list(model.parameters())
    names, state = [name for name, _ in model.named_modules()], list(model.state_dict())
    assert swap.replace(model) is model
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert names == [name for name, _ in model.named_modules()] and list(model.state_dict()) == state
    assert all("backend=numba" in repr(m) for m in rnns(model)) and len(rnns(model)) == 3
    assert "backend=numba" in repr(model.hidden[0])
    assert swap.restore(model) is model
    assert [type(m) for m in rnns(model)] == [nn.LSTM, nn.GRU, nn.RNN]
    assert "numba" not in repr(model) and not any("backend" in vars(m) for m in rnns(model))


def test_the_model_itself_may_be_a_recurrent_module():
    module = nn.GRU(3, 4, num_layers=2, bidirectional=True).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    want = module(x)
    assert swap.replace(module) is module and furthest(module(x), want) < 1e-12
    assert type(swap.restore(module)) is nn.GRU


def test_hooks_and_modes_stay():
    model, called = nn.Sequential(nn.GRU(3, 4, num_layers=2, dropout=0.5)), []
    model.eval()
    handle = model[0].register_forward_hook(lambda module, given, output: called.append(type(module)))
    swap.replace(model)
    model(torch.randn(5, 2, 3))
    assert len(called) == 1 and not model[0].training
    handle.remove()
    model(torch.randn(5, 2, 3))
    assert len(called) == 1


def test_subclasses_are_swapped_unless_they_compute_something_of_their_own():
    model = nn.ModuleDict({"own": Own(3, 4), "drawn": Drawn(3, 4)})
    with pytest.warns(UserWarning, match="left own as it is: Own has a forward of its own") as warned:
        swap.replace(model)
    assert len(warned) == 1 and type(model["own"]) is Own
    assert isinstance(model["drawn"], Drawn) and type(model["drawn"]) is not Drawn
    assert torch.all(pickle.loads(pickle.dumps(model))["drawn"].weight_ih_l0 == 0.1)
    swap.restore(model)
    assert type(model["drawn"]) is Drawn


def test_a_projection_is_swapped_too_and_packed_sequences_with_it():
    """Held against torch.nn.LSTM with proj_size, in float64."""
    torch.manual_seed(0)
    theirs = nn.LSTM(5, 33, num_layers=2, bidirectional=True, proj_size=20, dtype=torch.float64)
    ours = swap.replace(copy.deepcopy(theirs))
    x = torch.randn(7, 3, 5, dtype=torch.float64)
    packed = nn.utils.rnn.pack_padded_sequence(x, [7, 4, 1])
    for given in (x, packed):
        results = []
        for module in (theirs, ours):
            module.zero_grad()
            output, (h, c) = module(given)
            values = output.data if given is packed else output
            (values.sin().sum() + h.cos().sum() + c.sum()).backward()
            results.append([values, h, c, *(p.grad.clone() for p in module.parameters())])
        assert isinstance(ours, cells.drop_in.forward.Computed)
        assert furthest(*results) < 1e-11


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.GRU(3, 4, device="meta"), "weight_ih_l0 is on meta"),
        (nn.GRU(3, 4).half(), "weight_ih_l0 is torch.float16"),
        (nn.GRUCell(3, 4), "GRUCell is a step"),
        (nn.utils.parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0"), "it is parametrized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_swapped_is_left_and_named(module, reason):
    model = nn.Sequential(nn.LSTM(3, 4), module)
    before = type(module)
    with pytest.warns(UserWarning, match=f"left 1 as it is: .*{reason}") as warned:
        swap.replace(model)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert type(module) is before and "numba" in repr(model[0])


def test_a_module_parametrized_after_the_swap_is_left_as_it_is_by_restore():
    module = swap.replace(nn.GRU(3, 4))
    nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with pytest.warns(UserWarning, match="left ParametrizedGRU as it is"):
        swap.restore(module)
    nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert type(swap.restore(module)) is nn.GRU


def test_a_swapped_model_is_copied_and_stored_as_it_is():
    model, x = swap.replace(Model().double()), torch.randn(2, 5, 3, dtype=torch.float64)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
        assert type(swap.restore(other).first) is nn.LSTM
        assert other.inner[1] is other.again
    plain = Model().double()
    plain.load_state_dict(model.state_dict())
    assert furthest([plain(x)], [model(x)]) < 1e-12


def test_a_second_swap_may_name_another_backend():
    model, x = Model().double(), torch.randn(2, 5, 3, dtype=torch.float64)
    want = model(x)
    swap.replace(model)
    swap.replace(model, backend="numpy")
    assert "backend=numpy" in repr(model) and "numba" not in repr(model)
    assert furthest([model(x)], [want]) < 1e-12


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(3, 4), {}, "Linear has no torch.nn.RNN, LSTM or GRU"),
        ("model", {}, "replace takes a torch.nn.Module; it was given str"),
        (nn.GRU(3, 4), {"backend": "numbo"}, "did you mean 'numba'"),
    ],
    ids=["linear", "text", "backend"],
)
def test_a_model_that_cannot_be_swapped_is_said_in_one_line(model, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        swap.replace(model, **options)
    with pytest.raises(ValueError, match=r"restore takes a torch\.nn\.Module"):
        swap.restore("model")
    assert "\n" not in str(caught.value)


def test_weights_of_a_swapped_module_are_read_as_those_of_its_class():
    module = torch.nn.GRU(4, 6)
    x = np.random.default_rng(0).standard_normal((5, 2, 4))
    cell, params = cells.from_torch(cells.torch_module.replace(module))
    program = cells.backend("numpy").prepare(cell, params, steps=5, batch=2)
    with torch.no_grad():
        expected = torch.nn.GRU.forward(cells.torch_module.restore(module), torch.from_numpy(x).float())[0]
    np.testing.assert_allclose(program.forward(x).output, expected.numpy(), atol=1e-6)
