"""Operation counts by closed form: 2 FLOP a multiply-add in products, 1 an elementwise primitive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .derive import vector_jacobian
from .graph import ordered

if TYPE_CHECKING:
    from .contract import GatedCell


@dataclass(frozen=True)
class Operations:
    """FLOPs of one time step of one sequence. `backward` is what the backward adds to the forward."""

    forward_products: int
    forward_elementwise: int
    backward_products: int
    backward_elementwise: int

    @property
    def forward(self) -> int:
        return self.forward_products + self.forward_elementwise

    @property
    def backward(self) -> int:
        return self.backward_products + self.backward_elementwise

    def of(self, direction: str) -> int:
        """Of a forward, or of a forward and backward."""
        return self.forward + (self.backward if direction == "backward" else 0)


def operations(cell: GatedCell, input_size: int, hidden_size: int) -> Operations:
    """Counts of the equations as written: products, biases, and each primitive once for each unit.

    A backward multiplies twice for each product of the forward (for its weights and for its input); the sums over time of
    the weight gradients are inside those products. Two more additions a unit bring in the output's gradient and the one
    through the recurrent product, and each bias gradient is one addition an entry.
    """
    cell.parameter_shapes(input_size, hidden_size)  # checks the sizes
    derivation = cell.derivation()
    products = 2 * len(cell.gates) * hidden_size * (input_size + hidden_size) + 2 * cell.readout * hidden_size
    biases = cell.biases * len(cell.gates) * hidden_size + cell.readout
    forward = set(derivation.forward)
    backward = [n for n in ordered(vector_jacobian(derivation).values()) if not n.is_leaf and n not in forward]
    return Operations(products, len(forward) * hidden_size + biases, 2 * products, (len(backward) + 2) * hidden_size + biases)
