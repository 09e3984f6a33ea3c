"""`check` of modules with computed weights, in wrappers, with a kept state, or made by a function."""

from functools import partial
from threading import Lock
from warnings import catch_warnings, simplefilter

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from cellbench import cells


class Plain(nn.Module):
    """An LSTM of two linear layers."""

    def __init__(self, input_size, hidden_size, around=lambda layer: layer):
        super().__init__()
        self.wx = around(nn.Linear(input_size, 4 * hidden_size))
        self.wh = around(nn.Linear(hidden_size, 4 * hidden_size))

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.wx(x) + self.wh(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), (o.sigmoid() * c.tanh(), c)


def older(name):
    def around(layer):
        with catch_warnings():
            simplefilter("ignore")
            return getattr(nn.utils, name)(layer)

    return around


AROUND = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "the older weight_norm": older("weight_norm"),
    "the older spectral_norm": older("spectral_norm"),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("as_class", [True, False], ids=["a class", "an object"])
def test_weights_that_are_computed_from_others_are_compared_as_they_come_out(around, as_class):
    class Normed(Plain):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size, around)

    result = cells.check(Normed if as_class else Normed(5, 7), "lstm")
    assert result.ok, result.diagnosis
    assert any("wx.weight, wh.weight" in note for note in result.notes)


@pytest.mark.parametrize("seed", [12, 34, 40, 42])
def test_large_weights_of_which_rounding_alone_moves_the_gradients_are_not_called_wrong(seed):
    torch.manual_seed(seed)  # the older spectral_norm divides by a first guess, here far too small
    result = cells.check(Plain(5, 7, AROUND["the older spectral_norm"]), "lstm")
    assert result.ok, result.diagnosis


def test_an_orthogonal_module_of_torch_is_right_though_it_has_been_called_already():
    gru = nn.GRU(5, 7)
    parametrizations.orthogonal(gru, "weight_hh_l0")
    gru(torch.zeros(4, 2, 5))
    before = gru.state_dict()
    result = cells.check(gru, "gru")
    assert result.ok and result.diagnosis.startswith("right: outputs, states and gradients of GRU ")
    assert gru.state_dict().keys() == before.keys()


def test_a_mistake_beside_computed_weights_is_named():
    class Mistaken(Plain):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size, parametrizations.weight_norm)

        def forward(self, x, state):
            h, c = state
            i, g, f, o = (self.wx(x) + self.wh(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), (o.sigmoid() * c.tanh(), c)

    assert "gate order i, g, f, o" in cells.check(Mistaken, "lstm").diagnosis


@pytest.mark.parametrize(
    "wrapped",
    [
        nn.DataParallel(nn.GRU(5, 7)),
        torch.compile(nn.DataParallel(nn.GRU(5, 7))),
        nn.DataParallel(torch.compile(nn.GRU(5, 7))),
    ],
    ids=["DataParallel", "compiled around it", "compiled inside"],
)
def test_what_is_inside_a_wrapper_is_checked(wrapped):
    result = cells.check(wrapped, "gru")
    assert result.ok and any("DataParallel was taken off" in note for note in result.notes)


class Kept(nn.Module):
    """Goes on from the state of the call before, with its graph."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gru, self.h = nn.GRU(input_size, hidden_size), None

    def forward(self, x):
        y, self.h = self.gru(x, self.h)
        return y


class KeptStep(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell, self.hx = nn.LSTMCell(input_size, hidden_size), None

    def forward(self, x):
        self.hx = self.cell(x, self.hx)
        return self.hx[0]


class KeptList(KeptStep):
    """Keeps every state that it has had."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.states = []

    def forward(self, x):
        self.states.append(self.cell(x, self.states[-1] if self.states else None))
        return self.states[-1][0]


class KeptArray(Kept):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        del self.h
        self.register_buffer("h", torch.zeros(1, 1, hidden_size))

    def forward(self, x):
        y, h = self.gru(x, self.h.expand(1, x.shape[1], -1).contiguous())
        self.h = h[:, :1].detach()
        return y


@pytest.mark.parametrize(("module", "says"), [(Kept, "the call before left"), (KeptArray, "keeps something")])
def test_a_state_that_is_kept_from_call_to_call_is_named(module, says):
    result = cells.check(module, "gru")
    assert not result.ok and says in result.diagnosis


@pytest.mark.parametrize("module", [KeptStep, KeptList])
def test_a_step_that_keeps_its_state_with_its_graph_is_right(module):
    assert cells.check(module, "lstm").ok


def test_weights_that_are_not_finite_are_named():
    gru = nn.GRU(5, 7)
    with torch.no_grad():
        gru.weight_hh_l0[3, 2] = float("nan")
    with pytest.raises(ValueError, match="weight_hh_l0 of GRU holds numbers that are not finite"):
        cells.check(gru, "gru")


class Locked(nn.Module):
    """Holds what has no copy."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gru, self.lock = nn.GRU(input_size, hidden_size), Lock()

    def forward(self, x, h=None):
        with self.lock:
            return self.gru(x, h)


def test_an_object_that_cannot_be_copied_is_one_line_and_its_class_is_checked():
    with pytest.raises(ValueError, match=r"Locked cannot be copied .*lock.*; give its class, FILE:Locked"):
        cells.check(Locked(5, 7), "gru")
    assert cells.check(Locked, "gru").ok


def of_sizes(n_in, n_hidden):
    return nn.GRU(n_in, n_hidden, batch_first=True)


def of_nothing():
    return nn.GRU(5, 7)


@pytest.mark.parametrize(
    "made", [of_sizes, of_nothing, partial(nn.GRU, batch_first=True)], ids=["sizes", "nothing", "partial"]
)
def test_what_a_function_makes_is_checked(made):
    result = cells.check(made, "gru")
    assert result.ok, result.diagnosis


def test_a_function_of_input_and_hidden_is_a_step_and_makes_nothing():
    def step(input, hidden, w_ih, w_hh, b):
        return torch.tanh(input @ w_ih.t() + hidden @ w_hh.t() + b)

    assert cells.check(step, "elman:biases=1").ok


def test_a_file_of_a_package_imports_what_lies_beside_it_and_above(tmp_path):
    inner = tmp_path / "ours" / "layers"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    (inner / "gates.py").write_text("def squash(value):\n    return value.tanh()\n")
    (inner.parent / "sizes.py").write_text("def units(layer):\n    return layer.out_features\n")
    (inner / "cell.py").write_text(
        "from torch import nn\nfrom .gates import squash\nfrom ..sizes import units\n\n\n"
        "class Ours(nn.Module):\n"
        "    def __init__(self, input_size, hidden_size):\n"
        "        super().__init__()\n"
        "        self.wx = nn.Linear(input_size, hidden_size)\n"
        "        self.wh = nn.Linear(hidden_size, units(self.wx))\n\n"
        "    def forward(self, x, h):\n"
        "        return squash(self.wx(x) + self.wh(h))\n"
    )
    assert cells.check(f"{inner / 'cell.py'}:Ours", "elman").ok


class Layers(nn.Module):
    """A stack whose state is a list with an item for each layer."""

    kind = nn.LSTMCell

    def __init__(self, input_size, hidden_size, num_layers=2):
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList([self.kind(size, hidden_size) for size in sizes])

    def step(self, x, states):
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            new.append(cell(x, state))
            x = new[-1][0] if isinstance(new[-1], tuple) else new[-1]
        return x, new

    def forward(self, x, states):
        outputs = []
        for x_t in x:
            y, states = self.step(x_t, states)
            outputs.append(y)
        return torch.stack(outputs), states


class OneStep(Layers):
    def forward(self, x, states):
        return self.step(x, states)


class GRUs(OneStep):
    kind = nn.GRUCell


@pytest.mark.parametrize(
    ("stack", "against"),
    [(Layers, "lstm:layers=2"), (OneStep, "lstm:layers=3"), (GRUs, "gru:layers=2")],
    ids=["a sequence", "a step", "a step of one state"],
)
def test_a_stack_with_a_list_of_its_layers_states_is_right(stack, against):
    result = cells.check(stack, against)
    assert result.ok, result.diagnosis


def test_a_stack_that_cannot_be_called_is_not_sent_to_the_number_of_layers_that_was_asked_for():
    class Failing(Layers):
        def forward(self, x, states):
            raise RuntimeError("not on this machine")

    with pytest.raises(ValueError, match="not on this machine"):
        cells.check(Failing, "lstm:layers=2")
