"""Initialisation schemes, by name: a function here whose first arguments are (cell, shapes, rng).

A scheme starts from torch's unless it says otherwise. 'orthogonal(1.2)' calls orthogonal with gain 1.2.
`units` is the width of the states, H for most cells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from ..contract import Equations, Shapes
from ..find import nearest

Arrays = dict[str, np.ndarray]


def torch(cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator) -> Arrays:
    """Uniform in +-1/sqrt(units) for every array, as torch.nn.RNN, LSTM, GRU and Linear (of H inputs)."""
    bound = 1 / math.sqrt(units)
    return {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}


def orthogonal(
    cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator, gain: float = 1.0
) -> Arrays:
    """Each gate's recurrent block is `gain` times a random orthogonal matrix; the rest as torch.

    Saxe et al. 2013, arXiv 1312.6120.
    """
    arrays = torch(cell, shapes, units, rng)
    arrays["weight_hh"] = _blocks(cell, shapes, lambda size: gain * random_orthogonal(size, rng))
    return arrays


def identity(cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator) -> Arrays:
    """Each gate's recurrent block is the identity and the biases are 0; input weights as torch.

    The IRNN of Le et al. 2015, arXiv 1504.00941.
    """
    arrays = torch(cell, shapes, units, rng)
    arrays["weight_hh"] = _blocks(cell, shapes, np.eye)
    return arrays | {name: np.zeros(shape) for name, shape in shapes.items() if name.startswith("bias")}


def forget_bias(
    cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator, bias: float = 1.0
) -> Arrays:
    """The keep gate's bias is `bias`, in all (Jozefowicz et al. 2015); the rest as torch."""
    arrays = torch(cell, shapes, units, rng)
    _set_bias(cell, arrays, units, "keep_gate", bias)
    return arrays


def chrono(
    cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator, longest: float = 100.0
) -> Arrays:
    """Keep gate's bias log U(1, longest - 1), input gate's its negative; the rest as torch.

    Tallec & Ollivier 2018, arXiv 1804.11188.
    """
    if longest <= 2:
        raise ValueError(f"chrono's longest time span is {longest}; it must be above 2 steps")
    arrays = torch(cell, shapes, units, rng)
    bias = np.log(rng.uniform(1, longest - 1, units))
    _set_bias(cell, arrays, units, "keep_gate", bias)
    if cell.input_gate is not None:
        _set_bias(cell, arrays, units, "input_gate", -bias)
    return arrays


def keras(cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator) -> Arrays:
    """Draws as Keras's layers do: Glorot-uniform W_ih, orthogonal W_hh, biases 0 and a forget gate's 1.

    Glorot's fans are those of all gates together (I and G * H), and so is the orthogonal matrix: weight_hh as
    a whole has orthonormal columns, its blocks have not. A read-out is as a Dense. Per-unit vectors, which
    Keras has not, are as torch's.
    """
    arrays = torch(cell, shapes, units, rng)
    for name, shape in shapes.items():
        if name.startswith("bias"):
            arrays[name] = np.zeros(shape)
        elif name == "weight_hh" and len(shape) == 2:
            arrays[name] = _orthonormal_by_head(cell, *shape, rng)
        elif name.startswith("weight") and len(shape) == 2:
            bound = math.sqrt(6 / sum(shape))
            arrays[name] = rng.uniform(-bound, bound, shape)
    if cell.keep_gate == "f" and "bias_ih" in arrays:
        _set_bias(cell, arrays, units, "keep_gate", 1.0)
    return arrays


def ring(
    cell: Equations,
    shapes: Shapes,
    units: int,
    rng: np.random.Generator,
    r_min: float = 0.0,
    r_max: float = 1.0,
    phase: float = 2 * math.pi,
) -> Arrays:
    """Eigenvalues uniform over the ring r_min <= |lambda| <= r_max, phases up to `phase`; the rest as torch.

    Orvieto et al. 2023, arXiv 2303.06349.
    """
    if not 0 <= r_min < r_max <= 1 or not 0 < phase <= 2 * math.pi:
        raise ValueError(
            f"ring({r_min}, {r_max}, {phase}) must have 0 <= r_min < r_max <= 1, and a phase in (0, 2 pi]"
        )
    return torch(cell, shapes, units, rng) | cell.modes(*on_ring(units, rng, r_min, r_max, phase))


def on_ring(
    count: int, rng: np.random.Generator, r_min: float = 0.0, r_max: float = 1.0, phase: float = 2 * math.pi
) -> tuple[np.ndarray, np.ndarray]:
    """Modulus and phase of points drawn uniformly from the area of a ring, or of its sector up to `phase`."""
    modulus = np.sqrt(rng.uniform(r_min**2, r_max**2, count))
    return modulus, rng.uniform(0, phase, count)


def paper(cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator) -> Arrays:
    """Draws as the cell's own paper does (`Equations.paper`), and what that leaves open as torch does."""
    return torch(cell, shapes, units, rng) | cell.paper(shapes, rng)


SCHEMES = {f.__name__: f for f in (torch, orthogonal, identity, forget_bias, chrono, keras, ring, paper)}


def initialise(cell: Equations, shapes: Shapes, units: int, rng: np.random.Generator, scheme: str) -> Arrays:
    """Arrays drawn by the named scheme.

    Raises ValueError for an unknown scheme, or one that the cell has no gate for.
    """
    name, arguments = parse(scheme)
    return SCHEMES[name](cell, shapes, units, rng, *arguments)


def parse(scheme: str) -> tuple[str, list[float]]:
    """Name and arguments of a scheme such as 'orthogonal(1.2)'. Raises ValueError for an unknown one."""
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", scheme.strip())
    name = match[1] if match else scheme
    if match is None or name not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}{nearest(name, SCHEMES)} schemes: {', '.join(SCHEMES)}")
    try:
        arguments = [float(a) for a in match[2].split(",")] if match[2] else []
    except ValueError:
        arguments = [np.nan]
    if not np.isfinite(arguments).all():
        raise ValueError(
            f"scheme {scheme!r} has an argument that is no number, or not finite; write it as {name}(1.5)"
        )
    if len(arguments) > SCHEMES[name].__code__.co_argcount - 4:
        says = (SCHEMES[name].__doc__ or "").partition("\n")[0]
        raise ValueError(f"scheme {scheme!r} has too many arguments; {name}: {says}")
    return name, arguments


def random_orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    """A (size, size) orthogonal matrix, uniform over the group (QR with the signs of R made positive)."""
    return _orthonormal(size, size, rng)


def _orthonormal(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """A (rows, columns) matrix with orthonormal columns, or rows where it has fewer of them."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def _orthonormal_by_head(cell: Equations, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """weight_hh (rows, columns); the rows of all gates that belong to one head have orthonormal columns."""
    if cell.heads == 1:
        return _orthonormal(rows, columns, rng)
    drawn = np.stack([_orthonormal(rows // cell.heads, columns, rng) for _ in range(cell.heads)])
    return drawn.reshape(cell.heads, len(cell.recurrent), -1, columns).swapaxes(0, 1).reshape(rows, columns)


def _blocks(cell: Equations, shapes: Shapes, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """weight_hh of drawn square blocks: one a gate, head and state that is fed back."""
    if "weight_hh" not in shapes:
        raise ValueError(f"cell {cell.name!r} has no weight_hh, which this scheme sets")
    rows, width = shapes["weight_hh"]
    size = width // len(cell.fed_back)
    if "weight_hr" in shapes:  # which makes the state narrower than the gates
        high = rows // len(cell.recurrent)
        raise ValueError(
            f"cell {cell.name!r} with {cell.options} has recurrent blocks of {high} rows and {size} columns;"
            " this scheme draws square ones, so take another, such as torch or keras"
        )
    return np.concatenate([np.hstack([draw(size) for _ in cell.fed_back]) for _ in range(rows // size)])


def _set_bias(cell: Equations, arrays: Arrays, units: int, role: str, value: float | np.ndarray) -> None:
    """Sets the sum of the gate's biases: bias_ih takes it, bias_hh becomes 0.

    bias_ih may be of all gates or of the first ones.
    """
    gate = getattr(cell, role)
    if gate is None:
        raise ValueError(f"cell {cell.name!r} states no {role}, which this scheme sets the bias of")
    if "bias_ih" not in arrays:
        raise ValueError(f"cell {cell.name!r} has no bias here; give it biases=1 or 2")
    for name, gates, v in (("bias_ih", cell.gates, value), ("bias_hh", cell.recurrent, 0.0)):
        if name in arrays and gate in gates:
            arrays[name].reshape(-1, units)[gates.index(gate)] = v
