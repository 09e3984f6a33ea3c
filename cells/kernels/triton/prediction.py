"""How long a run of a cell's kernels takes, on paper: from what the compiler says and a device's constants.

docs/gpu.md states the model. Each constant is read off a data sheet, or marked as an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...cell import GatedCell
from ...derived import layers
from ...programs.formats import FORMATS
from ...programs.prediction import Prediction
from ..step import Step, step
from .form import GRID, RESIDENT, SCAN, STEPWISE, Form, block_of
from .products import slots
from .remembered import remembered
from .resources import Chosen, Resources, choose, missing
from .spread import PARTS


@dataclass(frozen=True)
class Device:
    """A device's constants.

    mma      16-bit multiply-adds a cycle and multiprocessor, of mma.sync; an estimate for sm_90
    memory   bytes a second
    """

    target: str
    processors: int
    hertz: float
    mma: int
    memory: float


DEVICES = {
    "A100": Device("sm_80", 108, 1.41e9, 1024, 1.9e12),
    "H100": Device("sm_90", 132, 1.83e9, 1280, 3.3e12),
    "H200": Device("sm_90", 132, 1.98e9, 1280, 4.8e12),
}
ASSUMED = "H100"  # where there is no device
FMA = 128  # float32 multiply-adds a cycle and multiprocessor
ISSUED = 4  # instructions of warps, a cycle and multiprocessor
SHARED, L2 = 128, 64  # bytes a cycle and multiprocessor
# cycles: of a barrier, a read of shared memory, a dependent mma, the pointwise part's chain; estimates
BARRIER, READ, MMA, POINTWISE = 35, 30, 18, 150
LAUNCH_S = 2e-6  # an estimate
BETWEEN_S = {
    RESIDENT: 0.0,
    SCAN: 0.0,
    GRID: 1.6e-6,
    STEPWISE: LAUNCH_S,
}  # from a step to the next; an estimate
LAUNCHES = {"forward": 3, "backward": 9}  # of a layer's run, with the products outside


@dataclass(frozen=True)
class StepTime:
    """Cycles of a step by what they go to."""

    busy: dict[str, float]  # of these the largest counts: they overlap
    chain: float  # waits that nothing overlaps

    @property
    def cycles(self) -> float:
        return max(self.busy.values()) + self.chain

    @property
    def bound(self) -> str:
        """What most of it goes to."""
        terms = {**self.busy, "chain": self.chain}
        return max(terms, key=lambda name: terms[name])


def predict(
    cell: GatedCell,
    *,
    steps: int,
    batch: int,
    input_size: int,
    hidden_size: int,
    dtype: str,
    direction: str,
    device: str | None = None,
    processors: int | None = None,
) -> Prediction:
    """Seconds of a run of a cell with kernels, on a device by its name; on an H100 where that is None.

    processors are the device's multiprocessors where they are not those of its constants.
    """
    if reason := missing():
        return Prediction(math.nan, reason)
    name = ASSUMED if device is None else next((n for n in DEVICES if n in device), None)
    if name is None:
        return Prediction(math.nan, f"there are constants of {', '.join(DEVICES)}, and none of {device}")
    on = replace(DEVICES[name], processors=processors or DEVICES[name].processors)
    single = layers.single(cell)
    units = single.units(hidden_size)
    chosen = choose(single, units, batch, dtype, on.target, remembered, on.processors)
    if chosen.form is None:
        return Prediction(math.nan, f"no kernel fits {on.target}: {chosen}")
    whole = [kernel_s(on, single, units, batch, dtype, chosen, way) for way in ways(direction)]
    seconds = 0.0
    for layer in layers.of(cell, input_size, hidden_size):
        seconds += sum(steps * step_s for step_s, _ in whole) + LAUNCH_S * LAUNCHES[direction]
        seconds += products_s(on, single, steps * batch, layer.input_size, units, dtype, direction)
    _, bound = max(whole)
    assumed = ", as no device is here" if device is None else ""
    return Prediction(seconds, f"of an {name}{assumed}, bound by {bound}; form: {chosen}")


def ways(direction: str) -> tuple[str, ...]:
    """The kernels of a run."""
    return ("forward",) if direction == "forward" else ("forward", "backward")


def kernel_s(
    on: Device, cell: GatedCell, units: int, batch: int, dtype: str, chosen: Chosen, way: str
) -> tuple[float, str]:
    """Seconds of a step of a kernel, all programs, and its bound. Programs beyond the processors wait."""
    assert chosen.form is not None
    programs = math.prod(chosen.form.grid(cell, units, batch))
    time = step_time(on, cell, units, dtype, chosen.form, chosen.kernels[way], way)
    seconds = time.cycles / on.hertz * math.ceil(programs / on.processors)
    if not cell.recurrent:
        return seconds, time.bound
    between = BETWEEN_S[chosen.form.kind]
    return seconds + between, chosen.form.kind if between > seconds else time.bound


def step_time(
    on: Device, cell: GatedCell, units: int, dtype: str, form: Form, taken: Resources, way: str
) -> StepTime:
    """Of one program. A scan's loop goes through several steps at once, and reads their inputs twice."""
    whole, size = block_of(cell, units), FORMATS[dtype].size
    block = form.block_h or whole
    gates = (slots(cell) if form.together else len(cell.recurrent)) if cell.recurrent else 0
    entries = gates * whole * block * len(cell.fed_back)
    depth = whole if way == "forward" else whole * gates
    thrice = 3 if dtype == "float32" else 1  # a float32 product is three of tf32
    tiles = -(-whole // form.block_k) if form.kind == STEPWISE else 1  # whose text is counted once
    exchanged = depth * form.block_b * size if form.spread else 0  # what other programs left
    at_once = form.block_k if form.kind == SCAN and way == "forward" else 1
    numbers = moved(cell, step(cell), way) + (len(cell.gates) if at_once > 1 else 0)
    streamed = entries * size if form.kind == STEPWISE else 0
    busy = {
        "issue": taken.instructions * tiles * form.warps / ISSUED / at_once,
        "weights": streamed / L2 if streamed else form.weight_bytes(cell, units, dtype) / SHARED,
        "mma": entries * max(16, form.block_b) / on.mma * size / 2 * thrice,  # tf32 has half the rate
        "global": (numbers * block * form.block_b * size + exchanged) / L2,
    }
    in_turn = depth / (PARTS if form.parted else 1)  # of the products of a warp
    products = in_turn / (32 / size) * MMA * thrice if gates else 0.0
    chain = taken.barriers * tiles * BARRIER + 2 * READ + products + POINTWISE
    return StepTime(busy, chain / at_once)


def moved(cell: GatedCell, source: Step, way: str) -> int:
    """Numbers of a unit that a step reads or writes."""
    kept, states = len(source.keeps), len(cell.states)
    if way == "forward":
        return len(cell.gates) + kept + states
    apart = 0 if set(source.summed) >= set(cell.recurrent) else len(cell.recurrent)
    return kept + states + 1 + len(cell.gates) + apart


def products_s(
    on: Device, cell: GatedCell, rows: int, input_size: int, units: int, dtype: str, direction: str
) -> float:
    """Seconds of the products outside of the kernels, each at the larger of arithmetic and memory."""
    wide, recurrent = len(cell.gates) * units, len(cell.recurrent) * units // cell.heads
    shapes = [(rows, input_size, wide)]
    if direction == "backward":
        shapes += [(rows, wide, input_size), (input_size, rows, wide)]
        shapes += [(units, rows, recurrent)] if recurrent else []
    size = FORMATS[dtype].size
    rate = (on.mma * 2 / size if FORMATS[dtype].narrow else FMA) * on.processors * on.hertz
    return sum(max(m * k * n / rate, size * (m * k + k * n + m * n) / on.memory) for m, k, n in shapes)
