"""A cell's step as printed source: what a kernel reads, computes, keeps for the backward, and writes.

Forward and backward come from one derivation, so that nothing a gate computed is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ..cell import GatedCell
from ..derived.derive import derive, jacobian_vector, kept, vector_jacobian
from ..vocabulary.graph import Node
from ..vocabulary.primitives import VOCABULARY
from .printing import assignments, plain_number

# names that the printed functions use around a step's own lines
RESERVED = {
    *VOCABULARY,
    "wx",
    "wh",
    "prev",
    "unit",
    "keeps",
    "new",
    "d_new",
    "d_output",
    "t",
    "b",
    "j",
    "k",
    "steps",
    "batch",
    "gates",
    "hidden",
    "width",
    "at",
    "g",
    "now",
    "then",
    "weight",
    "bias",
    "bias_hh",
    "part",
    "rows",
    "np",
    "math",
    "njit",
    "range",
    "len",
    "float32",
    "float64",
    "real",
    "whole",
    "EXP_BOUND",
    "BOUND",
    "reduced",
    "power_of_2",
    "expm1_near_0",
    "bits_of",
    "number_of",
    "atanh_rest",
    "LOG2_E",
    "LN2",
    "LN2_HIGH",
    "LN2_LOW",
    "ROUND",
    "MANTISSA",
    "ROOT_HALF",
    "TINY",
    "GROWN",
    "GROWTH",
    "INFINITY",
    "NAN",
    *(f"{series}{k}" for series in "EA" for k in range(1, 12)),
    "product",
    "add_product",
    "call_product",
    "add_product_of",
    "multiply_inputs",
    "multiply_cotangents",
    "PRODUCT",
    "ahead",
    "first",
    "last",
    "here",
    "increase",
    "head",
    "d_rows",
    "d_before",
    "of_head",
    "flat",
    "bias_row",
    "weight_ih",
    "low",
    "high",
    "thread",
    "threads",
    "barrier",
    "meet",
    "count",
    "begin",
    "end",
    "ir",
    "types",
    "cgutils",
    "NOUGHT",
    "intrinsic",
    "get_host_cpu_features",
    "FEATURES",
    "FLOAT",
    "LANES",
    "PANEL",
    "clamped",
    "mean",
    "ZERO",
    "HALF",
    "ONE",
    "TWO",
    "FOUR",
}


@dataclass(frozen=True)
class Step:
    """Source lines of one step, and the variables they leave.

    Forward reads wx_G, wh_G, prev_S, unit_V; it leaves new_states, outputs and keeps (all variable names).
    Backward reads keep_K (in the order of keeps), prev_S, new_S, unit_V, d_S and, for output K if it is no
    state, d_output_K; cotangents maps the forward's input names to variables. A gate in `summed` uses its two
    products in one sum only, so that d_wx and d_wh are one array.

    Where the step multiplies values of its own, products says with which matrices, in order. The lines then
    call product_NAME and transposed_NAME; the backward leaves each product's operand, and cotangents has
    product_K. tangent are the lines of its Jacobian-vector product: they read what the backward does and
    d_wh_G, d_prev_S, and leave the variables new_tangents, by state.
    """

    forward: list[str]
    new_states: dict[str, str]
    outputs: list[str]
    output_states: tuple[str | None, ...]
    keeps: list[str]
    backward: list[str]
    cotangents: dict[str, str]
    summed: tuple[str, ...]
    products: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    tangent: tuple[str, ...] = ()
    new_tangents: dict[str, str] = field(default_factory=dict)


def step(
    cell: GatedCell,
    number: Callable[[float], str] = plain_number,
    unsaturated: bool = False,
    reserved: Collection[str] = RESERVED,
) -> Step:
    """The cell's step, with constants printed by `number`; `unsaturated` as in `derive.vector_jacobian`.

    No variable takes a reserved name: those that the printed functions use around the step's lines.
    """
    d = derive(cell)
    cotangents = vector_jacobian(d, unsaturated=unsaturated)
    operands = [node.args[0] for node in d.products]
    reserved = {*reserved} | {f"{op}_{node.value}" for node in d.products for op in ("product", "transposed")}
    tangents = jacobian_vector(d, unsaturated=unsaturated) if d.joined else {}
    keep = kept(d, cotangents | {f"tangent of {s}": node for s, node in tangents.items()}, operands)
    inputs = {node: name for name, node in d.inputs.items()}
    names = {node: name for name, node in d.states.items()} | d.names
    forward, variable = assignments([*d.results, *keep], inputs, names, number, reserved)
    known: dict[Node, str] = {
        node: name for node, name in inputs.items() if name.startswith(("prev_", "unit_"))
    }
    known |= {node: "new_" + name for name, node in d.states.items()}
    known |= {node: f"keep_{variable[node]}" for node in keep}
    known |= {
        d.tape.input(seed): seed
        for seed in [*(f"d_output_{k}" for k in range(len(d.outputs))), *("d_" + s for s in d.states)]
    }
    roots = [*cotangents.values(), *operands]
    backward, result = assignments(roots, known, d.names, number, reserved)
    seeds = {f"d_{name}" for name in d.inputs if name.startswith(("wh_", "prev_"))}
    moved = known | {d.tape.input(seed): seed for seed in seeds}
    tangent, moves = (
        assignments(list(tangents.values()), moved, d.names, number, reserved) if tangents else ([], {})
    )
    return Step(
        forward=forward,
        new_states={s: variable[node] for s, node in d.states.items()},
        outputs=[variable[node] for node in d.outputs],
        output_states=d.output_states,
        keeps=[variable[node] for node in keep],
        backward=backward,
        cotangents={name[2:]: _text(node, result, number) for name, node in cotangents.items()},
        summed=tuple(g for g in cell.gates if not d.separate(g)),
        products=tuple(node.value for node in d.products),
        operands=tuple(_text(node, result, number) for node in operands),
        tangent=tuple(tangent),
        new_tangents={name[2:]: _text(node, moves, number) for name, node in tangents.items()},
    )


def _text(node: Node, variable: dict[Node, str], number: Callable[[float], str]) -> str:
    return number(node.value) if node.op == "constant" else variable[node]
