"""The recurrent products of a printed Triton kernel: weights loaded once, and multiplied at every step.

Plain, every gate has a product of its own. Packed, all gates have one together: its columns are blocks of 8
units, in each the gates in turn, padded to a power of two. In that order the compiler splits the product into
gates without exchange between threads, which saves most barriers of a step.
"""

from __future__ import annotations

from ...cell import GatedCell
from .frame import block

DOT = "input_precision=PRECISION, out_dtype=REAL"
ZEROS = "tl.zeros((BLOCK_B, BLOCK_H), REAL)"


def slots(cell: GatedCell) -> int:
    """Places for gates in a packed product: the next power of two."""
    return 1 << (len(cell.recurrent) - 1).bit_length()


def can_pack(cell: GatedCell) -> bool:
    """Whether there is more than one product to put together."""
    return len(cell.recurrent) > 1


def fed_names(cell: GatedCell) -> list[tuple[str, str]]:
    """Each state that is fed back with what its arrays' names end in: nothing where it is the only one."""
    if not cell.recurrent:
        return []
    return [(s, "" if len(cell.fed_back) == 1 else f"_{s}") for s in cell.fed_back]


def load_weights(cell: GatedCell, packed: bool, transposed: bool) -> list[str]:
    """Lines that load weight_hh (G * units, K): states by gates, or transposed for the backward.

    `inside` and the places `k`, `u` of the block must be there.
    """
    if not cell.recurrent:
        return []
    columns = "WIDTH" if len(cell.fed_back) == 1 else f"({len(cell.fed_back)} * WIDTH)"
    head = " + head * WIDTH" if cell.heads > 1 else ""
    gate, state = ("k", "u") if transposed else ("u", "k")
    lines = ["k = tl.arange(0, BLOCK_H)[:, None]"] if not packed or not transposed else []
    if packed:
        p, axis = slots(cell), "[:, None]" if transposed else "[None, :]"
        lines += [
            "# blocks of 8 units, in each the gates in turn",
            f"q = tl.arange(0, {p} * BLOCK_H){axis}",
            f"slot, unit = q // 8 % {p}, q // {8 * p} * 8 + q % 8",
            f"inside = (unit < WIDTH) & ({state} < WIDTH)"
            + (f" & (slot < {len(cell.recurrent)})" if p > len(cell.recurrent) else ""),
        ]
        rows = {"": "slot * HIDDEN + unit"}
    else:
        lines += ["inside = (k < WIDTH) & (u < WIDTH)"]
        rows = {f"_{g}": block(gate, r, "HIDDEN") for r, g in enumerate(cell.recurrent)}
    for of_gate, row in rows.items():
        for f, (_, of_state) in enumerate(fed_names(cell)):
            place = f"weight_at + ({row}{head}) * {columns} + {block(state, f, 'WIDTH')}"
            lines.append(f"weight{of_gate}{of_state} = tl.load({place}, mask=inside, other=0.0).to(DOT)")
    return lines


def multiply(cell: GatedCell, packed: bool) -> list[str]:
    """Lines that make wh_G of the states before, without biases."""
    fed = fed_names(cell)
    lines = [f"fed{end} = prev_{s}.to(DOT)" for s, end in fed]
    for gate in [""] if packed else [f"_{g}" for g in cell.recurrent]:
        for f, (_, end) in enumerate(fed):
            acc = f"acc=wh{gate}, " if f else ""
            lines.append(f"wh{gate} = tl.dot(fed{end}, weight{gate}{end}, {acc}{DOT})")
    return lines + (split("wh", [f"wh_{g}" for g in cell.recurrent]) if packed else [])


def pull_back(cell: GatedCell, packed: bool, d_wh: list[str]) -> list[str]:
    """Lines that add to d_prev_S what it gets through the products, from the cotangents of wh by gate."""
    fed = fed_names(cell)
    # a padded unit may hold anything, such as 0 / 0, and would reach every state
    masked = [f"tl.where(ok, {text}, 0.0)" for text in d_wh]
    if packed:
        lines, operands = [*join("d_wh", masked), "d_wh = d_wh.to(DOT)"], [("", "d_wh")]
    else:
        lines = [f"d_wh_{g} = {text}.to(DOT)" for g, text in zip(cell.recurrent, masked, strict=True)]
        operands = [(f"_{g}", f"d_wh_{g}") for g in cell.recurrent]
    for s, end in fed:
        for k, (gate, operand) in enumerate(operands):
            acc = f"acc=pulled{end}, " if k else ""
            lines.append(f"pulled{end} = tl.dot({operand}, weight{gate}{end}, {acc}{DOT})")
        lines.append(f"d_prev_{s} += pulled{end}")
    return lines


def split(source: str, names: list[str]) -> list[str]:
    """Lines that take a packed product (BLOCK_B, P * BLOCK_H) apart into its gates."""
    levels = (len(names) - 1).bit_length()
    halves = ", ".join(["2"] * levels)
    lines = [
        f"{source} = tl.reshape({source}, (BLOCK_B, BLOCK_H // 8, {1 << levels}, 8))",
        f"{source} = tl.reshape(tl.permute({source}, (0, 1, 3, 2)), (BLOCK_B, BLOCK_H, {halves}))",
    ]
    parts = {0: source}  # by the gate that each begins with
    for level in range(levels):
        step, last = 1 << level, level == levels - 1
        halved: dict[int, str] = {}
        for first, name in parts.items():
            pair = [first, first + step]
            left, right = (
                names[k]
                if last and k < len(names)
                else f"{'slots' if level == 0 else name}_{'even' if k == first else 'odd'}"
                for k in pair
            )
            lines.append(f"{left}, {right} = tl.split({name})")
            halved |= {pair[0]: left, pair[1]: right}
        parts = {k: name for k, name in halved.items() if k < len(names)}
    return lines


def join(target: str, values: list[str]) -> list[str]:
    """Lines that put gates together into a packed (BLOCK_B, P * BLOCK_H)."""
    levels = (len(values) - 1).bit_length()
    places = 1 << levels
    parts = dict(enumerate(values + [ZEROS] * (places - len(values))))
    lines = []
    for level in reversed(range(levels)):
        half = 1 << level
        for k in range(half):
            name = f"slots_{k}" if level else target
            lines.append(f"{name} = tl.join({parts[k]}, {parts[k + half]})")
            parts[k] = name
    return [
        *lines,
        f"{target} = tl.reshape({target}, (BLOCK_B, BLOCK_H // 8, 8, {places}))",
        f"{target} = tl.reshape(tl.permute({target}, (0, 1, 3, 2)), (BLOCK_B, {places} * BLOCK_H))",
    ]
