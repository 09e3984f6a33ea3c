"""Checking stacks: several layers and both directions, compiled too, and where one of them is wrong."""

import pytest
import torch
from support import stacked_ports as ports
from torch import nn

from cellbench import cells
from cellbench.harness.cli import main

FOUR = "gru:layers=2:bidirectional=true"


@pytest.mark.parametrize(
    "make, against",  # torch.compile imports for seconds, which every collection would pay
    [
        (lambda: nn.GRU(5, 7, num_layers=2, bidirectional=True), FOUR),
        (lambda: torch.compile(nn.GRU(5, 7, num_layers=2, bidirectional=True)), FOUR),
        (lambda: torch.jit.script(nn.GRU(5, 7, num_layers=2, bidirectional=True)), FOUR),
        (lambda: nn.GRU, FOUR),
        (lambda: nn.LSTM(3, 4, num_layers=3, batch_first=True, dropout=0.2), "lstm:layers=3"),
        (
            lambda: nn.RNN(3, 4, bidirectional=True, bias=False, nonlinearity="relu"),
            "elman:bidirectional=true:activation=relu",
        ),
        (lambda: ports.Both, "gru:bidirectional=true"),
        (lambda: ports.Three, "lstm:layers=3"),
    ],
)
def test_a_right_stack_is_right(make, against):
    result = cells.check(make(), against=against, steps=11)
    assert result.ok, str(result)
    assert {"output", "d_x"} <= {row.name for row in result.rows}


WRONG = {
    "NotTurnedBack": ("gru:bidirectional=true", "the backward outputs not turned back in time"),
    "BothForward": ("gru:bidirectional=true", "the backward directions running forward in time"),
    "BackwardInFront": ("gru:bidirectional=true", "the backward outputs in front of the forward ones"),
    "Exchanged": ("lstm:layers=3", "layer 2 used as layer 1"),
    "TwoMistakes": (
        "lstm:layers=3",
        "1 added inside the sigmoid of f (a forget bias of 1) in layer 1 and gate order i, f, o, g where lstm"
        " has i, f, g, o in layer 2",
    ),
    "DirectionsExchanged": (FOUR, "layer 1 backward used as layer 1 forward"),
    "OneGate": (FOUR, "where gru has r, z, n in layer 0 backward"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_stack_is_told_where(name):
    against, words = WRONG[name]
    result = cells.check(getattr(ports, name), against=against)
    assert not result.ok and words in result.diagnosis, str(result)


def test_a_stack_with_fewer_biases_than_asked_is_told_which():
    result = cells.check(nn.GRU(5, 7, num_layers=2, bias=False), against="gru:layers=2:biases=2")
    assert not result.ok and "b_ir of layer 0" in result.diagnosis, str(result)


def test_the_command_takes_a_compiled_stack(capsys, tmp_path):
    (tmp_path / "my.py").write_text(
        "import torch\n\nmodel = torch.compile(torch.nn.GRU(5, 7, num_layers=2, bidirectional=True))\n"
    )
    assert main(["check", f"{tmp_path}/my.py:model", "--against", FOUR]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("right: ") and "torch.compile was taken off" in printed
