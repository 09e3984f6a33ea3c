"""A cell's fused Numba kernels, printed: one driver a direction over the steps of a segment, around the cell's own lines.

The printed module holds its vocabulary as well, so that it stands alone and equal text is equal code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..contract import GatedCell
from ..printing import plain_number
from .modules import load
from .step import Step, step


def module(cell: GatedCell, dtype: str) -> ModuleType:
    """The cell's kernels in this dtype: forward, forward_keeping, backward."""
    return load(f"numba_{cell.name}_{dtype}", text(cell, dtype))


def text(cell: GatedCell, dtype: str) -> str:
    """The printed module."""
    source = step(cell, lambda value: f"real({plain_number(value)})")
    title = f'"""Kernels of {cell.name!r} in {dtype}, printed from its equations."""'
    parts = [vocabulary(dtype, title)]
    parts += [_forward(cell, source, keeping) for keeping in (False, True)]
    return "\n\n\n".join([*parts, _backward(cell, source)]) + "\n"


def vocabulary(dtype: str, title: str) -> str:
    """Source of the vocabulary in this dtype: its constants, then the functions that all dtypes share."""
    constants, functions = ((Path(__file__).parent / f"{name}.py").read_text(encoding="utf8") for name in (dtype, "pointwise"))
    head = f"{title}\n\nimport math\n" + constants.split('"""', 2)[2].strip().removeprefix("import math\n")
    return "\n\n\n".join([head, functions[functions.index("@njit") :].rstrip()])


def _forward(cell: GatedCell, source: Step, keeping: bool) -> str:
    states, gates = cell.states, cell.gates
    arrays = ["all_wx", "step_wh", "weight", "bias_hh", *(f"{s}_at" for s in states), "all_output", "all_kept"]
    clock = [f"now_{s}, then_{s} = t % len({s}_at), (t + 1) % len({s}_at)" for s in states]
    read = [f"wx_{g} = all_wx[t, b, {k}, j]" for k, g in enumerate(gates)]
    read += [f"wh_{g} = step_wh[b, {k}, j]" + ("" if g in source.summed else f" + bias_hh[{k}, j]") for k, g in enumerate(gates)]
    read += [f"prev_{s} = {s}_at[now_{s}, b, j]" for s in states]
    write = [f"{s}_at[then_{s}, b, j] = {source.new_states[s]}" for s in states]
    write += [] if source.output_state == states[0] else [f"all_output[t, b, j] = {source.output}"]
    write += [f"all_kept[t, {k}, b, j] = {v}" for k, v in enumerate(source.keeps)] if keeping else []
    return f'''
@njit(**OPTIONS)
def {"forward_keeping" if keeping else "forward"}({", ".join(arrays)}):
    """The steps of one segment. all_wx (T, B, G, H) with its biases; S_at (T + 1, B, H), or two rows used in turn."""
    steps, batch, gates, hidden = all_wx.shape
    wh_rows = step_wh.reshape(batch, gates * hidden)
    for t in range(steps):
{_indent(clock, 2)}
        np.dot({states[0]}_at[now_{states[0]}], weight, wh_rows)
        for b in range(batch):
            for j in range(hidden):
{_indent([*read, *source.forward, *write], 4)}
'''.strip()


def _backward(cell: GatedCell, source: Step) -> str:
    states, gates = cell.states, cell.gates
    arrays = ["all_kept", *(f"{s}_at" for s in states), "all_d_output", *(f"d_{s}_at" for s in states), "all_d_wx", "all_d_wh"]
    read = [f"keep_{v} = all_kept[t, {k}, b, j]" for k, v in enumerate(source.keeps)]
    read += [line for s in states for line in (f"prev_{s} = {s}_at[t, b, j]", f"new_{s} = {s}_at[t + 1, b, j]")]
    read += [f"d_{s} = d_{s}_at[then, b, j]" for s in states]
    out = source.output_state
    read += ["d_step_output = all_d_output[t, b, j]"]
    read += [f"d_{out} = d_{out} + d_step_output", f"d_{out}_at[then, b, j] = d_{out}"] if out else []
    write = [f"all_d_wx[t, b, {k}, j] = {source.cotangents.get('wx_' + g, 'ZERO')}" for k, g in enumerate(gates)]
    if not all_summed(cell, source):
        write += [f"all_d_wh[t, b, {k}, j] = {source.cotangents.get('wh_' + g, 'ZERO')}" for k, g in enumerate(gates)]
    write += [f"d_{s}_at[now, b, j] = {source.cotangents.get('prev_' + s, 'ZERO')}" for s in states]
    return f'''
@njit(**OPTIONS)
def backward({", ".join(arrays)}, weight, product):
    """The steps of one segment, last first. d_S_at (T + 1, B, H), or two rows used in turn; product (B, H) is scratch."""
    steps, batch, gates, hidden = all_d_wx.shape
    d_wh_rows = all_d_wh.reshape(steps, batch, gates * hidden)
    for t in range(steps - 1, -1, -1):
        now, then = t % len(d_{states[0]}_at), (t + 1) % len(d_{states[0]}_at)
        for b in range(batch):
            for j in range(hidden):
{_indent([*read, *source.backward, *write], 4)}
        np.dot(d_wh_rows[t], weight, product)
        d_{states[0]}_at[now] += product
'''.strip()


def all_summed(cell: GatedCell, source: Step) -> bool:
    """Whether d_wx and d_wh are one array, for every gate uses its products in one sum."""
    return set(source.summed) == set(cell.gates)


def _indent(lines: list[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


@contextmanager
def many_arrays() -> Iterator[None]:
    """Lets LLVM vectorise a loop over more arrays than its default allows, while kernels are compiled.

    A step reads and writes 10 to 30 arrays; the default gives up at 8 pairs that must be checked for overlap, and the LSTM
    forward then takes 28 ns an element instead of 3.
    """
    from llvmlite import binding

    names, defaults = ("runtime-memory-check-threshold", "vectorize-memory-check-threshold"), (8, 128)
    for name in names:
        binding.set_option("", f"-{name}=2000")
    try:
        yield
    finally:
        for name, value in zip(names, defaults, strict=True):
            binding.set_option("", f"-{name}={value}")
