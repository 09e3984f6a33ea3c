"""The vocabulary of cell equations: every function that may be applied to a value, and its local derivative.

A primitive is evaluated on float64 or float32 NumPy arrays, on torch tensors, on the recorded arrays of
`tape`, and on the recording scalars of `graph`. Derivatives take (g, y, *arguments), g the cotangent of the
value y, one rule for each argument, and return a Node. Conventions as in torch: relu'(0) = 0, and a tie in
maximum or minimum splits the gradient in halves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Node, apply
from .jaxed import functions, of_jax

Rule = Callable[..., Node]


@dataclass(frozen=True)
class Primitive:
    """One function of the vocabulary.

    `pullbacks` use the value where they can (tanh' = 1 - y^2: cheap, and 0 once y rounds to 1).
    `unsaturated` ones, where given, use the argument only (tanh' = sech^2 a: right however far the unit is
    saturated). `latex` has one {} an argument.
    """

    name: str
    numpy: Callable[..., Any]
    torch: Callable[..., Any]
    pullbacks: tuple[Rule, ...]
    latex: str
    unsaturated: tuple[Rule, ...] = ()

    def __call__(self, *values: Any) -> Any:
        if any(isinstance(v, Node) for v in values):
            return apply(self.name, *values)
        # a recorded array or a tensor can only be here if its module is: neither is imported for it
        tape = sys.modules.get(f"{__package__}.tape")
        if tape is not None and any(isinstance(v, tape.Value) for v in values):
            return tape.pointwise(self.name, self.numpy, *values)
        torch = sys.modules.get("torch")
        if torch is not None and any(isinstance(v, torch.Tensor) for v in values):
            return self.torch(torch, *values)
        if of_jax(*values):
            return functions()[self.name](*values)
        value = self.numpy(*values)
        return value if (change := _change.get()) is None else change(value)


_change: ContextVar[Callable[[Any], Any] | None] = ContextVar("change", default=None)


@contextmanager
def changed(change: Callable[[Any], Any]) -> Iterator[None]:
    """Within, each value of a function on NumPy arrays is changed so: to see what its rounding does."""
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


VOCABULARY: dict[str, Primitive] = {}


def primitive(
    name: str,
    numpy: Callable,
    torch: Callable,
    *pullbacks: Rule,
    latex: str,
    unsaturated: tuple[Rule, ...] = (),
) -> Primitive:
    """Adds a function to the vocabulary and returns it."""
    VOCABULARY[name] = Primitive(name, numpy, torch, pullbacks, latex, unsaturated)
    return VOCABULARY[name]


def _sigmoid(a: Any) -> Any:
    # exp of a non-positive number only, so nothing overflows; NaN stays NaN
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e)).astype(np.asarray(a).dtype)


def _softplus(a: Any) -> Any:
    # as np.logaddexp(a, 0), whose loop has no vector instructions
    with np.errstate(invalid="ignore"):  # NaN in, NaN out
        return np.maximum(a, np.zeros((), np.asarray(a).dtype)) + np.log1p(np.exp(-np.abs(a)))


def _tie(a: Any, b: Any) -> Any:
    """1 where a > b, 1/2 where a == b, 0 elsewhere."""
    halves = np.greater(a, b) * 0.5 + np.greater_equal(a, b) * 0.5
    return halves.astype(np.result_type(a, b))


def _sech2(a: Any) -> Any:
    # 4 e^-2|a| / (1 + e^-2|a|)^2: full relative accuracy where 1 - tanh^2 has rounded to 0
    e = np.exp(-2 * np.abs(a))
    return 4 * e / ((1 + e) * (1 + e))


def _torch_sech2(t: Any, a: Any) -> Any:
    e = t.exp(-2 * a.abs())
    return 4 * e / ((1 + e) * (1 + e))


def _both(t: Any, a: Any, b: Any) -> Any:
    """Both as tensors of one dtype and device; one of them may be a number."""
    like = a if isinstance(a, t.Tensor) else b
    return t.broadcast_tensors(*(v if isinstance(v, t.Tensor) else like.new_tensor(v) for v in (a, b)))


def _torch_tie(t: Any, a: Any, b: Any) -> Any:
    a, b = _both(t, a, b)
    return ((a > b).to(a.dtype) + (a >= b)) / 2


def _torch_max(t: Any, a: Any, b: Any) -> Any:
    return t.maximum(*_both(t, a, b))


def _torch_min(t: Any, a: Any, b: Any) -> Any:
    return t.minimum(*_both(t, a, b))


def _select(c: Any, a: Any, b: Any) -> Any:
    arrays = [v for v in (a, b) if hasattr(v, "dtype")] or [c]
    return np.where(np.greater(c, 0), a, b).astype(np.result_type(*arrays))


def _torch_select(t: Any, c: Any, a: Any, b: Any) -> Any:
    like = next(v for v in (a, b, c) if isinstance(v, t.Tensor))
    return t.where(c > 0, *(v if isinstance(v, t.Tensor) else like.new_tensor(v) for v in (a, b)))


exp: Primitive = primitive(
    "exp", np.exp, lambda t, a: t.exp(a), lambda g, y, a: g * y, latex=r"\exp\left({}\right)"
)
log: Primitive = primitive(
    "log", np.log, lambda t, a: t.log(a), lambda g, y, a: g / a, latex=r"\log\left({}\right)"
)
sqrt: Primitive = primitive(
    "sqrt", np.sqrt, lambda t, a: t.sqrt(a), lambda g, y, a: g * 0.5 / y, latex=r"\sqrt{{{}}}"
)
sin: Primitive = primitive(
    "sin", np.sin, lambda t, a: t.sin(a), lambda g, y, a: g * cos(a), latex=r"\sin\left({}\right)"
)
cos: Primitive = primitive(
    "cos", np.cos, lambda t, a: t.cos(a), lambda g, y, a: -(g * sin(a)), latex=r"\cos\left({}\right)"
)
sigmoid: Primitive = primitive(
    "sigmoid",
    _sigmoid,
    lambda t, a: t.sigmoid(a),
    lambda g, y, a: g * (y * (1 - y)),
    latex=r"\sigma\left({}\right)",
    unsaturated=(lambda g, y, a: g * (y * sigmoid(-a)),),
)
tanh: Primitive = primitive(
    "tanh",
    np.tanh,
    lambda t, a: t.tanh(a),
    lambda g, y, a: g * (1 - y * y),
    latex=r"\tanh\left({}\right)",
    unsaturated=(lambda g, y, a: g * sech2(a),),
)
softplus: Primitive = primitive(
    "softplus",
    _softplus,
    lambda t, a: t.logaddexp(a, t.zeros_like(a)),
    lambda g, y, a: g * sigmoid(a),
    latex=r"\operatorname{{softplus}}\left({}\right)",
)
logsigmoid: Primitive = primitive(
    "logsigmoid",
    lambda a: -_softplus(-a),
    lambda t, a: t.nn.functional.logsigmoid(a),
    lambda g, y, a: g * sigmoid(-a),
    latex=r"\log\sigma\left({}\right)",
)
relu: Primitive = primitive(
    "relu",
    lambda a: np.maximum(a, np.zeros((), np.asarray(a).dtype)),
    lambda t, a: t.relu(a),
    lambda g, y, a: g * positive(y),
    latex=r"\operatorname{{relu}}\left({}\right)",
)
absolute: Primitive = primitive(
    "absolute",
    np.abs,
    lambda t, a: t.abs(a),
    lambda g, y, a: g * (positive(a) - positive(-a)),
    latex=r"\left|{}\right|",
)
maximum: Primitive = primitive(
    "maximum",
    np.maximum,
    _torch_max,
    lambda g, y, a, b: g * tie(a, b),
    lambda g, y, a, b: g * tie(b, a),
    latex=r"\max\left({}, {}\right)",
)
minimum: Primitive = primitive(
    "minimum",
    np.minimum,
    _torch_min,
    lambda g, y, a, b: g * tie(b, a),
    lambda g, y, a, b: g * tie(a, b),
    latex=r"\min\left({}, {}\right)",
)

# what equations may call; the four below occur in derivatives, in a sign, and in ragged batches
FUNCTIONS = tuple(VOCABULARY)

positive: Primitive = primitive(
    "positive",
    lambda a: (a > 0).astype(np.asarray(a).dtype),
    lambda t, a: (a > 0).to(a.dtype),
    lambda g, y, a: g * 0.0,
    latex=r"\left[{} > 0\right]",
)
tie: Primitive = primitive("tie", _tie, _torch_tie, latex=r"\operatorname{{tie}}\left({}, {}\right)")
# a where c is positive, else b: what is not selected does not count, were it infinite or NaN
select: Primitive = primitive(
    "select",
    _select,
    _torch_select,
    lambda g, y, c, a, b: g * 0.0,
    lambda g, y, c, a, b: select(c, g, 0.0),
    lambda g, y, c, a, b: select(c, 0.0, g),
    latex=r"\operatorname{{select}}\left({}, {}, {}\right)",
)
sech2: Primitive = primitive("sech2", _sech2, _torch_sech2, latex=r"\operatorname{{sech}}^2\left({}\right)")

# Operators: their rules, in the same form. They print as the operator itself.
OPERATORS: dict[str, tuple[Rule, ...]] = {
    "+": (lambda g, y, a, b: g, lambda g, y, a, b: g),
    "-": (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    "*": (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    "/": (lambda g, y, a, b: g / b, lambda g, y, a, b: -(g * y / b)),
    "neg": (lambda g, y, a: -g,),
}


def pullbacks(op: str, unsaturated: bool) -> tuple[Rule, ...]:
    """Derivative rules of an operator or function, one an argument."""
    if op in OPERATORS:
        return OPERATORS[op]
    entry = VOCABULARY[op]
    return entry.unsaturated if unsaturated and entry.unsaturated else entry.pullbacks
