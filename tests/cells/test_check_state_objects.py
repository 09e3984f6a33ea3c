"""`check` of steps whose states are the fields of a dataclass or of a named tuple."""

from dataclasses import dataclass
from typing import NamedTuple, Optional

import pytest
import torch
from torch import Tensor, nn

from cellbench import cells


@dataclass
class HiddenCell:
    hidden: Tensor
    cell: Tensor


@dataclass
class CellHidden:
    cell: Tensor
    hidden: Tensor


class Pair(NamedTuple):
    c: Tensor
    h: Tensor


@dataclass
class One:
    units: Tensor


class Step(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)

    def stepped(self, x, h, c):
        return self.cell(x, (h, c))


class ByName(Step):
    def forward(self, x, state: HiddenCell):
        h, c = self.stepped(x, state.hidden, state.cell)
        return h, HiddenCell(h, c)


class Backwards(Step):
    def forward(self, x, state: "CellHidden"):
        h, c = self.stepped(x, state.hidden, state.cell)
        return h, CellHidden(cell=c, hidden=h)


class Tupled(Step):
    def forward(self, x, state: Pair):
        h, c = self.stepped(x, state.h, state.c)
        return h, Pair(c, h)


class Optionally(Step):
    def forward(self, x, state: Optional[HiddenCell] = None):  # noqa: UP045
        if state is None:
            state = HiddenCell(*torch.zeros(2, len(x), self.cell.hidden_size))
        h, c = self.stepped(x, state.hidden, state.cell)
        return h, HiddenCell(h, c)


class Exchanged(ByName):
    def forward(self, x, state: HiddenCell):
        h, after = super().forward(x, state)
        return h, HiddenCell(after.cell, after.hidden)


class Single(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)

    def forward(self, x, state: One) -> One:
        return One(self.cell(x, state.units))


@pytest.mark.parametrize("step", [ByName, Backwards, Tupled, Optionally])
def test_states_go_in_and_out_by_the_names_of_the_fields(step):
    result = cells.check(step, "lstm")
    assert result.ok, result.diagnosis


def test_one_state_in_an_object_is_the_cell_s_whatever_its_field_is_called():
    assert cells.check(Single, "gru").ok


def test_states_that_are_returned_in_each_other_s_fields_deviate():
    assert not cells.check(Exchanged, "lstm").ok
