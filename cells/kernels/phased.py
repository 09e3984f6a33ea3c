"""Fused Numba kernels of a step that joins its own units: the loops of its phases, and what stands between.

A product inside the step is with panels packed once, as the recurrent ones are; a mean is summed over a row
that is still in a core's cache. The forward keeps each product's operand, so that the gradient of its matrix
is one product for all steps.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..cell import GatedCell
from ..derived.derive import derive, kept, vector_jacobian
from ..derived.inner import inner_biases, inner_names
from ..vocabulary.across import joins
from ..vocabulary.graph import Node
from . import fused, shared
from .modules import load
from .phases import Phase, Plan, Reads, Text
from .printing import plain_number
from .step import RESERVED

# names that the printed functions use, beside those of kernels of one phase
AROUND = (
    *(
        "vectors",
        "d_vectors",
        "held",
        "averaged",
        "results",
        "operands",
        "means",
        "row_mean",
        "now",
        "then",
        "p",
    ),
    *("kept_at", "d_products", "d_means", "d_part", "d_rows", "all_kept", "all_wx", "step_wh", "all_d_wx"),
    "all_d_wh",
)
COUNTED = ("product", "mean", "held", "stored", "kept_mean")


def module(cell: GatedCell, dtype: str) -> ModuleType:
    """The cell's kernels in this dtype: forward, forward_keeping, backward."""
    shared.module(dtype)  # whose functions these import
    return load(f"numba_{cell.name}_{dtype}", text(cell, dtype))


def text(cell: GatedCell, dtype: str) -> str:
    """The printed module."""
    kernels = Kernels(cell)
    title = f"Kernels of {cell.name!r} in {dtype}, printed from its equations."
    forwards = [kernels.forward(keeping) for keeping in (False, True)]
    return shared.kernel(dtype, title, *forwards, kernels.backward())


class Kernels:
    """The printed functions of one cell, and what their arrays must hold."""

    def __init__(self, cell: GatedCell) -> None:
        self.cell, self.d = cell, derive(cell)
        self.matrices = inner_names(cell)
        self.vectors = (*cell.vectors, *inner_biases(cell))
        self.cotangents = vector_jacobian(self.d)
        self.keeps = kept(self.d, self.cotangents, means=True)
        self.means = joins(self.d.results, "mean")
        # as `Step` has it: a gate whose two products are used in one sum takes its recurrent bias with x's
        self.summed = tuple(g for g in cell.gates if not self.d.separate(g))
        self.output_states = self.d.output_states
        self.plans = {keeping: self._forward_plan(keeping) for keeping in (False, True)}
        self.back = self._backward_plan()

    @property
    def apart(self) -> list[int]:
        """Those outputs that need arrays of their own, for they are no state."""
        return [k for k, state in enumerate(self.output_states) if state is None]

    def _reserved(self) -> set[str]:
        count = len(self.d.forward) + len(self.cotangents) + 99
        arrays = {f"matrix_{name}" for name in self.matrices}
        arrays |= {f"{stem}{s}" for s in self.cell.states for stem in ("now_", "then_")}
        arrays |= {f"{stem}{s}_at" for s in self.cell.states for stem in ("", "d_")}
        return {*RESERVED, *AROUND, *arrays, *(f"{stem}_{k}" for stem in COUNTED for k in range(count))}

    def _forward_plan(self, keeping: bool) -> Plan:
        cell, d = self.cell, self.d
        units: dict[str, str] = {f"wx_{g}": f"all_wx[t, b, {k}, j]" for k, g in enumerate(cell.gates)}
        for k, g in enumerate(cell.fed_gates):
            row = cell.recurrent.index(g)
            bias = "" if g in self.summed else f" + bias_hh[{row}, j]"
            units[f"wh_{g}"] = f"step_wh[b, {k} * hidden + j]{bias}"
        units |= {f"prev_{s}": f"{s}_at[now_{s}, b, j]" for s in cell.states} | self._units()
        writes = [(f"{s}_at[then_{s}, b, j] =", d.states[s]) for s in cell.states]
        writes += [(f"all_output_{k}[t, b, j] =", d.outputs[k]) for k in self.apart]
        stored = {d.states[s]: f"{s}_at[then_{s}, b, j]" for s in cell.states}
        if keeping:
            kept_at = {node: f"all_kept[t, {k}, b, j]" for k, node in enumerate(self.keeps)}
            writes += [(f"{place} =", node) for node, place in kept_at.items()]
            stored |= kept_at
        reads = Reads({node: (name, units[name]) for name, node in d.inputs.items()})
        text = Text(self._names(), _number, self._reserved(), "operands[now, {}]")
        return Plan(writes, reads, stored, text)

    def _backward_plan(self) -> Plan:
        cell, d = self.cell, self.d
        units = {d.inputs[name]: (name, text) for name, text in self._units().items()}
        units |= {d.inputs[f"prev_{s}"]: (f"prev_{s}", f"{s}_at[t, b, j]") for s in cell.states}
        units |= {node: (f"new_{s}", f"{s}_at[t + 1, b, j]") for s, node in d.states.items()}
        units |= {node: (f"keep_{k}", f"all_kept[t, {k}, b, j]") for k, node in enumerate(self.keeps)}
        sequences = {node: (f"kept_mean_{k}", f"means[t, {k}, b]") for k, node in enumerate(self.means)}
        first, begun = [], []
        for s in cell.states:
            seed = d.tape.input(f"d_{s}")
            units[seed] = (f"d_{s}", f"d_{s}_at[then, b, j]")
            first.append(f"d_{s} = d_{s}_at[then, b, j]")
            begun.append(seed)
        for k, state in enumerate(self.output_states):
            output = f"all_d_output_{k}[t, b, j]"
            units[d.tape.input(f"d_output_{k}")] = (f"d_output_{k}", output)
            first += [f"d_{state} = d_{state} + {output}"] if state else []
            first += [f"d_{state}_at[then, b, j] = d_{state}"] if state else []
        written = {
            self.cotangents[name]: f"d_products[t, {k}]"
            for k in range(len(d.products))
            if (name := f"d_product_{k}") in self.cotangents
        }
        text = Text(d.names, _number, self._reserved(), "operands[0, {}]", written)
        return Plan(self._cotangent_writes(), Reads(units, sequences), {}, text, first, begun)

    def _cotangent_writes(self) -> list[tuple[str, Node]]:
        cell = self.cell
        targets = {f"d_wx_{g}": f"all_d_wx[t, b, {k}, j] =" for k, g in enumerate(cell.gates)}
        targets |= {f"d_wh_{g}": f"all_d_wh[t, b, {k}, j] =" for k, g in enumerate(cell.fed_gates)}
        targets |= {f"d_prev_{s}": f"d_{s}_at[now, b, j] =" for s in cell.states}
        targets |= {f"d_unit_{v}": f"d_vectors[{k}, j] +=" for k, v in enumerate(self.vectors)}
        targets |= {f"d_product_{k}": f"d_products[t, {k}, b, j] =" for k in range(len(self.d.products))}
        nothing: Any = 0  # a type checker knows no float as a Real
        zero = self.d.tape.constant(nothing)
        return [(target, self.cotangents.get(name, zero)) for name, target in targets.items()]

    def _units(self) -> dict[str, str]:
        return {f"unit_{v}": f"vectors[{k}, j]" for k, v in enumerate(self.vectors)}

    def _names(self) -> dict[Node, str]:
        return {node: name for name, node in self.d.states.items()} | self.d.names

    def forward(self, keeping: bool) -> str:
        """A forward over the steps of one segment."""
        cell, plan = self.cell, self.plans[keeping]
        arrays = ["all_wx", "step_wh", "weight", "bias_hh", "part", "rows", *(f"{s}_at" for s in cell.states)]
        arrays += [*(f"all_output_{k}" for k in self.apart), "all_kept"]
        arrays += ["vectors", *self._buffers(), "means"]
        clock = [f"now_{s}, then_{s} = t % len({s}_at), (t + 1) % len({s}_at)" for s in cell.states]
        fed, gates = [f"{s}_at[now_{s}]" for s in cell.fed_back], len(cell.fed_gates)
        lines = clock + (_products(fed, "weight", "step_wh", gates, cell.heads) if gates else [])
        # where nothing is kept, operands and means have one row
        lines += ["now, kept_at = t % len(operands), t % len(means)"]
        lines += self._loops(plan, {n: f"means[kept_at, {k}, b]" for k, n in enumerate(self.means)})
        says = "all_wx (T, B, G, units) with its biases; S_at (T + 1, B, units), or two rows used in turn."
        return f'''
@njit(**OPTIONS)
def {"forward_keeping" if keeping else "forward"}({", ".join(arrays)}):
    """The steps of one segment. {says}"""
    steps, batch, gates, hidden = all_wx.shape
    for t in range(steps):
{fused.indented(lines, 2)}
'''.strip()

    def backward(self) -> str:
        """A backward over the steps of one segment, last first."""
        cell, plan = self.cell, self.back
        arrays = ["all_kept", *(f"{s}_at" for s in cell.states)]
        arrays += [*(f"all_d_output_{k}" for k in range(len(self.d.outputs)))]
        arrays += [*(f"d_{s}_at" for s in cell.states), "all_d_wx", "all_d_wh", "weight", "part", "rows"]
        arrays += ["d_part", "d_rows"]
        arrays += ["vectors", "d_vectors", *self._buffers(), "means", "d_products", "d_means"]
        first = f"d_{cell.states[0]}_at"
        lines = [f"now, then = t % len({first}), (t + 1) % len({first})"]
        lines += self._loops(plan, {n: f"d_means[{k}, b]" for k, n in enumerate(plan.means)})
        lines += _pulled(cell)
        return f'''
@njit(**OPTIONS)
def backward({", ".join(arrays)}):
    """The steps of one segment, last first. d_S_at (T + 1, B, units), or two rows used in turn."""
    steps, batch, gates, hidden = all_d_wx.shape
    for t in range(steps - 1, -1, -1):
{fused.indented(lines, 2)}
'''.strip()

    def _buffers(self) -> list[str]:
        return ["operands", "results", "held", "averaged", *(f"matrix_{name}" for name in self.matrices)]

    def _loops(self, plan: Plan, kept_means: dict[Node, str]) -> list[str]:
        """All phases, product by product; kept_means says where a mean is written, for later phases."""
        lines, phases = [], plan.phases()
        for product in range(max(phase.place[0] for phase in phases) + 1):
            inside = [phase for phase in phases if phase.place[0] == product]
            read = kept_means | {n: text for n, (_, text) in plan.reads.sequences.items()}
            body = [f"{plan.source(n)[0]} = {read[n]}" for n in plan.sequence_numbers(product)]
            for phase in inside:
                body += self._loop(plan, phase, kept_means)
            lines += ["for b in range(batch):", *("    " + line for line in body)] if body else []
            for node in [n for phase in inside for n in phase.multiplied]:
                heads = 1 if node.value in self.cell.matrices else self.cell.heads
                result = f"results[{plan.products.index(node)}]"
                lines += _products([plan.operand(node)], f"matrix_{node.value}", result, 1, heads)
        return lines

    def _loop(self, plan: Plan, phase: Phase, kept_means: dict[Node, str]) -> list[str]:
        lines = ["for j in range(hidden):", *("    " + line for line in phase.lines)] if phase.lines else []
        for node in phase.averaged:
            k = plan.means.index(node)
            lines += [f"mean_{k} = row_mean(averaged[{k}])"]
            lines += [f"{kept_means[node]} = mean_{k}"]
        return lines


def _products(arrays: list[str], panels: str, out: str, gates: int, heads: int) -> list[str]:
    """Lines that write the products of arrays (B, K) to out (B, gates * units, and more up to whole panels).

    panels is (heads * arrays, P, K / heads, PANEL); of several arrays the products are added up. What an
    array has beyond K is padding.
    """
    if heads == 1:
        first, *more = [
            f"product({array}[:, : {panels}.shape[2]], {panels}[{k}], " for k, array in enumerate(arrays)
        ]
        return [
            f"{first}{out}, t)",
            *(line for text in more for line in (text + "rows, t)", f"increase({out}, rows)")),
        ]
    (array,) = arrays
    return [
        "width = part.shape[1]",
        f"for p in range(len({panels})):",
        f"    part[:] = {array}[:, p * width : (p + 1) * width]",
        f"    product(part, {panels}[p], rows, t)",
        f"    for g in range({gates}):",
        "        at = g * hidden + p * width",
        f"        {out}[:, at : at + width] = rows[:, g * width : (g + 1) * width]",
    ]


def _pulled(cell: GatedCell) -> list[str]:
    """Lines that add what the states before get through the recurrent products.

    weight is (heads * states, panels, rows, PANEL); d_part is as wide as whole panels.
    """
    if not cell.fed_gates:
        return []
    if cell.heads == 1:
        rows = "all_d_wh[t].reshape(batch, -1)"
        return [
            line
            for k, s in enumerate(cell.fed_back)
            for line in (f"product({rows}, weight[{k}], d_part, t)", f"increase(d_{s}_at[now], d_part)")
        ]
    (state,) = cell.fed_back
    return [
        "width = part.shape[1]",
        "for p in range(len(weight)):",
        "    d_rows.reshape(batch, -1, width)[:] = all_d_wh[t][:, :, p * width : (p + 1) * width]",
        "    product(d_rows, weight[p], d_part, t)",
        f"    increase(d_{state}_at[now][:, p * width : (p + 1) * width], d_part)",
    ]


def _number(value: float) -> str:
    return f"real({plain_number(value)})"
