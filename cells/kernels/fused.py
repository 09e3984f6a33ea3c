"""A cell's fused Numba kernels, printed: a loop over the steps of a segment around the cell's own lines.

The printed module names the text that it imports from, so that equal text is equal code.
"""

from __future__ import annotations

from types import ModuleType

from ..cell import GatedCell
from ..derived.derive import derive, kept, vector_jacobian
from . import shared
from .loops import loops
from .modules import load
from .printing import plain_number
from .step import Step, step

BLOCK = ("low", "high", "thread", "threads", "barrier")  # what a kernel of a block of units takes beside all
OF_A_BLOCK = "\n\n    Of units low to high: all_wx, step_wh, biases and weights are of these units alone."


def module(cell: GatedCell, dtype: str, blocks: bool = False) -> ModuleType:
    """The cell's kernels in this dtype: forward, forward_keeping, backward.

    With `blocks` each is for one of several threads, which share out the units.
    """
    shared.module(dtype)  # whose functions these import
    return load(f"numba_{cell.name}_{dtype}" + "_blocks" * blocks, text(cell, dtype, blocks))


def text(cell: GatedCell, dtype: str, blocks: bool = False) -> str:
    """The printed module."""
    source = step(cell, _number)
    title = f"Kernels of {cell.name!r} in {dtype}, printed from its equations."
    functions = [_forward(cell, source, keeping, blocks) for keeping in (False, True)]
    functions.append(_backward(cell, source, blocks))
    return shared.kernel(dtype, title, *[shared.barrier()] * blocks, *functions)


def _forward(cell: GatedCell, source: Step, keeping: bool, blocks: bool) -> str:
    states, apart, added = cell.states, outputs_apart(source), in_place(cell, source)
    arrays = [
        "first",
        "last",
        "ahead",
        "all_x",
        "weight_ih",
        "bias",
        "all_wx",
        "step_wh",
        "weight",
        "bias_hh",
    ]
    arrays += [*(f"{s}_at" for s in states), *(f"all_output_{k}" for k in apart), "all_kept"]
    arrays += [*(f"unit_{v}_at" for v in cell.vectors), *BLOCK * blocks]
    inside = "low, high" if blocks else "hidden"
    own = "j - low" if blocks else "j"  # of arrays of these units alone
    clock = [f"now_{s}, then_{s} = t % len({s}_at), (t + 1) % len({s}_at)" for s in states]
    places = {f"wx_{g}": f"all_wx[at, b, {k}, {own}]" for k, g in enumerate(cell.gates)}
    products = enumerate(cell.recurrent)
    places |= {f"wh_{g}": "NOUGHT" if added else f"step_wh[b, {k}, {own}]" for k, g in products}
    places |= {f"prev_{s}": f"{s}_at[now_{s}, b, j]" for s in states}
    places |= {f"new_{s}": f"{s}_at[then_{s}, b, j]" for s in states}
    places |= {f"unit_{v}": f"unit_{v}_at[j]" for v in cell.vectors}
    d = derive(cell)
    keeps = kept(d, vector_jacobian(d)) if keeping else []
    written = [(places[f"new_{s}"], node) for s, node in d.states.items()]
    written += [(f"all_output_{k}[t, b, j]", d.outputs[k]) for k in apart]
    written += [(f"all_kept[t, {k}, b, j]", node) for k, node in enumerate(keeps)]
    of_a_block = OF_A_BLOCK * blocks
    wait = ["if t and not meet(barrier, t * threads):", "    return"] * blocks
    units = []
    for loop in loops(cell, _number):
        read = [f"{name} = {places[name]}" for name in loop.reads]
        write = [f"{place} = {loop.variable[node]}" for place, node in written if node in loop.variable]
        units += [f"for j in range({inside}):", *("    " + line for line in [*read, *loop.lines, *write])]
    return f'''
@njit(nogil=True, **OPTIONS)
def {"forward_keeping" if keeping else "forward"}({", ".join(arrays)}):
    """The steps of one segment, of sequences first to last. S_at (T + 1, B, units), or two rows used in turn.

    all_wx (T or fewer, B, G, units) gets the inputs' products of `ahead` steps at a time, or has them already
    where weight_ih is empty.{of_a_block}
    """
    steps, (rows, batch, gates, hidden) = len(all_x), all_wx.shape
{indented(_flat(cell, added), 1)}
    for t in range(steps):
        at = t % rows
        if t % ahead == 0 and len(weight_ih):
            multiply_inputs(all_x, t, min(ahead, steps - t), first, last, weight_ih, bias, all_wx, at)
{indented([*clock, *wait], 2)}
{indented(_products(cell, added), 2)}
        for b in range(first, last):
{indented(units, 3)}
'''.strip()


def _number(value: float) -> str:
    return f"real({plain_number(value)})"


def _flat(cell: GatedCell, added: bool) -> list[str]:
    """Lines that lay a step's gates in a row for `_products`: a reshape takes as long as a small step."""
    if not cell.recurrent or cell.heads > 1:
        return []
    if added:
        return ["flat = all_wx.reshape(rows, batch, gates * hidden)"]
    return ["flat, bias_row = step_wh.reshape(batch, -1)[first:last], bias_hh.reshape(1, -1)"]


def _products(cell: GatedCell, added: bool) -> list[str]:
    """Lines that make step_wh (B, G, units) of the states that are fed back, or add it to wx.

    weight is (states, panels, K, PANEL), or of several heads (heads * G, panels, K / heads, PANEL).
    """
    if not cell.recurrent:
        return []
    if cell.heads == 1 and added:
        return [
            f"add_product_of({s}_at, now_{s}, weight[{k}], flat, at, first, last)"
            for k, s in enumerate(cell.fed_back)
        ]
    if cell.heads == 1:
        starts = ["bias_row", *["flat"] * (len(cell.fed_back) - 1)]
        return [
            f"add_product({s}_at[now_{s}][first:last], weight[{k}], {start}, flat, now_{s})"
            for k, (s, start) in enumerate(zip(cell.fed_back, starts, strict=True))
        ]
    (state,) = cell.fed_back
    to, start = ("all_wx[at]", "all_wx[at][first:last]") if added else ("step_wh", "bias_hh")
    return [
        f"width = hidden // (len(weight) // {len(cell.recurrent)})",
        "for k in range(len(weight)):",
        f"    head, g = divmod(k, {len(cell.recurrent)})",
        "    here = slice(head * width, (head + 1) * width)",
        f"    of_head = {state}_at[now_{state}][first:last, here]",
        f"    add_product(of_head, weight[k], {start}[:, g, here], {to}[first:last, g, here], now_{state})",
    ]


def _backward(cell: GatedCell, source: Step, blocks: bool) -> str:
    states, one = cell.states, all_summed(cell, source)
    d_wh = "all_d_wx" if one else "all_d_wh"
    arrays = ["first", "last", "ahead", "all_kept", *(f"{s}_at" for s in states)]
    arrays += [f"all_d_output_{k}" for k in range(len(source.outputs))]
    arrays += [*(f"d_{s}_at" for s in states), "all_d_wx", "all_d_wh", "weight", "weight_ih", "all_d_x"]
    arrays += [*(f"{kind}_{v}_at" for kind in ("unit", "d_unit") for v in cell.vectors), *BLOCK * blocks]
    read = [f"keep_{v} = all_kept[t, {k}, b, j]" for k, v in enumerate(source.keeps)]
    read += [
        line for s in states for line in (f"prev_{s} = {s}_at[t, b, j]", f"new_{s} = {s}_at[t + 1, b, j]")
    ]
    read += [f"unit_{v} = unit_{v}_at[j]" for v in cell.vectors]
    read += [f"d_{s} = d_{s}_at[then, b, j]" for s in states]
    for k, s in enumerate(source.output_states):
        read.append(f"d_output_{k} = all_d_output_{k}[t, b, j]")
        read += [f"d_{s} = d_{s} + d_output_{k}", f"d_{s}_at[then, b, j] = d_{s}"] if s else []
    write = [
        f"all_d_wx[t, b, {k}, j] = {source.cotangents.get('wx_' + g, 'ZERO')}"
        for k, g in enumerate(cell.gates)
    ]
    if not one:
        write += [
            f"all_d_wh[t, b, {k}, j] = {source.cotangents.get('wh_' + g, 'ZERO')}"
            for k, g in enumerate(cell.recurrent)
        ]
    write += [f"d_{s}_at[now, b, j] = {source.cotangents.get('prev_' + s, 'ZERO')}" for s in states]
    flat = [f"flat = {d_wh}.reshape(steps, batch, -1)"] if cell.recurrent and cell.heads == 1 else []
    write += [f"d_unit_{v}_at[j] += {source.cotangents.get('unit_' + v, 'ZERO')}" for v in cell.vectors]
    of_a_block = "\n\n    Of the units low to high, whose rows of the turned weights `weight` has." * blocks
    wait = ["if not meet(barrier, (steps - t) * threads):", "    return"] * blocks
    return f'''
@njit(nogil=True, **OPTIONS)
def backward({", ".join(arrays)}):
    """The steps of one segment, going back, of some sequences. d_S_at (T + 1, B, units), or two rows in turn.

    all_d_x (T, B, I) is made of `ahead` steps at a time, unless weight_ih is empty.{of_a_block}
    """
    steps, batch, gates, hidden = all_d_wx.shape
{indented(flat, 1)}
    for t in range(steps - 1, -1, -1):
        now, then = t % len(d_{states[0]}_at), (t + 1) % len(d_{states[0]}_at)
        for b in range(first, last):
            for j in range({"low, high" if blocks else "hidden"}):
{indented([*read, *source.backward, *write], 4)}
{indented([*wait, *_pulled_products(cell, d_wh, blocks)], 2)}
        if t % ahead == 0 and len(weight_ih):
{indented(_pulled_inputs(blocks), 3)}
'''.strip()


def _pulled_inputs(blocks: bool) -> list[str]:
    """Lines that make the inputs' cotangents of the steps from t on; threads share out these steps."""
    if not blocks:
        return ["multiply_cotangents(all_d_wx, t, min(ahead, steps - t), first, last, weight_ih, all_d_x)"]
    return [
        "count = min(ahead, steps - t)",
        "begin, end = t + count * thread // threads, t + count * (thread + 1) // threads",
        "if begin < end:",
        "    multiply_cotangents(all_d_wx, begin, end - begin, first, last, weight_ih, all_d_x)",
    ]


def _pulled_products(cell: GatedCell, d_wh: str, blocks: bool) -> list[str]:
    """Lines that add what the states before get through the products; weight is the forward's, turned."""
    if not cell.recurrent:
        return []
    if cell.heads == 1:
        units = "[:, :, low:high]" * blocks
        return [
            f"add_product_of(flat, t, weight[{k}], d_{s}_at{units}, now, first, last)"
            for k, s in enumerate(cell.fed_back)
        ]
    (state,) = cell.fed_back
    return [
        f"width = hidden // (len(weight) // {len(cell.recurrent)})",
        "for k in range(len(weight)):",
        f"    head, g = divmod(k, {len(cell.recurrent)})",
        "    here = slice(head * width, (head + 1) * width)",
        f"    d_before = d_{state}_at[now][first:last, here]",
        f"    add_product({d_wh}[t][first:last, g, here], weight[k], d_before, d_before, t)",
    ]


def outputs_apart(source: Step) -> list[int]:
    """Those outputs that need arrays of their own, for they are no state."""
    return [k for k, state in enumerate(source.output_states) if state is None]


def all_summed(cell: GatedCell, source: Step) -> bool:
    """Whether d_wx and d_wh are one array, for every gate uses its products in one sum."""
    return set(source.summed) == set(cell.gates)


def in_place(cell: GatedCell, source: Step) -> bool:
    """Whether the products of the states are added to those of the inputs where these lie."""
    return all_summed(cell, source) and cell.recurrent == cell.gates


def indented(lines: list[str], depth: int) -> str:
    """The lines as one text, `depth` levels in."""
    return "\n".join("    " * depth + line for line in lines)
