"""Wrong ports, generated: a cell's equations over a sequence, with one or several mistakes in them.

A mutant is wrong by an oracle of its own: in float64 it differs from the same port without mistakes, in
outputs, states or gradients, on long sequences, at large inputs, or where no state is given.
"""

import random

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cellbench import cells
from cellbench.cells.contract import State
from support.zoo_ports import FromEquations, sizes

F = nn.functional
CALLED = {torch.sigmoid, torch.tanh, torch.relu, torch.exp, F.logsigmoid, F.softplus}


class Sequence(FromEquations):
    """A cell over a sequence; each method is a place for a mistake."""

    changed = ()  # (number of a function's call, what is made of its argument and its value)

    def read(self, x):
        return x

    def start(self, x):
        shapes = self.cell.state_shapes(x.shape[1], self.hidden_size)
        return {name: x.new_zeros(shape) for name, shape in shapes.items()}

    def used(self, arrays):
        return arrays

    def one(self, t, x, state, params):
        with Changed(dict(self.changed)):
            output, after = self.cell.step(self.cell.effective(params), x, State(**state))
        return output, {name: getattr(after, name) for name in self.cell.states}

    def last(self, path):
        return path[-1]

    def forward(self, x, state=None):
        if state is None:
            state = self.start(x)
        else:
            values = state if isinstance(state, tuple) else (state,)
            state = dict(zip(self.cell.states, values, strict=True))
        params, outputs, path = self.used(self.arrays()), [], []
        for t, x_t in enumerate(self.read(x)):
            output, state = self.one(t, x_t, state, params)
            outputs.append(output)
            path.append(state)
        return torch.stack(outputs), tuple(self.last(path).values())


class Changed(TorchFunctionMode):
    """Changes the k-th function that a step calls."""

    def __init__(self, changes):
        super().__init__()
        self.changes, self.count = changes, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in CALLED:
            k, self.count = self.count, self.count + 1
            if k in self.changes:
                return self.changes[k](func, args[0])
        return func(*args, **(kwargs or {}))


def calls(cell):
    """How many functions a step calls."""
    size = sizes(cell)
    params = {k: torch.zeros(s).double() for k, s in cell.parameter_shapes(*size).items()}
    state = {k: torch.zeros(s).double() for k, s in cell.state_shapes(1, size[1]).items()}
    with Changed({}) as mode:
        cell.step(cell.effective(params), torch.zeros(1, size[0]).double(), State(**state))
    return mode.count


# mistakes in a function: of (function, its argument)
FORMS = {
    "relu": lambda f, a: torch.relu(a),
    "identity": lambda f, a: a,
    "hard sigmoid": lambda f, a: (0.2 * a + 0.5).clamp(0, 1),
    "1 added": lambda f, a: f(a + 1),
    "1.1 times": lambda f, a: f(1.1 * a),
    "minus": lambda f, a: -f(a),
    "1 minus": lambda f, a: 1 - f(a),
    "clamped at 3": lambda f, a: f(a.clamp(-3, 3)),
    "scaled": lambda f, a: 1.01 * f(a),
    "no gradient": lambda f, a: f(a).detach(),
    "mean of the batch taken off": lambda f, a: f(a - a.mean(0, keepdim=True)),
    "float16 inside": lambda f, a: f(a.half().to(a.dtype)),
    "NaN where large": lambda f, a: f(a).where(a.abs() < 20, a * torch.nan),
    "dropout": lambda f, a: F.dropout(f(a), 0.1),
}


def in_function(cls, rng, cell):
    if not (count := calls(cell)):
        return None
    name, k = rng.choice(list(FORMS)), rng.randrange(count)

    class Mutant(cls):
        changed = (*cls.changed, (k, FORMS[name]))

    return f"{name} in function {k}", Mutant


def in_step(cls, rng, cell):
    """A mistake around a step."""
    k = rng.choice([2, 5, 17])
    last_state = cell.states[-1]

    def every(t):
        return t % k == k - 1

    changes = {
        f"state reset each {k} steps": lambda s, t, x, h: ({n: v * (not every(t)) for n, v in h.items()}, x),
        f"state detached each {k} steps": lambda s, t, x, h: (
            {n: v.detach() if every(t) else v for n, v in h.items()},
            x,
        ),
        "state detached": lambda s, t, x, h: ({n: v.detach() for n, v in h.items()}, x),
        "x detached": lambda s, t, x, h: (h, x.detach()),
        "samples of the batch exchanged": lambda s, t, x, h: (h, x.roll(1, 0)),
        "batch statistic": lambda s, t, x, h: (h, x - x.mean(0, keepdim=True)),
        "state clamped": lambda s, t, x, h: (h | {last_state: h[last_state].clamp(-4, 4)}, x),
        "state decays": lambda s, t, x, h: ({n: 0.99 * v for n, v in h.items()}, x),
        "noise in the state": lambda s, t, x, h: (
            {n: v + 1e-3 * torch.randn_like(v) for n, v in h.items()},
            x,
        ),
        "off after step 40": lambda s, t, x, h: (h, 1.01 * x if t > 40 else x),
        "NaN after step 40": lambda s, t, x, h: (h, x * torch.nan if t > 40 else x),
        "inputs above 10 are clamped": lambda s, t, x, h: (h, x.clamp(-10, 10)),
        "units of the state rolled": lambda s, t, x, h: (
            h | {last_state: h[last_state].roll(1, -1)},
            x,
        ),
        "first input left out": lambda s, t, x, h: (h, x * (t > 0)),
    }
    if len(cell.states) > 1 and len(set(cell.state_shapes(2, sizes(cell)[1]).values())) == 1:
        changes["states swapped"] = lambda s, t, x, h: (
            dict(zip(h, list(h.values())[::-1], strict=True)) if t == 0 else h,
            x,
        )
    name = rng.choice(list(changes))

    class Mutant(cls):
        def one(self, t, x, state, params):
            state, x = changes[name](self, t, x, state)
            return super().one(t, x, state, params)

    return name, Mutant


def in_time(cls, rng, cell):
    """The input at another time."""
    changes = {
        "x at t - 1": lambda x: torch.cat([torch.zeros_like(x[:1]), x[:-1]]),
        "x at t - 1, the first repeated": lambda x: torch.cat([x[:1], x[:-1]]),
        "x at t + 1": lambda x: torch.cat([x[1:], x[-1:]]),
        "x backwards": lambda x: x.flip(0),
        "x normalised over time": lambda x: x / (1e-5 + x.std(0, keepdim=True)) if len(x) > 1 else x,
    }
    name = rng.choice(list(changes))

    class Mutant(cls):
        def read(self, x):
            return changes[name](super().read(x))

    return name, Mutant


def in_start(cls, rng, cell):
    """Another first state where none is given."""
    name = rng.choice(["ones", "randn", "learned", "learned zeros", "x", "zeros of another axis"])

    class Mutant(cls):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            if name.startswith("learned"):
                self.h0 = nn.Parameter(torch.zeros(1) if "zeros" in name else torch.rand(1) + 0.5)

        def start(self, x):
            state = super().start(x)
            if name == "zeros of another axis":
                shapes = self.cell.state_shapes(x.shape[0], self.hidden_size)
                return {n: x.new_zeros(shape) for n, shape in shapes.items()}
            makes = {"ones": torch.ones_like, "randn": torch.randn_like}
            make = makes.get(name, lambda v: v + (self.h0 if name.startswith("learned") else x.mean()))
            first = next(iter(state))
            return state | {first: make(state[first])}

    return f"first state: {name}", Mutant


def in_arrays(cls, rng, cell):
    """Arrays used otherwise than they are."""
    shapes = cell.parameter_shapes(*sizes(cell))
    units = cell.units(sizes(cell)[1])
    packed = [n for n, s in shapes.items() if s[0] > units and s[0] % units == 0]
    square = [n for n, s in shapes.items() if len(s) == 2 and s[0] % s[1] == 0 and n == "weight_hh"]
    changes = {
        "1 % off": (list(shapes), lambda a: 1.01 * a),
        "left out": ([n for n in shapes if "bias" in n or "shift" in n], lambda a: 0 * a),
        "gates rolled": (packed, lambda a: a.roll(units, 0)),
        "gates turned round": (
            packed,
            lambda a: a.unflatten(0, (-1, units)).flip(0).flatten(0, 1),
        ),
        "transposed": (square, lambda a: a.unflatten(0, (-1, a.shape[1])).mT.flatten(0, 1)),
        "detached": (list(shapes), torch.Tensor.detach),
        "rows rolled": (list(shapes), lambda a: a.roll(1, 0)),
        "normalised": (list(shapes), lambda a: a / (1 + a.norm())),
    }
    choices = [(what, n) for what, (names, _) in changes.items() for n in names]
    what, array = rng.choice(choices)

    class Mutant(cls):
        def used(self, arrays):
            arrays = super().used(arrays)
            return arrays | {array: changes[what][1](arrays[array])}

    return f"{array} {what}", Mutant


def in_output(cls, rng, cell):
    """What comes out is not what it should be."""
    name = rng.choice(["the output before", "tanh", "an extra gain", "an extra shift", "last state", "1e-3"])

    class Mutant(cls):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            if name.startswith("an extra"):
                self.extra = nn.Parameter(torch.full((1,), float("gain" in name)))

        def last(self, path):
            return path[-2] if name == "last state" and len(path) > 1 else super().last(path)

        def one(self, t, x, state, params):
            output, after = super().one(t, x, state, params)
            before = state[self.cell.states[0]]
            if name == "the output before" and before.shape == output.shape:
                return before, after
            makes = {
                "tanh": torch.tanh,
                "an extra gain": lambda y: self.extra * y,
                "an extra shift": lambda y: y + self.extra,
                "1e-3": lambda y: y * 1.001,
            }
            return makes.get(name, lambda y: y)(output), after

    return f"output: {name}", Mutant


KINDS = (in_function, in_function, in_step, in_step, in_time, in_start, in_arrays, in_arrays, in_output)


def mutant(seed):
    """(cell's name, words, right class, mutant class) of a seed; some mutants are no other than the right."""
    rng = random.Random(seed)
    name = rng.choice(cells.names())
    cell = cells.get(name)

    class Right(Sequence):
        def __init__(self, input_size, hidden_size):
            super().__init__(cell, input_size, hidden_size)
            self.hidden_size = hidden_size

    made, words = Right, []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if (changed := rng.choice(KINDS)(made, rng, cell)) is not None:
            words.append(changed[0])
            made = changed[1]
    made.__name__ = made.__qualname__ = "Mutant"
    return name, " and ".join(words), Right, made


def differs(right, mutant, cell):
    """Whether the mutant computes something else, in float64; an error is something else too."""
    size = sizes(cell)
    modules = [cls(*size).double() for cls in (right, mutant)]
    modules[1].load_state_dict(modules[0].state_dict(), strict=False)
    params = cell.init(*size, seed=5)
    with torch.no_grad():
        for module in modules:
            for place, array in _placed(module, params):
                array.copy_(torch.as_tensor(place))
            for extra in ("h0", "extra"):
                if hasattr(module, extra):
                    getattr(module, extra).add_(0.3)
    return any(_apart(modules, cell, size, scale, given) for scale in (1, 128) for given in (True, False))


def _placed(module, params):
    held = dict(module.named_parameters())
    return [(params[name].reshape(held[place].shape), held[place]) for name, place in module.places.items()]


def _apart(modules, cell, size, scale, given):
    generator = torch.Generator().manual_seed(3)
    x = scale * torch.randn(60, 3, size[0], dtype=torch.float64, generator=generator)
    state = None
    if given:
        shapes = cell.state_shapes(3, size[1])
        values = [scale * torch.rand(s, dtype=torch.float64, generator=generator) for s in shapes.values()]
        state = tuple(values) if len(values) > 1 else values[0]
    results = []
    for module in modules:
        try:
            results.append(_results(module, x.clone().requires_grad_(True), state))
        except RuntimeError:  # shapes that do not fit
            return True
    right, wrong = results
    for a, b in zip(right, wrong, strict=True):
        if not a.isfinite().all():
            continue  # nothing can be said there
        if not (a - b).abs().max() <= 1e-4 * a.abs().max().clamp(min=1e-30):
            return True
    return False


def _results(module, x, state):
    output, last = module(x, state)
    total = output.square().sum() + sum(v.sum() for v in last)
    wanted = [x, *(p for n, p in module.named_parameters() if n not in ("h0", "extra"))]
    if not total.requires_grad:
        return [output, *last, *(torch.zeros_like(v) for v in wanted)]
    grads = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    # at large inputs the gradients of what saturates are rounding
    return [output, *last, *(grads if x.abs().max() < 10 else ())]
