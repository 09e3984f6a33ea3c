"""The table of a torch module: each number against one that is computed here from sizes alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from cellbench import cells
from cellbench.cells.modules.cell import cell_of

T, B, V, E, H = 7, 3, 50, 6, 8
LSTM = (
    2 * 4 * H * (E + H) + 21 * H
)  # FLOPs a step: products, and what stands around them, two biases each gate
LINEAR = {(i, o): 2 * i * o + o for i, o in ((H, E), (E, V), (E, H), (H, H))}


class Tagger(nn.Module):
    """A read-out whose weight is that of the embedding, a norm under two names, and a layer without use."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, H)
        self.norm = nn.LayerNorm(H)
        self.head = nn.Sequential(nn.Linear(H, E), nn.ReLU(), nn.Dropout(0.5), nn.Linear(E, V))
        self.head[3].weight = self.embed.weight
        self.alias, self.unused = self.norm, nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.alias(self.lstm(self.embed(x))[0]))


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(E, H), nn.Linear(H, H)

    def forward(self, x, h):
        h = torch.tanh(self.inner(x) + self.outer(h))
        return h, h


class Looped(nn.Module):
    """Two loops in one: an own step, then a step of torch. `detached` hands a view of the state on."""

    def __init__(self, detached=False):
        super().__init__()
        self.first, self.second, self.drop = Step(), nn.LSTMCell(H, 5), nn.Dropout()
        self.detached = detached

    def forward(self, x):
        h, state, outputs = torch.zeros(x.shape[1], H), None, []
        for x_t in x:
            y, h = self.first(self.drop(x_t), h.detach() if self.detached else h)
            state = self.second(y, state)
            outputs.append(state[0])
        return torch.stack(outputs)


def lines(summary):
    return {line.name: line for line in summary.lines}


def test_each_line_has_the_numbers_that_follow_from_the_sizes():
    summary = cells.summary(Tagger(), torch.randint(V, (T, B)))
    here = lines(summary)
    assert here["embed"].parameters == V * E and here["lstm"].parameters == 4 * H * (E + H + 2)
    assert here["embed"].operations == 0 and here["lstm"].operations_a_step == LSTM
    assert here["head.0"].operations_a_step == LINEAR[H, E] and here["head.1"].operations_a_step == E
    assert here["head.2"].operations == 0  # dropout in eval mode
    # a mean and a variance, then a difference, a factor, a weight and a bias; a root of each variance
    assert 8 * H <= here["norm"].operations_a_step <= 8 * H + 5
    assert here["lstm"].state == 2 * H and {line.state for line in summary.lines} == {None, 2 * H}
    assert here["lstm"].output_shape == f"({T}, {B}, {H})" and here[""].output_shape == f"({T}, {B}, {V})"
    assert [line.depth for line in summary.lines if line.name.startswith("head")] == [1, 2, 2, 2, 2]


def test_columns_add_up_to_totals_that_torch_knows_too():
    model = Tagger()
    model.embed.weight.requires_grad_(False)
    summary = cells.summary(model, torch.randint(V, (T, B)))
    assert summary.parameters == sum(p.numel() for p in model.parameters())
    assert summary.parameters == sum(line.parameters for line in summary.lines)
    assert summary.trainable == summary.parameters - V * E
    assert summary.operations == sum(line.operations for line in summary.lines)
    assert summary.operations_a_step * T * B == summary.operations


def test_what_is_shared_counts_once_and_is_named():
    here = lines(cells.summary(Tagger(), torch.randint(V, (T, B))))
    assert here["head.3"].parameters == V and here["head.3"].shared == V * E
    assert here["head.3"].shared_with == "embed.weight"
    assert here["alias"].shared_with == "norm" and here["alias"].parameters == here["alias"].operations == 0
    assert here["norm"].calls == 1 and here["alias"].calls == 0


def test_a_module_that_is_not_called_has_parameters_and_is_told():
    summary = cells.summary(Tagger(), torch.randint(V, (T, B)))
    unused = lines(summary)["unused"]
    assert (unused.calls, unused.parameters, unused.operations, unused.output_shape) == (0, 9, 0, "")
    assert summary.remarks == ("not called: unused",)


@pytest.mark.parametrize("detached", [False, True])
def test_of_a_module_called_once_a_step_all_calls_count_and_the_state_is_what_comes_back(detached):
    summary = cells.summary(Looped(detached), torch.randn(T, B, E))
    here = lines(summary)
    assert here["first"].calls == here["first.outer"].calls == T
    assert here["first.inner"].operations_a_step == LINEAR[E, H]
    assert here["first"].operations_a_step == 2 * H  # the sum, and tanh
    assert here["first"].state == H and here["second"].state == 2 * 5 and summary.state == H + 10
    assert here["drop"].state is None and here["first.outer"].state is None


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}])
def test_state_and_parameters_of_torch_s_modules_are_those_of_what_they_return(kind, options):
    module = kind(E, H, batch_first=True, **options)
    summary = cells.summary(module, torch.randn(B, T, E))
    states = module(torch.randn(1, T, E))[1]
    states = states if isinstance(states, tuple) else (states,)
    assert summary.state == sum(s.numel() for s in states)
    assert (summary.steps, summary.sequences) == (T, B)
    one = cells.summary(module, torch.randn(1, 2 * T, E))
    assert one.operations_a_step == summary.operations_a_step


@pytest.mark.parametrize(("kind", "name"), [(nn.RNN, "elman"), (nn.LSTM, "lstm")])
def test_operations_are_those_of_the_equations(kind, name):
    count = cells.get(name).operations(E, H).forward
    assert cells.summary(kind(E, H), torch.randn(T, B, E)).operations_a_step == count


def test_a_cell_made_of_the_module_has_the_same_count():
    class Normed(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.cell, self.norm = nn.GRUCell(input_size, hidden_size), nn.LayerNorm(hidden_size)

        def forward(self, x, h):
            h = self.cell(x, h)
            return self.norm(h), h

    summary = cells.summary(Normed(E, H), torch.randn(1, E), torch.zeros(1, H))
    assert cell_of(Normed)().operations(E, H).forward == summary.operations_a_step


def test_steps_of_a_packed_batch_are_those_that_are_there():
    module, lengths = nn.LSTM(E, H), torch.tensor([7, 4, 2])
    summary = cells.summary(module, pack_padded_sequence(torch.randn(T, B, E), lengths))
    assert summary.operations_a_step == LSTM and summary.operations == 13 * LSTM


@pytest.mark.parametrize(
    ("module", "x", "count"),
    [
        (nn.Conv1d(4, 5, 3, bias=False), (2, 4, 8), 2 * 2 * 5 * 6 * 4 * 3),
        (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 8), 2 * 6 * 6 * (2 * 2 * 3 + 1)),
        (nn.ConvTranspose1d(4, 5, 3, bias=False), (2, 4, 8), 2 * 2 * 4 * 8 * 5 * 3),
        (nn.Bilinear(4, 4, 5, bias=False), (2, 3, 4), None),
        (nn.Softmax(-1), (2, 3, 4), 6 * (5 * 4)),
        (nn.Identity(), (2, 3, 4), 0),
    ],
)
def test_operations_of_other_layers(module, x, count):
    x = torch.randn(x)
    if count is None:
        with pytest.raises(ValueError, match=r"_trilinear is not known here"):
            cells.summary(module, x, x)
    else:
        assert cells.summary(module, x).operations == count


def test_the_model_is_left_as_it_was():
    model = Tagger().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, state = torch.randint(V, (T, B)), torch.get_rng_state()
    cells.summary(model, x)
    assert model.training and not model._forward_hooks and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Numbers(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.tanh(x.numpy()))


class Complex(nn.Module):
    def forward(self, x):
        return (x * 1j).real


class Failing(nn.Module):
    def forward(self, x):
        raise KeyError("x\ny")


@pytest.mark.parametrize(
    ("model", "x", "why"),
    [
        (
            nn.Sequential(nn.Linear(E, E), Numbers()),
            (T, B, E),
            "operations of 1 cannot be counted: it computes",
        ),
        (cells.torch_module("gru", E, H), (T, B, E), "outside of torch"),
        (Complex(), (T, B, E), "complex numbers"),
        (nn.AvgPool1d(2), (T, B, E), "avg_pool"),
        (nn.LazyLinear(3), (T, B, E), "call the model once"),
        (nn.GRU(E, H), (T, E), r"x\[:, None\] makes a batch"),
        (nn.Linear(E + 1, 3), (T, B, E), "Linear cannot be called with these inputs: RuntimeError"),
        (Failing(), (T, B, E), "KeyError: 'x"),
        (nn.Linear(E, 3), (E,), "first input is of shape"),
        (torch.jit.script(nn.Linear(E, 3)), (T, B, E), "module of torch.jit"),
        ("gru", (T, B, E), "given str"),
    ],
)
def test_what_cannot_be_counted_is_one_line(model, x, why):
    with pytest.raises(ValueError, match=why) as refusal:
        cells.summary(model, torch.randn(x))
    assert "\n" not in str(refusal.value)


def test_a_state_that_is_not_seen_is_told():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = Step()

        def forward(self, x):
            h = torch.zeros(x.shape[1], H)
            for x_t in x:
                h = self.step(x_t, 0.5 * h)[1]
            return h

    (remark,) = cells.summary(Inside(), torch.randn(T, B, E)).remarks
    assert remark.startswith("state: none was seen")
    both = nn.Sequential(nn.GRU(E, E), Taken(), Inside())
    (remark,) = cells.summary(both, torch.randn(T, B, E)).remarks
    assert remark.startswith("state: 2.step is called several times")


class Taken(nn.Module):
    def forward(self, outputs):
        return outputs[0]


def test_the_figure_has_the_lines_with_numbers_alone():
    axes = cells.summary(Tagger(), torch.randint(V, (T, B))).plot()
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["embed", "lstm", "norm", "head.0", "head.1", "head.3", "unused"]
    nothing = cells.summary(nn.Identity(), torch.randn(T, B, E)).plot()
    assert "Identity" in nothing.texts[0].get_text()
    pyplot.close("all")


def test_the_table_shows_itself():
    summary = cells.summary(Tagger(), torch.randint(V, (T, B)))
    text = str(summary).splitlines()
    assert text[0].split()[:3] == ["module", "kind", "output"] and "Sequential" in str(summary)
    assert any(line.startswith("    0 ") and "Linear" in line for line in text)
    assert sum("shared with embed.weight" in line for line in text) == 1
    frame = summary.to_frame()
    assert list(frame["name"]) == [line.name for line in summary.lines]
    assert frame["parameters"].sum() == summary.parameters
    assert "\n" not in repr(summary) and len(repr(summary)) <= 200 and repr(summary).startswith("Summary(")
    assert "Sequential" in summary._repr_html_()
