"""The order of the gates in FlashRNN's functions, by the name of the cell that each computes.

Its functions have the names of our cells. (NX-AI, Pöppel et al. 2024, arXiv 2412.07752)
"""

from __future__ import annotations

from dataclasses import dataclass

IH, HH, BOTH = ("bias_ih",), ("bias_hh",), ("bias_ih", "bias_hh")


@dataclass(frozen=True)
class Gates:
    """The order of a function's gates in FlashRNN: of inputs, of recurrent weights, of biases.

    A bias there is a sum of the cell's biases, whose names stand beside its gate.
    """

    inputs: tuple[str, ...]
    recurrent: tuple[str, ...]
    biases: tuple[tuple[str, tuple[str, ...]], ...]


def summed(*gates: str) -> Gates:
    """Of a function that adds both products and the biases gate by gate."""
    return Gates(gates, gates, tuple((gate, BOTH) for gate in gates))


FUNCTIONS = {
    "elman": summed("h"),
    "lstm": summed("i", "f", "g", "o"),
    "slstm": summed("i", "f", "z", "o"),
    "gru": Gates(("r", "z", "n"), ("n", "r", "z"), (("n", HH), ("r", BOTH), ("z", BOTH), ("n", IH))),
}
