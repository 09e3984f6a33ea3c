"""Printed Triton kernels in Triton's interpreter compute what the float64 reference does, gradients by name.

Odd sizes, buffers full of NaN, and faults in the printed text, which must be seen. A handful of cells here;
`nox -s kernels` takes all of them.
"""

import os
from pathlib import Path

import pytest
from support.comparison import CELLS, slack, tolerance
from support.interpreted import Case, errors_of

from cellbench import cells

pytest.importorskip("triton", reason="triton is not installed; it is in the extra test, on Linux")
OWN = Path(__file__).parents[1] / "support" / "kernel_cells.py"
ODD = OWN.with_name("odd_cells.py")
ONE_STEP, LONE = (1, 5, 7, 33), (5, 1, 3, 16)
HANDFUL = [
    Case("gru"),
    Case("lstm", "float32", LONE, block_b=1),
    Case("slstm:heads=3", "float64", ONE_STEP, packed=False),
    Case("cornn", "float32"),
    Case("fastgrnn", sizes=ONE_STEP),
    Case(f"{ODD}:Heads", "float32", (2, 5, 7, 34)),
    Case(f"{ODD}:Apart", sizes=ONE_STEP),
    Case(f"{OWN}:Divides"),
    Case(f"{OWN}:Names", sizes=LONE),
    Case(f"{OWN}:Places"),
]
WAYS = [
    ("float64", ONE_STEP, False),
    ("float64", (17, 5, 7, 33), True),
    ("float32", (17, 5, 7, 33), True),
]
EVERY = [
    Case(spec, dtype, sizes, packed)
    for spec in [*CELLS, *(f"{OWN}:{name}" for name in ("Divides", "Names", "Places"))]
    for dtype, sizes, packed in WAYS
    if not cells.get(spec).written_out
]
CASES = EVERY if os.environ.get("CELLBENCH_KERNELS") == "all" else HANDFUL
# what a kernel might get wrong, and in which arrays it must show
FAULTS = {
    "an unmasked state that is fed back": Case(
        f"{OWN}:Divides", fault=("prev_h = tl.where(ok, h, 0.0)", "prev_h = h"), sizes=(3, 5, 7, 33)
    ),
    "an unmasked cotangent": Case(
        f"{OWN}:Divides", fault=("tl.where(ok, v", "tl.where(ok | True, v"), sizes=(3, 5, 7, 33)
    ),
    "a row that is not stepped": Case("elman", fault=("all_h += one", "all_h += 0"), sizes=(3, 5, 7, 33)),
    "a sign": Case("elman", fault=("d_prev_h += pulled", "d_prev_h -= pulled"), sizes=(3, 5, 7, 33)),
}


@pytest.fixture(scope="module")
def results():
    return errors_of([*CASES, *FAULTS.values()])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_interpreted_kernel_is_the_float64_reference(case, results):
    errors, allowed = results[case], tolerance(case.dtype, case.sizes[0]) * slack(cells.get(case.spec))
    assert isinstance(errors, dict), errors
    wrong = {name: error for name, error in errors.items() if not error <= allowed}
    assert not wrong, f"allowed {allowed:.2g}"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_printed_text_shows(fault, results):
    errors = results[FAULTS[fault]]
    assert isinstance(errors, dict), errors
    assert any(not error <= 1e-3 for error in errors.values())
