"""Oracles of stacks and of ragged batches: the oracle's plain loop, and torch.nn with packed sequences."""

import numpy as np
import torch

from cellbench.cells.derived import layers
from support.oracle import leaf, remembered, unrolled

OPTIONS = ["layers=2", "bidirectional=true", "layers=2:bidirectional=true"]
LENGTHS = [4, 7, 1]


def leaves(case, given=True):
    """Parameters, x and states as float64 leaves."""
    params = {k: leaf(v) for k, v in case.params.items()}
    return params, leaf(case.x), {k: leaf(v if given else np.zeros_like(v)) for k, v in case.state.items()}


def pulled(case, arrays, found, output, last):
    """Everything by name, as `comparison.named` orders it, given the leaves and what was made of them."""
    params, x, state = found
    cotangents = [torch.tensor(case.d_output), *(torch.tensor(case.d_state[k]) for k in last)]
    inputs = [*params.values(), x, *state.values()]
    made = torch.autograd.grad(
        [output, *last.values()], inputs, cotangents, allow_unused=True, materialize_grads=True
    )
    arrays |= dict(
        zip([f"d_{k}" for k in params] + ["d_x"] + [f"d_state.{k}" for k in state], made, strict=True)
    )
    return {k: v.detach().numpy() for k, v in arrays.items()}


@remembered
def one_by_one(case, lengths=None):
    """Each sequence by itself, up to its length, layer after layer, each direction from its own end."""
    params, x, state = found = leaves(case)
    cell, single = case.cell, layers.single(case.cell)
    outputs, ends = [], []
    for b, length in enumerate(lengths or [case.steps] * case.batch):
        hidden, last = x[:length, b : b + 1], []
        for layer in range(cell.layers):
            sides = []
            for way in range(cell.directions):
                k = layer * cell.directions + way
                suffix = f"_l{layer}" + "_reverse" * way if cell.stacked else ""
                own = {
                    n.removesuffix(suffix): v
                    for n, v in params.items()
                    if n.endswith(suffix) and "_out" not in n
                }
                own = {n: v for n, v in own.items() if not n.endswith(f"_l{layer}")}
                begin = {n: (v[k] if cell.stacked else v)[b : b + 1] for n, v in state.items()}
                made, path = unrolled(single, own, hidden.flip(0) if way else hidden, begin)
                sides.append(made.flip(0) if way else made)
                last.append(path[-1])
            hidden = torch.cat(sides, -1)
        if cell.readout:
            hidden = hidden @ params["weight_out"].T + params["bias_out"]
        outputs.append(torch.cat([hidden, hidden.new_zeros(case.steps - length, *hidden.shape[1:])]))
        ends.append(last)
    output = torch.cat(outputs, 1)
    joined = {n: [torch.cat([last[k][n] for last in ends]) for k in range(len(ends[0]))] for n in state}
    last = {n: torch.stack(v) if cell.stacked else v[0] for n, v in joined.items()}
    return pulled(case, {"output": output} | {f"state.{k}": v for k, v in last.items()}, found, output, last)


@remembered
def torch_nn(case, lengths=None):
    """The same by the torch.nn module that loads the parameters; ragged sequences are packed."""
    cell, (kind, options) = case.cell, case.cell.torch_module()
    sizes = cell.sizes(case.params)
    module = getattr(torch.nn, kind)(
        *sizes,
        num_layers=cell.layers,
        bidirectional=cell.bidirectional,
        bias=cell.biases > 0,
        dtype=torch.float64,
        **options,
    )
    params, x, state = found = leaves(case)
    named = {k if cell.stacked else f"{k}_l0": v for k, v in params.items()}
    assert list(named) == [name for name, _ in module.named_parameters()]
    begin = tuple(v if cell.stacked else v[None] for v in state.values())
    packed = (
        x
        if lengths is None
        else torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    )
    output, last = torch.func.functional_call(module, named, (packed, begin if len(begin) > 1 else begin[0]))
    if lengths is not None:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=case.steps)
    last = last if isinstance(last, tuple) else (last,)
    last = {k: v if cell.stacked else v[0] for k, v in zip(state, last, strict=True)}
    return pulled(case, {"output": output} | {f"state.{k}": v for k, v in last.items()}, found, output, last)
