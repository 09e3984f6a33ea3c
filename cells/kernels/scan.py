"""A cell's scan kernels, printed: one chunk of the steps of an affine recurrence, at a state that is given.

`ends` and `d_ends` leave the state that a chunk reaches, or the cotangent, and the product of its Jacobians;
the others are the chunk's steps. Each keeps its state in one row (B, units) of its own, so that chunks run on
threads side by side.
"""

from __future__ import annotations

from types import ModuleType

from ..cell import GatedCell
from ..derived import affine
from ..derived.derive import Derivation, derive, kept, vector_jacobian
from ..vocabulary.graph import Node
from . import shared
from .fused import indented, outputs_apart
from .modules import load
from .printing import assignments, plain_number
from .step import RESERVED, Step, step


def module(cell: GatedCell, dtype: str) -> ModuleType:
    """The cell's kernels in this dtype: ends, forward, forward_keeping, d_ends, backward."""
    shared.module(dtype)  # whose functions these import
    return load(f"numba_scan_{cell.name}_{dtype}", text(cell, dtype))


def text(cell: GatedCell, dtype: str) -> str:
    """The printed module."""
    source = step(cell, _number)
    title = f"Scan kernels of {cell.name!r} in {dtype}, printed from its equations."
    forwards = [_forward(cell, source, keeping) for keeping in (False, True)]
    return shared.kernel(dtype, title, _ends(cell), *forwards, _d_ends(cell), _backward(cell, source))


def stored(cell: GatedCell, keeping: bool) -> list[str]:
    """The states of which a forward stores every step: all for a backward, else those that are outputs."""
    outputs = derive(cell).output_states
    return [s for s in cell.states if keeping or s in outputs]


def _number(value: float) -> str:
    return f"real({plain_number(value)})"


def _function(name: str, arrays: list[str], says: str, steps: str, lines: list[str]) -> str:
    return f'''
@njit(nogil=True, **OPTIONS)
def {name}({", ".join(arrays)}):
    """{says}"""
    steps, batch, hidden = {arrays[0]}.shape[0], {arrays[1]}.shape[0], {arrays[1]}.shape[1]
    for t in {steps}:
        for b in range(batch):
            for j in range(hidden):
{indented(lines, 4)}
'''.strip()


def _rows(cell: GatedCell) -> list[str]:
    return [f"row_{s}" for s in cell.states]


def _units(cell: GatedCell) -> list[str]:
    return [f"unit_{v}_at" for v in cell.vectors]


def _read_forward(cell: GatedCell) -> list[str]:
    lines = [f"wx_{g} = all_wx[t, b, {k}, j] + bias[{k}, j]" for k, g in enumerate(cell.gates)]
    lines += [f"unit_{v} = unit_{v}_at[j]" for v in cell.vectors]
    return lines + [f"prev_{s} = row_{s}[b, j]" for s in cell.states]


def _forward(cell: GatedCell, source: Step, keeping: bool) -> str:
    every = stored(cell, keeping)
    arrays = ["all_wx", *_rows(cell), "bias", *_units(cell), *(f"path_{s}" for s in every)]
    arrays += [f"all_output_{k}" for k in outputs_apart(source)] + ["all_kept"] * keeping
    write = [f"row_{s}[b, j] = {source.new_states[s]}" for s in cell.states]
    write += [f"path_{s}[t, b, j] = {source.new_states[s]}" for s in every]
    write += [f"all_output_{k}[t, b, j] = {source.outputs[k]}" for k in outputs_apart(source)]
    write += [f"all_kept[t, {k}, b, j] = {v}" for k, v in enumerate(source.keeps)] if keeping else []
    says = (
        "The steps of one chunk. all_wx (T, B, G, units) without `bias` (G, units); row_S (B, units) the"
        " state, path_S its path."
    )
    lines = [*_read_forward(cell), *source.forward, *write]
    return _function("forward_keeping" if keeping else "forward", arrays, says, "range(steps)", lines)


def _ends(cell: GatedCell) -> str:
    derivation, recurrence = derive(cell), affine.recurrence(cell)
    inputs = {node: name for name, node in derivation.inputs.items()}
    names = {node: name for name, node in derivation.states.items()} | derivation.names
    roots = [*derivation.states.values(), *_computed(recurrence)]
    lines, variable = assignments(roots, inputs, names, _number, RESERVED)
    write = [f"row_{s}[b, j] = {variable[node]}" for s, node in derivation.states.items()]
    product = _multiplied(recurrence, variable, transposed=False)
    arrays = ["all_wx", *_rows(cell), "bias", *_units(cell), *_product_rows(recurrence)]
    says = (
        "The state that a chunk reaches from row_S, which is left there, and the product of its Jacobians"
        " with product_K_K."
    )
    return _function("ends", arrays, says, "range(steps)", [*_read_forward(cell), *lines, *product, *write])


def _read_backward(cell: GatedCell, keeps: list[str]) -> list[str]:
    derivation = derive(cell)
    lines = [f"keep_{v} = all_kept[t, {k}, b, j]" for k, v in enumerate(keeps)]
    lines += [
        line
        for s in cell.states
        for line in (f"prev_{s} = path_{s}[t, b, j]", f"new_{s} = path_{s}[t + 1, b, j]")
    ]
    lines += [f"unit_{v} = unit_{v}_at[j]" for v in cell.vectors] + [
        f"d_{s} = row_{s}[b, j]" for s in cell.states
    ]
    for k, state in enumerate(derivation.output_states):
        lines.append(f"d_output_{k} = all_d_output_{k}[t, b, j]")
        lines += [f"d_{state} = d_{state} + d_output_{k}"] if state else []
    return lines


def _backward_arrays(cell: GatedCell) -> list[str]:
    arrays = ["all_kept", *_rows(cell), *(f"path_{s}" for s in cell.states)]
    return arrays + [f"all_d_output_{k}" for k in range(len(derive(cell).outputs))] + _units(cell)


def _backward(cell: GatedCell, source: Step) -> str:
    arrays = [*_backward_arrays(cell), *(f"d_path_{s}" for s in cell.states), "all_d_wx"]
    arrays += [f"d_unit_{v}_at" for v in cell.vectors]
    at = f"t * (len(d_path_{cell.states[0]}) == steps)"  # all steps, or one row that nobody reads
    write = [f"d_path_{s}[{at}, b, j] = d_{s}" for s in cell.states]
    write += [
        f"all_d_wx[t, b, {k}, j] = {source.cotangents.get('wx_' + g, 'ZERO')}"
        for k, g in enumerate(cell.gates)
    ]
    write += [f"row_{s}[b, j] = {source.cotangents.get('prev_' + s, 'ZERO')}" for s in cell.states]
    write += [f"d_unit_{v}_at[j] += {source.cotangents.get('unit_' + v, 'ZERO')}" for v in cell.vectors]
    says = (
        "The steps of one chunk, last first. row_S (B, units) is the cotangent of the state, d_path_S its"
        " path or one row."
    )
    lines = [*_read_backward(cell, source.keeps), *source.backward, *write]
    return _function("backward", arrays, says, "range(steps - 1, -1, -1)", lines)


def _d_ends(cell: GatedCell) -> str:
    derivation, recurrence = derive(cell), affine.recurrence(cell)
    cotangents = vector_jacobian(derivation)
    keep = {node: f"keep_{k}" for k, node in enumerate(kept(derivation, cotangents))}
    known = {n: name for name, n in derivation.inputs.items() if name.startswith(("prev_", "unit_"))}
    known |= {node: "new_" + s for s, node in derivation.states.items()} | keep
    known |= {derivation.tape.input(seed): seed for seed in _seeds(derivation)}
    before = {s: cotangents[f"d_prev_{s}"] for s in cell.states if f"d_prev_{s}" in cotangents}
    lines, variable = assignments([*before.values(), *_computed(recurrence)], known, {}, _number, RESERVED)
    write = [f"row_{s}[b, j] = {_text(before[s], variable) if s in before else 'ZERO'}" for s in cell.states]
    product = _multiplied(recurrence, variable, transposed=True)
    says = (
        "The cotangent that a chunk leaves of row_S, which is put there, and the product with the chunk's"
        " Jacobians."
    )
    lines = [*_read_backward(cell, [name[5:] for name in keep.values()]), *lines, *product, *write]
    return _function(
        "d_ends",
        [*_backward_arrays(cell), *_product_rows(recurrence)],
        says,
        "range(steps - 1, -1, -1)",
        lines,
    )


def _seeds(derivation: Derivation) -> list[str]:
    return [
        *(f"d_output_{k}" for k in range(len(derivation.outputs))),
        *(f"d_{s}" for s in derivation.states),
    ]


def _computed(recurrence: affine.Recurrence) -> list[Node]:
    return [node for node in recurrence.jacobian.values() if node.op != "constant"]


def _text(node: Node, variable: dict[Node, str]) -> str:
    return _number(node.value) if node.op == "constant" else variable[node]


def _product_rows(recurrence: affine.Recurrence) -> list[str]:
    return [f"product_{a}_{b}" for a, b in _places(recurrence)]


def _places(recurrence: affine.Recurrence) -> list[tuple[int, int]]:
    """The entries of a product of Jacobians, by position in the states."""
    at = recurrence.states.index
    return [(at(new), at(old)) for new, old in recurrence.reach]


def _multiplied(recurrence: affine.Recurrence, variable: dict[Node, str], transposed: bool) -> list[str]:
    """Lines that replace the product P of the Jacobians so far by J P, or transposed P' by P' J.

    In the transposed product the last J comes first.
    """
    at = recurrence.states.index
    jacobian = {(at(new), at(old)): _text(node, variable) for (new, old), node in recurrence.jacobian.items()}
    places = _places(recurrence)
    lines = [f"was_{a}_{b} = product_{a}_{b}[b, j]" for a, b in places]
    for a, b in places:
        if transposed:
            terms = [f"was_{a}_{c} * {jacobian[c, b]}" for d, c in places if d == a and (c, b) in jacobian]
        else:
            terms = [f"{jacobian[a, c]} * was_{c}_{b}" for c, d in places if d == b and (a, c) in jacobian]
        lines.append(f"product_{a}_{b}[b, j] = {' + '.join(terms) or 'ZERO'}")
    return lines
