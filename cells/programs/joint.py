"""A stack as one cell: its step is a step of every layer, and its states are those of all layers.

The joint state of a stack is the states of all its layers side by side, so its gradient through time is that
of this cell. It writes out its step, which NumPy and torch compute.

Of one layer in both directions, each direction counts its steps from its own start: step t reads x_t in the
one and x_{T-1-t} in the other (`in_turn`). The last output is then each direction's at its own end, which is
what torch.nn calls h_n.
"""

from __future__ import annotations

from dataclasses import field
from functools import cached_property, lru_cache

import numpy as np

from ..cell import GatedCell
from ..contract import Array, Arrays, Shapes, State
from ..derived import layers
from ..vocabulary.matrices import concatenate


def unsupported(cell: GatedCell) -> str | None:
    """None, or the reason why the layers of a stack have no joint state that one step carries to the next."""
    if cell.layers == 1 or not cell.bidirectional:
        return None
    return (
        f"cell {cell.name!r} has {cell.options}; its layers above the first read both directions, so no one"
        " step carries a joint state on; give layers=1, or bidirectional=False"
    )


class JointCell(GatedCell):
    """The stack `cell` of several layers in one direction, or of one layer in both.

    States are named with their layer's suffix, such as h_l0, c_l0, h_l1, and each is (B, units).
    """

    gates = ()
    cell: GatedCell = field(kw_only=True)

    @cached_property
    def parts(self) -> list[layers.Layer]:
        """The layers; which there are does not depend on the sizes."""
        return layers.of(self.cell, 1, 1)

    @cached_property
    def single(self) -> GatedCell:
        """The cell of each layer."""
        return layers.single(self.cell)

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]  # they follow from the layers
        return tuple(name + part.suffix for part in self.parts for name in self.cell.states)

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def options(self) -> str:
        return self.cell.options

    def writes(self, method: str) -> bool:
        return method == "step" or (method == "effective" and self.cell.writes("effective"))

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        stored = layers.shapes(self.cell, input_size // self.cell.directions, hidden_size)
        return {name: shape for name, shape in stored.items() if name not in layers.READ_OUT}

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        of_layer = self.single.state_shapes(batch, hidden_size)
        return {name + part.suffix: shape for part in self.parts for name, shape in of_layer.items()}

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return layers.width(self.cell, input_size // self.cell.directions, hidden_size)

    def units(self, hidden_size: int) -> int:
        return self.cell.units(hidden_size)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        return layers.unfit(self.cell, input_size // self.cell.directions, hidden_size)

    def sizes(self, params: Arrays) -> tuple[int, int]:
        input_size, hidden_size = self.cell.sizes(params)
        return self.cell.directions * input_size, hidden_size

    def effective(self, params: Arrays) -> Arrays:
        used = {name: params[name] for name in layers.READ_OUT if name in params}
        for part in self.parts:
            of_layer = self.single.effective(_own(params, part.suffix))
            used |= {name + part.suffix: array for name, array in of_layer.items()}
        return used

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        new: Arrays = {}
        outputs: list[Array] = []
        width = x.shape[-1] // self.cell.directions
        for part in self.parts:
            given = outputs[-1] if part.depth else x
            if self.cell.bidirectional:
                given = x[:, width:] if part.reverse else x[:, :width]
            own, before = (_own(arrays, part.suffix) for arrays in (params, vars(state)))
            output, after = self.single.step(own, given, State(**before))
            outputs.append(output)
            new |= {name + part.suffix: value for name, value in vars(after).items()}
        return concatenate(outputs) if self.cell.bidirectional else outputs[-1], State(**new)

    def in_turn(self, x: np.ndarray) -> np.ndarray:
        """x (T, B, I) as the steps read it: (T, B, I), or (T, B, 2 I) of both directions."""
        return np.concatenate([x, x[::-1]], axis=-1) if self.cell.bidirectional else x


def states_by_layer(cell: GatedCell, state: Arrays) -> Arrays:
    """The states {name: (layers * directions, B, units)} of a stack, each layer's (B, units) with its suffix.

    Raises ValueError for another name, or another number of layers.
    """
    parts = layers.of(cell, 1, 1)
    split: Arrays = {}
    if set(state) != set(cell.states):
        raise ValueError(
            f"state has {', '.join(state) or 'nothing'}; cell {cell.name!r} has the states"
            f" {', '.join(cell.states)}"
        )
    for name, value in state.items():
        if len(np.shape(value)) < 2 or len(value) != len(parts):
            raise ValueError(
                f"state {name} is {np.shape(value)}; cell {cell.name!r} with {cell.options} takes"
                f" (layers * directions, B, units), the first of which is {len(parts)}"
            )
        split |= {name + part.suffix: value[k] for k, part in enumerate(parts)}
    return split


def _own(arrays: Arrays, suffix: str) -> Arrays:
    """A layer's arrays, by the names that they have in a single cell."""
    return {name.removesuffix(suffix): a for name, a in arrays.items() if name.endswith(suffix)}


@lru_cache(maxsize=256)
def joint(cell: GatedCell) -> JointCell:
    """The stack as one cell. Raises ValueError where there is no joint state."""
    if reason := unsupported(cell):
        raise ValueError(reason)
    return JointCell(cell=cell, biases=cell.biases, readout=cell.readout)
