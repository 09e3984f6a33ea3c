"""JAX: the recorded step inside lax.scan, compiled by XLA on the CPU; jax.vjp gives the backward.

Where JAX has not begun to compute yet, it gets one thread, unless OMP_NUM_THREADS says more, and computes in
the thread that calls it. `implementation` says whether other threads took part.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from time import process_time, thread_time
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Arrays
from ..exchange.optional import NotInstalled, package
from ..programs.backend import Backend, without_equations
from ..programs.program import Gradients, Program
from . import _jax_step

ALONE = 0.9  # share of the processor time from which on the calling thread counts as the only one
WINDOWS, WINDOW_S = 3, 0.02  # processor time over which that is measured, at most so often
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@dataclass(frozen=True)
class JaxBackend(Backend):
    """JAX on the CPU (extra `peers`)."""

    def unavailable(self, device: str = "cpu") -> str | None:
        if reason := super().unavailable(device):
            return reason
        try:
            started()
        except NotInstalled as error:
            return str(error)
        except ImportError as error:
            return f"jax cannot be imported: {error}"
        return None

    def unsupported(
        self, cell: GatedCell, dtype: str = "float32", device: str = "cpu", direction: str = "backward"
    ) -> str | None:
        if reason := without_equations(cell, "backend jax computes recorded equations"):
            return reason
        reason = super().unsupported(cell, dtype, device, direction)
        return reason or (None if cell.library else untraced(cell))

    def program(self, cell: GatedCell, *arguments: Any) -> Program:
        return JaxProgram(cell, *arguments)


@lru_cache(maxsize=1)
def started() -> Any:
    """The package, told its threads; what has computed already keeps those that it has."""
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        os.environ["XLA_FLAGS"] = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), ONE_THREAD]))
    jax = package("jax", "peers")
    jax.config.update("jax_platforms", jax.config.jax_platforms or "cpu")
    # else a thread of JAX's own computes, and the clock of the calling one cannot leave out its waits
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax


@lru_cache(maxsize=256)
def untraced(cell: GatedCell) -> str | None:
    """Why JAX cannot trace what the cell writes around its equations, or None."""
    own = [name for name in ("project", "emit", "effective") if cell.writes(name)]
    try:
        jax = started()
    except (ImportError, NotInstalled):
        return None
    if not own:
        return None
    sizes = next(((i, h) for h in range(4, 20) for i in (3, h) if cell.unfit(i, h) is None), None)
    if sizes is None:
        return None
    params = {name: np.zeros(shape, np.float32) for name, shape in cell.parameter_shapes(*sizes).items()}
    state = {name: np.zeros(shape, np.float32) for name, shape in cell.state_shapes(1, sizes[1]).items()}
    try:
        with jax.enable_x64(True):  # or a constant in float64 is cut, with a warning
            x = np.zeros((2, 1, sizes[0]), np.float32)
            jax.eval_shape(partial(_jax_step.run, cell), params, x, state)
    except (TypeError, ValueError, AttributeError, NotImplementedError, jax.errors.JAXTypeError):
        return (
            f"cell {cell.name!r} writes {' and '.join(own)} itself, in functions that JAX cannot trace; numba"
            " and torch have it"
        )
    return None


class JaxProgram(Program):
    """Compiled forward, and forward and backward together, of one shape."""

    def setup(self) -> None:
        jax = started()
        self.jax, self.wide = jax, self.dtype == "float64"
        forward = partial(_jax_step.run, self.cell)

        def both(primals: tuple[Any, ...], cotangents: Any) -> tuple[Any, Any]:
            results, pull = jax.vjp(forward, *primals)
            return results, pull(cotangents)

        self.compiled, self.together = jax.jit(forward), jax.jit(both)
        self.split = jax.jit(lambda *primals: jax.vjp(forward, *primals))
        self.pull = jax.jit(lambda pull, cotangents: pull(cotangents))
        self.checked = False

    def numbers(self) -> AbstractContextManager[Any]:
        """JAX computes in float32, unless it is told otherwise."""
        return self.jax.enable_x64(True) if self.wide else nullcontext()

    def assign(self, params: Arrays) -> None:
        self.params = self.on_device({name: self.place(value) for name, value in params.items()})
        self.primals: tuple[Any, ...] = ()
        self.read_x = self.read_d = None
        if not self.checked:
            self.implementation = f"jax {self.jax.__version__} lax.scan, threads: {self.counted()}"
            self.checked = True

    def counted(self) -> str:
        """Compiles, and says whether the calling thread alone computes."""
        self.load(np.zeros((self.steps, self.batch, self.input_size)))
        self.run()
        self.sync()
        for _ in range(WINDOWS):  # threads that compiled may still be busy in the first
            start, own = process_time(), thread_time()
            while process_time() - start < WINDOW_S:
                self.run()
                self.sync()
            if thread_time() - own > ALONE * (process_time() - start):
                return "1"
        return "several"

    def untraceable(self) -> str | None:
        return "backend jax has no trajectory: a scan keeps its states; numpy, numba and torch have one"

    def on_device(self, arrays: Any) -> Any:
        with self.numbers():
            return self.jax.tree.map(self.jax.numpy.asarray, arrays)

    def bind(self) -> None:
        """Takes over what was loaded since the last run; a timed run finds nothing new."""
        self.bind_inputs()
        if self.direction == "backward" and self.read_d is not self._d_output:
            self.read_d = self._d_output
            self.cotangents = self.on_device((self._d_output, self._d_state))

    def bind_inputs(self) -> None:
        if self.read_x is not self._x:
            self.read_x = self._x
            self.primals = (self.params, *self.on_device((self._x, self._state)))

    def run(self) -> None:
        self.bind()
        with self.numbers():
            if self.direction == "backward":
                (self.output, self.last), d = self.together(self.primals, self.cotangents)
                self.gradients = Gradients(*d)
            else:
                self.output, self.last = self.compiled(*self.primals)
        self.ran, self.pulled = True, None
        self.count += 1

    def run_forward(self) -> None:
        """The forward alone, to NumPy arrays, with which a stack goes on."""
        self.bind_inputs()
        with self.numbers():
            if self.direction == "backward":
                results, self.pulled = self.split(*self.primals)
            else:
                results = self.compiled(*self.primals)
        self.output, self.last = self.jax.tree.map(np.asarray, results)

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        if self.pulled is None:  # the last run did both at once, and kept nothing
            self.run_forward()
        self.bind()
        with self.numbers():
            d = self.pull(self.pulled, self.cotangents)
        self.gradients = Gradients(*self.jax.tree.map(np.asarray, d))

    def sync(self) -> None:
        self.jax.block_until_ready((self.output, self.last))
        if self.direction == "backward" and hasattr(self, "gradients"):
            self.jax.block_until_ready((self.gradients.params, self.gradients.x, self.gradients.state))
