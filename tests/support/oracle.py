"""The oracle of the tests: a plain loop over time in float64 torch, gradients by autograd.

Of cells/ it uses only what the cells' authors wrote.
"""

from functools import partial, wraps
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import torch

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.contract import each_output, output_and_state


def remembered(oracle):
    """An oracle that computes equal problems once: every backend and dtype asks the same of it.

    Problems are equal if all their arrays are, bit by bit, and not by where they come from, for tests change
    them. What it returned before must not be written to.
    """
    known = {}

    @wraps(oracle)
    def ask(case, *args, **options):
        groups = {"x": {"": case.x}, "d_output": {"": case.d_output}}
        groups |= {name: getattr(case, name) for name in ("params", "state", "d_state")}
        digest = sha256(repr((args, options)).encode())
        for group, arrays in groups.items():
            for name, array in arrays.items():
                array = np.asarray(array)
                digest.update(repr((group, name, array.dtype, array.shape)).encode() + array.tobytes())
        key = case.cell, digest.digest()
        if key not in known:
            known[key] = oracle(case, *args, **options)
            for array in known[key].values():
                array.flags.writeable = False
        return dict(known[key])

    return ask


@remembered
def float64_autograd(case, given=True, trace=False):
    """Output, last states and every gradient of a problem, by name, as `comparison.named` orders them."""
    params = {k: leaf(v) for k, v in case.params.items()}
    x = leaf(case.x)
    state = {k: leaf(v if given else np.zeros_like(v)) for k, v in case.state.items()}
    output, path = unrolled(case.cell, params, x, state)
    last = path[-1]
    cotangents = [torch.tensor(case.d_output)]
    cotangents += [torch.tensor(case.d_state[k] if given else np.zeros_like(case.d_state[k])) for k in last]
    leaves = [*params.values(), x, *(v for now in path for v in now.values())]
    found = iter(
        torch.autograd.grad(
            [output, *last.values()], leaves, cotangents, allow_unused=True, materialize_grads=True
        )
    )
    arrays = {"output": output} | {f"state.{k}": v for k, v in last.items()}
    arrays |= {f"d_{k}": next(found) for k in params} | {"d_x": next(found)}
    steps = [{k: next(found) for k in now} for now in path]
    arrays |= {f"d_state.{k}": v for k, v in steps[0].items()}
    if trace:
        arrays |= {f"trajectory.{k}": torch.stack([s[k] for s in steps]) for k in state}
    return {k: v.detach().numpy() for k, v in arrays.items()}


def unrolled(cell, params, x, state):
    """Output (T, B, O) and the states of every step.

    Each state is a tensor of its own, for h_t and c_t are independent variables.
    """
    outputs, path, used = [], [state], cell.effective(params)
    for x_t in x:
        made, new = one_step(cell, used, x_t, SimpleNamespace(**path[-1]))
        own = {k: getattr(new, k).view_as(getattr(new, k)) for k in cell.states}
        path.append(own)
        made = tuple(next((own[k] for k in cell.states if getattr(new, k) is m), m) for m in made)
        outputs.append(
            made[0] if cell.written_out else cell.emit(used, x_t, made if len(made) > 1 else made[0])
        )
    y = torch.stack(outputs)
    return (y @ params["weight_out"].T + params["bias_out"] if cell.readout else y), path


def one_step(cell, params, x, prev):
    """Outputs of the equations and new state of one step; the recurrent product is block by block."""
    if cell.written_out:
        output, new = cell.step(params, x, prev)
        return (output,), new
    wx = cell.project(params, x)
    if type(cell).project is GatedCell.project:
        wx = by_gate(cell.gates, x @ params["weight_ih"].T + params.get("bias_ih", 0))
    wh = SimpleNamespace()
    if cell.recurrent:
        fed = torch.cat([getattr(prev, s) for s in cell.fed_back], 1)
        weight, bias = dense(cell, params["weight_hh"]).T, params.get("bias_hh", torch.zeros(()))
        wh = by_gate(cell.recurrent, fed @ weight + bias)
        for gate in cell.inner_gates:
            setattr(wh, gate, partial(inner_product, cell, gate, weight, bias))
    unit = {v: params[v] for v in cell.vectors}
    unit |= {name: partial(torch.nn.functional.linear, weight=params[name]) for name in cell.matrices}
    unit = [SimpleNamespace(**unit)] if unit else []
    output, new = output_and_state(cell, cell.equations(wx, wh, prev, *unit))
    return each_output(output), new


def inner_product(cell, gate, weight, bias, value):
    """The product of a value of the step with all of weight_hh, of which this gate's is taken."""
    return getattr(by_gate(cell.recurrent, value @ weight + bias), gate)


def dense(cell, weight):
    """The recurrent matrix with its zeros: rows of head k have their entries in the columns of head k."""
    if cell.heads == 1:
        return weight
    width = weight.shape[1]
    by_gate = [torch.block_diag(*gate.split(width)) for gate in weight.split(width * cell.heads)]
    return torch.cat(by_gate)


def by_gate(gates, rows):
    size = rows.shape[-1] // len(gates)
    return SimpleNamespace(**{g: rows[:, k * size : (k + 1) * size] for k, g in enumerate(gates)})


def leaf(array):
    return torch.tensor(np.asarray(array), dtype=torch.float64, requires_grad=True)


def saved_by_torch(case, dtype):
    """Output and last states of the torch.nn module that loads the parameters, with the suffix _l0."""
    kind, options = case.cell.torch_module()
    bias = case.cell.biases > 0
    module = getattr(torch.nn, kind)(
        *case.cell.sizes(case.params), bias=bias, dtype=getattr(torch, dtype), **options
    )
    module.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in case.params.items()})

    def place(a):
        return torch.tensor(a, dtype=getattr(torch, dtype))

    first = tuple(place(v)[None] for v in case.state.values())
    with torch.no_grad():
        output, last = module(place(case.x), first if len(first) > 1 else first[0])
    last = last if isinstance(last, tuple) else (last,)
    arrays = {"output": output} | {f"state.{k}": v[0] for k, v in zip(case.cell.states, last, strict=True)}
    return {k: v.numpy() for k, v in arrays.items()}


def equal_torch(spec):
    """The cell, or None where torch.nn has no module that takes its arrays."""
    cell = cells.get(spec)
    return cell if cell.torch_module() is not None and cell.biases != 1 and not cell.readout else None
