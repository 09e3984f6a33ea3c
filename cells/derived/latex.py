"""The equations as LaTeX, by SymPy from the recorded graph: one line for each value that the author named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..contract import Equations
from ..vocabulary.graph import Node, ordered
from ..vocabulary.primitives import VOCABULARY
from .derive import derive
from .inner import bias_of, inner_biases

if TYPE_CHECKING:  # SymPy takes longer to import than all of cells
    from sympy import Expr


def equations(cell: Equations) -> str:
    """Lines such as `r_t = \\sigma\\left(...\\right)`, in the written order, the read-out last."""
    derivation = derive(cell)
    names = {node: f"{name}_t" for node, name in derivation.names.items()}
    names |= {node: f"{state}_t" for state, node in derivation.states.items()}
    if derivation.output_states == (None,):
        names[derivation.outputs[0]] = "y_t"
    lines = []
    for node in ordered(derivation.results):
        if node in names and (not node.is_leaf or node in derivation.states.values()):
            lines.append(f"{names[node]} = {_text(_expression(node, names, cell, top=True))}")
    if cell.readout:
        out = derivation.output_states[0] or "y"
        lines.append(f"y_t = W_{{yx}} {out}_t + b_y")
    return "\n".join(lines)


def _text(expression: Expr) -> str:
    from sympy import latex

    return latex(expression, order="none")


def _expression(node: Node, names: dict[Node, str], cell: Equations, top: bool = False) -> Any:
    """A SymPy expression that keeps the order in which the node was written."""
    import sympy

    if node in names and not top:
        return sympy.Symbol(names[node])
    if node.op == "constant":
        return sympy.Integer(int(node.value)) if node.value == int(node.value) else sympy.Float(node.value)
    if node.op == "input":
        return _sum([sympy.Symbol(term) for term in _terms(node.value, cell)])
    args = [_expression(a, names, cell) for a in node.args]
    if node.op == "product":
        return sympy.Symbol(f"{_matrix(node.value)} {_factor(args[0])}")
    if node.op == "mean":
        return sympy.Symbol(rf"\operatorname{{mean}}\left({_text(args[0])}\right)")
    if node.op == "+":
        return _sum(args)
    if node.op == "-":
        return sympy.Add(args[0], sympy.Mul(-1, args[1], evaluate=False), evaluate=False)
    if node.op == "*":
        return sympy.Mul(*(_grouped(a) for a in args), evaluate=False)
    if node.op == "/":
        return sympy.Mul(args[0], sympy.Pow(args[1], -1, evaluate=False), evaluate=False)
    if node.op == "neg":
        return sympy.Mul(-1, args[0], evaluate=False)
    return sympy.Symbol(VOCABULARY[node.op].latex.format(*(_text(a) for a in args)))


def _sum(terms: Sequence[Expr]) -> Expr:
    """Terms in order; a sum at the front or the end opens up, which changes nothing but the parentheses."""
    import sympy

    flat: list[Any] = [addend for term in terms for addend in (term.args if term.is_Add else (term,))]
    return sympy.Add(*flat, evaluate=False) if len(flat) > 1 else flat[0]


def _grouped(expression: Expr) -> Expr:
    """A sum inside a product in parentheses, which SymPy leaves out at a product's front."""
    import sympy

    return sympy.Symbol(rf"\left({_text(expression)}\right)") if expression.is_Add else expression


def _matrix(name: str) -> str:
    """The symbol of a matrix inside the step: of an inner gate, or by its own name."""
    if name.startswith("wh_"):
        return rf"W_{{h{name[3:]}}}"
    return rf"\mathbf{{{_escaped(name)}}}"


def _factor(expression: Expr) -> str:
    """What a matrix is multiplied by: in parentheses unless it is one symbol."""
    text = _text(expression)
    return text if expression.is_Symbol and " " not in text else rf"\left({text}\right)"


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _terms(name: str, cell: Equations) -> list[str]:
    """A state at t-1, or a product and its bias."""
    kind, _, which = name.partition("_")
    if kind == "prev":
        return [f"{which}_{{t-1}}"]
    if kind == "unit":
        if which in inner_biases(cell):
            return [rf"b_{{h{which.removeprefix(bias_of(''))}}}"]
        return [rf"\mathbf{{{_escaped(which)}}}"]
    if kind == "wx" and cell.writes("project"):
        return [rf"w_{{{which}}}(x_t)"]  # what `project` makes of the input
    fed = ", ".join(f"{name}_{{t-1}}" for name in cell.fed_back)
    source, matrix = ("x_t", "i") if kind == "wx" else (fed if len(cell.fed_back) == 1 else f"[{fed}]", "h")
    product = rf"W_{{{matrix}{which}}} {source}"
    if cell.biases == 2:
        return [product, rf"b_{{{matrix}{which}}}"]
    return [product, rf"b_{{{which}}}"] if cell.biases == 1 and kind == "wx" else [product]
