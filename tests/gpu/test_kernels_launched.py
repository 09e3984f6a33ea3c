"""Kernels that Triton launches on a driver that is not there: its stream is worked off on the CPU.

Triton's own launcher binds and compiles; what reaches the driver is executed as PTX. So it shows that a
kernel started again, past that launcher, gets what Triton would have given it.
"""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from cellbench import cells
from cellbench.cells.backends.triton import TritonBackend, TritonProgram
from cellbench.cells.checking.kernels.problem import Sizes, computed, drawn
from cellbench.cells.checking.kernels.ptx.kernel import Kernel
from cellbench.cells.kernels.triton.form import STEPWISE, Form
from cellbench.cells.kernels.triton.resources import missing
from cellbench.cells.programs.tolerance import relative_errors

pytestmark = pytest.mark.skipif(
    missing() is not None, reason="triton is not installed; it is in the extra test, on Linux"
)
SIZES, STREAM = Sizes(4, 2, 3, 16), 7
STEPS = Form(False, 16, 1, STEPWISE, 8, 16)


class Driver:
    """One device of sm_90; a launch is queued."""

    def __init__(self):
        self.queue, self.utils = [], self

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return STREAM

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_device_properties(self, device):
        return {"max_shared_mem": 232_448}

    def load_binary(self, name, *others):
        return "module", name, 64, 0, 1024

    def launcher_cls(self, source, metadata):
        def launch(x, y, z, stream, function, packed, about, enter, leave, *arguments):
            self.queue.append(((x, y, z), stream, function, arguments))

        return launch


class QueuedProgram(TritonProgram):
    """Executes what its launches left in the queue."""

    def choose(self):
        return self.form

    def launch_one(self, *arguments, **constants):
        self.compiled = super().launch_one(*arguments, **constants)
        self.bound.append((arguments[0], arguments[2]))
        return self.compiled

    def launch(self, kernel, arrays, *each, **constants):
        super().launch(kernel, arrays, *each, **constants)
        queue, self.driver.queue = self.driver.queue, []
        self.launched.append([function for _, _, function, _ in queue])
        tensors = {array.data_ptr(): array for array in arrays.values()}
        kinds = self.compiled.src.signature.values()
        for grid, stream, _, arguments in queue:
            given = [v for v, kind in zip(arguments, kinds, strict=True) if kind != "constexpr"]
            assert stream == STREAM
            run = Kernel(self.compiled.asm["ptx"], self.compiled.metadata.shared)
            run(grid, *(tensors.get(v, v) if isinstance(v, int) else v for v in given))


@dataclass(frozen=True)
class Queued(TritonBackend):
    driver: Driver
    bound: list
    launched: list

    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def program(self, cell, *arguments):
        more = {"driver": self.driver, "bound": self.bound, "launched": self.launched}
        return QueuedProgram(cell, *arguments, form=STEPS, **more)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("triton")


@pytest.fixture
def queued(monkeypatch, cache):
    from triton.runtime import driver

    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    backend = Queued(Driver(), [], [])
    monkeypatch.setattr(driver, "_active", backend.driver)
    yield backend
    for kernel, _ in backend.bound:  # what they hold was made for this driver
        kernel.device_caches.clear()


def errors(backend):
    problem = drawn(cells.get("elman"), SIZES)
    expected = computed(problem, cells.backend("numpy"), "float64")
    return relative_errors(computed(problem, backend, "float32"), expected, SIZES.steps)


def test_steps_that_are_launches_are_the_float64_reference_and_triton_binds_the_first_of_each_kernel(queued):
    assert max(errors(queued).values()) < 2e-6
    # of the backward one more, with the products of the first step
    runs = [["forward"] * 4, ["backward"] * 4, ["backward"]]
    assert [run for run in queued.launched if run != runs[0]] == runs[1:] and runs[0] in queued.launched
    assert [n["begin"] for _, n in queued.bound if n["steps"]] == [0] * (len(queued.launched) - 1)


def test_a_launch_with_the_numbers_of_the_first_step_is_seen(queued, monkeypatch):
    launch = TritonProgram.launch

    def wrong(program, kernel, arrays, first, *more, **constants):
        return launch(program, kernel, arrays, first, *(replaced(m, first) for m in more), **constants)

    monkeypatch.setattr(TritonProgram, "launch", wrong)
    # what was not written may be anything, such as NaN
    assert any(not error < 0.1 for error in errors(queued).values())
    assert queued.launched[0] == ["forward"] * 4


def replaced(numbers, first):
    return numbers | {"begin": first["begin"]}
