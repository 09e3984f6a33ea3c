"""Every function of the vocabulary: its value in NumPy, torch and the Numba kernels, its derivative rules."""

import inspect
import operator

import numba
import numpy as np
import pytest
import torch

from cellbench.cells.kernels import shared
from cellbench.cells.vocabulary import primitives
from cellbench.cells.vocabulary.graph import Tape

FUNCTIONS = [name for name in primitives.VOCABULARY if name != "select"]  # of three arguments: at the end
DIFFERENTIABLE = [(name, form) for name in primitives.FUNCTIONS for form in ("value", "unsaturated")]
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
}
POSITIVE = {"log", "sqrt"}  # defined for what is not negative


def arguments(name):
    """How many arguments it takes."""
    return len(inspect.signature(primitives.VOCABULARY[name].torch).parameters) - 1


def values(name, dtype, largest=None):
    """Arguments from the smallest normal number to the largest, both signs, zeros; moderate ones densely."""
    info = np.finfo(dtype)
    size = np.geomspace(float(info.tiny), largest or float(info.max) / 2, 400)
    one = np.concatenate([-size, size, np.linspace(-30, 30, 601), [0.0, 800.0, -800.0]])
    one = one[(np.abs(one) < 1e4)] if name in ("sin", "cos") else one
    one = (np.abs(one) if name in POSITIVE else one).astype(dtype)
    return (one,) if arguments(name) == 1 else (np.concatenate([one, one]), np.concatenate([one, one[::-1]]))


def exact(name, args):
    """The value by torch in float64."""
    return primitives.VOCABULARY[name](*(torch.tensor(a, dtype=torch.float64) for a in args)).numpy()


@pytest.fixture(scope="module")
def kernels():
    """Kernels by name and dtype, over flat arrays, each compiled once."""
    made = {}

    def kernel(name, dtype):
        if (name, dtype) not in made:
            function = getattr(shared.module(dtype), name)
            body = (lambda a: function(a)) if arguments(name) == 1 else (lambda a, b: function(a, b))
            kind = getattr(numba, dtype)
            made[name, dtype] = numba.vectorize([kind(*[kind] * arguments(name))], nopython=True)(body)
        return made[name, dtype]

    return kernel


def ways(name, dtype, kernels):
    primitive = primitives.VOCABULARY[name]
    return {
        "numpy": primitive.numpy,
        "torch": lambda *args: primitive(*map(torch.tensor, args)).numpy(),
        "numba": kernels(name, dtype),
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_within_eight_units_of_rounding(name, dtype, kernels):
    """Relative, or absolute below twice the smallest normal number; what overflows float32 is infinite."""
    args = values(name, dtype)
    with np.errstate(all="ignore"):
        want = exact(name, args).astype(dtype).astype(np.float64)
        for way, function in ways(name, dtype, kernels).items():
            have = function(*args)
            assert have.dtype == dtype, way
            have = have.astype(np.float64)
            close = np.abs(have - want) <= 8 * np.finfo(dtype).eps * np.abs(want) + 2 * np.finfo(dtype).tiny
            bad = ~(close | (have == want))
            assert not bad.any(), (
                f"{way} {name}{[a[bad][:3] for a in args]} is {have[bad][:3]}, must be {want[bad][:3]}"
            )


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("sin", "cos")])
def test_infinities_give_the_limit(name, dtype, kernels):
    ends = [np.inf] if name in POSITIVE else [np.inf, -np.inf]
    args = tuple(
        np.array(a, dtype) for a in ([*ends, *ends], [0, 0, 1, 1][: 2 * len(ends)])[: arguments(name)]
    )
    want = exact(name, args)
    for way, function in ways(name, dtype, kernels).items():
        with np.errstate(all="ignore"):
            have = function(*args)
            close = (have == want) | (np.abs(have - want) <= 2 * np.finfo(dtype).tiny)
        assert close.all(), f"{way} {name}{args} is {have}, must be {want}"


@pytest.mark.parametrize("name", primitives.FUNCTIONS)
def test_nan_in_is_nan_out(name, dtype, kernels):
    nan, one = np.array([np.nan, 1, np.nan], dtype), np.array([1, np.nan, np.nan], dtype)
    args = (nan[[0]],) if arguments(name) == 1 else (nan, one)
    for way, function in ways(name, dtype, kernels).items():
        with np.errstate(all="ignore"):
            assert np.isnan(function(*args)).all(), f"{way} {name}"


@pytest.mark.parametrize(("name", "form"), DIFFERENTIABLE)
def test_derivative_rules_match_float64_autograd(name, form):
    args = tuple(a[np.abs(a) > 1e-200] for a in values(name, "float64", largest=1e3))
    if arguments(name) == 2:
        args = tuple(np.random.default_rng(k).permutation(a)[:500] for k, a in enumerate(args))
        args = tuple(np.concatenate([a, [1.0, -2.0]]) for a in args)  # two ties
    cotangent = np.random.default_rng(2).standard_normal(args[0].shape)
    leaves = [torch.tensor(a, requires_grad=True) for a in args]
    with np.errstate(all="ignore"):
        want = torch.autograd.grad(primitives.VOCABULARY[name](*leaves), leaves, torch.tensor(cotangent))
        have = by_rule(name, form, cotangent, args)
    for h, w in zip(have, (w.numpy() for w in want), strict=True):
        with np.errstate(invalid="ignore"):
            close = np.abs(h - w) <= 1e-13 * np.abs(w) + 4e-16 * np.abs(cotangent)
        bad = ~(close | (h == w))
        assert not bad.any(), f"at {[a[bad][:3] for a in args]} {h[bad][:3]}, must be {w[bad][:3]}"


SLOPES = {"tanh": lambda a: 1 / np.cosh(a) ** 2, "sigmoid": lambda a: 0.25 / np.cosh(a / 2) ** 2}


@pytest.mark.parametrize("name", SLOPES)
def test_unsaturated_rules_keep_relative_accuracy_far_out(name):
    a = np.linspace(-300, 300, 601)
    (have,) = by_rule(name, "unsaturated", np.ones_like(a), (a,))
    np.testing.assert_allclose(have, SLOPES[name](a), rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "name", [n for n in primitives.FUNCTIONS if primitives.VOCABULARY[n].torch.__code__.co_argcount == 3]
)
def test_a_plain_number_as_argument_keeps_dtype_and_value(name, dtype):
    """As constants in equations do: 0.1 is the dtype's 0.1, on either side and in the derivative."""
    tie = primitives.VOCABULARY["tie"]
    a = np.zeros(3, dtype)
    for function in (primitives.VOCABULARY[name], tie):
        for args in ((a, 0.1), (0.1, a)):
            whole = [np.full(3, v, dtype) for v in args]
            for have in (
                function(*args),
                function(*(torch.tensor(v) if isinstance(v, np.ndarray) else v for v in args)).numpy(),
            ):
                assert have.dtype == dtype
                np.testing.assert_array_equal(have, function.numpy(*whole))


def by_rule(name, form, cotangent, args):
    """Derivatives by the rules of the vocabulary, recorded and then evaluated on arrays."""
    tape = Tape()
    nodes = [tape.input(f"a{k}") for k in range(len(args))]
    y = tape.apply(name, *nodes)
    g = tape.input("g")
    rules = primitives.pullbacks(name, form == "unsaturated")
    assert len(rules) == len(args)
    known = dict(zip(nodes, args, strict=True)) | {g: cotangent}
    return [evaluated(rule(g, y, *nodes), known) for rule in rules]


def evaluated(node, known):
    if node not in known:
        values = [evaluated(arg, known) for arg in node.args]
        function = OPERATORS.get(node.op) or primitives.VOCABULARY.get(node.op)
        known[node] = node.value if node.op == "constant" else function(*values)
    return known[node]


def test_what_is_not_selected_counts_for_nothing_forward_or_back(dtype):
    c = np.array([1, 0, 1, 0], dtype)
    a, b = np.array([2, np.inf, -np.inf, np.nan], dtype), np.array([np.nan, 3, np.inf, -0.0], dtype)
    want, g = np.array([2, 3, -np.inf, -0.0], dtype), np.full(4, 5, dtype)
    for have in (primitives.select(c, a, b), primitives.select(*map(torch.tensor, (c, a, b))).numpy()):
        np.testing.assert_array_equal(have, want)
        assert have.dtype == dtype
    _, d_a, d_b = (rule(g, want, c, a, b) for rule in primitives.select.pullbacks)
    np.testing.assert_array_equal(d_a, [5, 0, 5, 0])
    np.testing.assert_array_equal(d_b, [0, 5, 0, 5])
