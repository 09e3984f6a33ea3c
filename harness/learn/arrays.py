"""A cell's arrays as torch parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

DOT = "__"  # torch takes no dot in a name, and the arrays of a torch module that is a cell have some


class Arrays(nn.ParameterDict):
    """Parameters by the names that the cell gives them, as `items` has them."""

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        self.by_name = tuple(arrays)
        super().__init__({name.replace(".", DOT): nn.Parameter(value) for name, value in arrays.items()})

    def items(self) -> Iterable[tuple[str, nn.Parameter]]:
        """(name, parameter), in the cell's order."""
        return [(name, self[name.replace(".", DOT)]) for name in self.by_name]
