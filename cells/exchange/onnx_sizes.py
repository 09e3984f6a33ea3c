"""The shapes of an ONNX graph's inputs: those that it fixes, and what is put in the place of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .onnx_chain import Chain

STEPS, BATCH = 5, 3  # at which a model without fixed shapes is traced: odd and different


class Sizes:
    """The shapes of a graph's inputs: fixed ones, and what is put for those that are not."""

    def __init__(self, graph: Any, path: str | Path) -> None:
        held = {tensor.name for tensor in graph.initializer}
        # an input that is held as well may be left out; of a first state it says the batch
        optional = [t for t in graph.initializer if t.name in {given.name for given in graph.input}]
        rows = [tensor.dims[-2] for tensor in optional if len(tensor.dims) in (2, 3)]
        self.batch = next((n for n in rows if n > 1), BATCH)
        self.inputs = {given.name: given.type for given in graph.input if given.name not in held}
        for name, kind in self.inputs.items():
            if not kind.HasField("tensor_type"):
                raise ValueError(f"{path}: the input {name!r} is no array; a cell takes arrays alone")

    def dimensions(self, name: str) -> list[int | str]:
        """Fixed sizes as numbers, others by name ('' for one without); three axes where none are said."""
        kind = self.inputs[name].tensor_type
        return [d.dim_value or d.dim_param for d in kind.shape.dim] if kind.HasField("shape") else [""] * 3

    def shapes(self, known: tuple[Chain, int] | None, steps: int, batch: int) -> dict[str, tuple[int, ...]]:
        """A shape for every input. known: what a first trace found, and the number of inputs of x."""
        by_name: dict[str, int] = {}
        if known is not None:
            chained, inputs = known
            sizes = (steps, batch, inputs) if len(chained.axes) == 3 else (steps, inputs)
            of_x = dict(zip(chained.axes, sizes, strict=True))
            for axis, named in enumerate(self.dimensions(chained.x)):
                if isinstance(named, str) and named:
                    by_name[named] = of_x[axis]
        shapes: dict[str, tuple[int, ...]] = {}
        for name in self.inputs:
            sizes_given = self.dimensions(name)
            guess = {0: steps, 1: batch} if len(sizes_given) == 3 else {0: batch}
            if known is not None:
                guess = of_x if name == chained.x else {max(len(sizes_given) - 2, 0): batch}
            shape: list[int] = []
            for axis, size in enumerate(sizes_given):
                if isinstance(size, str):
                    size = by_name.setdefault(size, guess.get(axis, 1)) if size else guess.get(axis, 1)
                shape.append(size)
            shapes[name] = tuple(shape)
        return shapes

    def fixed(self, chained: Chain) -> tuple[int | None, int | None]:
        """The steps and the batch that the model fixes."""
        given = self.dimensions(chained.x)
        steps, batch = given[chained.axes[0]], given[chained.axes[1]] if len(given) == 3 else 1
        return steps if isinstance(steps, int) else None, batch if isinstance(batch, int) else None
