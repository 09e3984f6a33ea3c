"""A wrong port is never called right, a right one never wrong: generated mistakes in every cell's port."""

import pytest
import torch
from support import user_ports as ports
from support.comparison import WHOLE
from support.mutants import Sequence, differs, mutant
from support.zoo_ports import FromEquations

from cellbench import cells
from cellbench.cells.checking import length

QUICK = [
    seed
    for seed in range(61)
    if mutant(seed)[0] not in ("peephole_lstm", "layernorm_lstm", "lstm", "mlstm", "lem", "s5")
][: 40 if WHOLE else 16]
STYLES = ["sequence", "step", "gate by gate"]
# each cell in one style, and in all of them in the session
PORTS = [(n, s) for k, n in enumerate(cells.names()) for s in (STYLES if WHOLE else [STYLES[k % 3]])]


@pytest.mark.parametrize("seed", QUICK)
def test_a_wrong_port_is_never_called_right(seed):
    name, words, right, wrong = mutant(seed)
    if not differs(right, wrong, cells.get(name)):
        pytest.skip(f"{words} makes no difference to {name}")
    torch.manual_seed(0)
    result = cells.check(wrong, against=name)
    assert not result.ok and "deviates from" in result.diagnosis, (name, words, str(result))


def test_the_oracle_knows_a_port_without_mistakes():
    name, _, right, _ = mutant(0)
    assert not differs(right, right, cells.get(name))


@pytest.mark.parametrize(("name", "style"), PORTS)
def test_a_right_port_of_every_cell_is_never_called_wrong(name, style):
    base = Sequence if style == "sequence" else FromEquations

    class Port(base):
        def __init__(self, input_size, hidden_size):
            super().__init__(cells.get(name), input_size, hidden_size, None, style == "gate by gate")
            self.hidden_size = hidden_size

    # the steps are few here, for more are tried of the mutants
    result = cells.check(Port, against=name, steps=11)
    assert result.ok, str(result)


class Late(ports.ForgetBias):
    """A forget bias of 1, and a state that decays after 40 steps."""

    def forward(self, x, state):
        outputs = []
        for t, x_t in enumerate(x):
            h, c = super().forward(x_t, state)
            state = h, c * (0.9 if t >= 40 else 1)
            outputs.append(h)
        return torch.stack(outputs), state


class Clamped(ports.ForgetBias):
    """A forget bias of 1, and a cell state that is clamped."""

    def forward(self, x, state):
        h, c = super().forward(x, state)
        return h, c.clamp(-20, 20)


@pytest.mark.parametrize(
    "port, words", [(Late, "agrees over the first 41 steps"), (Clamped, "at inputs and states around 128")]
)
def test_what_is_wrong_beside_a_difference_that_is_named_is_said_too(port, words, monkeypatch):
    monkeypatch.setattr(length, "SECONDS", 60.0)  # of a process with much in it, one may be spent elsewhere
    diagnosis = cells.check(port, against="lstm").diagnosis
    assert "1 added inside the sigmoid of f" in diagnosis
    assert "that is not all: even then" in diagnosis and words in diagnosis
