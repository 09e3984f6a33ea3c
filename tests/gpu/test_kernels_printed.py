"""The text of Triton kernels: whole, readable without Triton, and with nothing in it that is not used."""

import ast
import builtins

import pytest
from support.comparison import CELLS

from cellbench import cells
from cellbench.cells.kernels.triton.form import scans
from cellbench.cells.kernels.triton.printer import Layout, text, with_ties_once, without
from cellbench.cells.kernels.triton.source import functions
from cellbench.cells.vocabulary.primitives import VOCABULARY

pytestmark = pytest.mark.quick
PRINTABLE = [c for c in CELLS if not (cells.get(c).written_out or without(cells.get(c)))]


def kernels(spec, **options):
    """The functions of the printed module by name, and the names of its top."""
    tree = ast.parse(text(cells.get(spec), **options))
    top = {a.asname or a.name.split(".")[0] for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    top |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
    found = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    return found, top | set(found)


LAYOUTS = {
    "packed": Layout(),
    "plain": Layout(packed=False),
    "tiled": Layout(spread=True),
    "held": Layout(spread=True, pieces=2, pulled=3),
    "shared out": Layout(spread=True, pieces=1, pulled=1, part=16, pulled_part=32),
    "scanned": Layout(scanned=True),
}


@pytest.mark.parametrize(
    ("spec", "layout"),
    [(c, name) for c in PRINTABLE for name in LAYOUTS if name != "scanned" or scans(cells.get(c))],
)
def test_no_name_in_a_kernel_is_undefined_and_no_array_unused(spec, layout):
    found, top = kernels(spec, layout=LAYOUTS[layout])
    for name in ("forward", "backward"):
        nodes = list(ast.walk(found[name]))
        given = {a.arg for a in found[name].args.args}
        stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert not read - given - stored - top - set(dir(builtins))
        # a pointer that steps on is stored and not always read
        optional = {"PRECISION", "DOT", "BLOCK_K", "ENDING", "KEEPING", "total"}  # of some cells
        assert not {a for a in given - read if not a.startswith("all_")} - optional


@pytest.mark.parametrize("spec", PRINTABLE)
def test_a_kernel_calls_every_function_that_it_brings(spec):
    found, _ = kernels(spec)
    called = {n.id for f in found.values() for n in ast.walk(f) if isinstance(n, ast.Name)}
    assert set(found) - called == {"forward", "backward"}


def test_the_whole_vocabulary_can_be_printed():
    assert set(VOCABULARY) <= set(functions("float32", "pointwise"))
    assert set(functions("float32")) == set(functions("float64"))


def test_a_text_that_was_printed_before_is_printed_again():
    assert text(cells.get("gru")) == text(cells.get("gru")) != text(cells.get("gru"), "float64")


def test_a_tie_the_other_way_round_is_one_minus_the_tie():
    """The backward of a maximum has both: their values are those of the plain lines, at ties too."""
    lines = ["x = g * tie(a, b)", "y = g * tie(b, a) + tie(a, b)", "z = tie(b, c) * tie(a, a)"]
    once = with_ties_once(lines)
    assert once == ["x = g * tie(a, b)", "y = g * (1.0 - tie(a, b)) + tie(a, b)", "z = tie(b, c) * tie(a, a)"]
    values = {"tie": VOCABULARY["tie"].numpy, "g": 3.0, "c": 0.5}
    for a, b in ((1.0, 2.0), (2.0, 1.0), (1.0, 1.0)):
        plain, short = ({**values, "a": a, "b": b} for _ in range(2))
        exec("\n".join(lines), plain)
        exec("\n".join(once), short)
        assert [plain[name] for name in "xyz"] == [short[name] for name in "xyz"]
    assert "1.0 - tie(keep_log_f, keep_log_i)" in text(cells.get("slstm"))


def test_gates_are_packed_only_where_there_are_several():
    def products(spec, packed):
        found, _ = kernels(spec, layout=Layout(packed))
        return ast.unparse(found["forward"]).count("tl.dot(")

    assert [products("lstm", packed) for packed in (True, False)] == [1, 4]
    assert [products("elman", packed) for packed in (True, False)] == [1, 1]
    assert [products("cornn", packed) for packed in (True, False)] == [2, 2]
    assert products("indrnn", True) == 0


@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_places_of_a_launch_a_step_have_64_bits(kernel):
    found, _ = kernels("lstm", layout=LAYOUTS["tiled"])
    lines = ast.unparse(found[kernel]).splitlines()
    of = {name: [line for line in lines if line.strip().startswith(f"{name} = ")] for name in "buk"}
    assert all(found and all("tl.int64" in line for line in found) for found in of.values())
