"""Programs of an interpreted Triton kernel that wait for each other: all at once, a thread each.

Triton's interpreter runs programs one after the other, so that one which waits for another waits for ever.
Here one runs at a time too, but hands over at every access to memory, in an order drawn from a seed.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .clocks import Clocks
from .memory import NOBODY, Array, Fault, Memory

MOST_POLLS = 200  # looks at counters in a row, a program, after which nothing more will happen


class Ordered(Memory):
    """Barriers and atomics alone order what programs do; a race is told whatever the order it ran in."""

    def __init__(self, tensors: Mapping[str, Any], programs: int) -> None:
        super().__init__(tensors)
        self.clocks = Clocks(programs)
        self.read = {array.name: np.zeros((programs, array.count), np.int64) for array in self.arrays}
        self.polls = 0

    def load(self, program: int, pointers: np.ndarray, mask: np.ndarray) -> None:
        for array, at in self.elements("loads", pointers, mask):
            self._after_stores("loads", array, at, program)
            self.read[array.name][program, at] = self.clocks.now(program)

    def store(self, program: int, pointers: np.ndarray, mask: np.ndarray) -> None:
        self.polls = 0
        for array, at in self.elements("stores", pointers, mask):
            if len(np.unique(at)) < len(at):
                raise Fault(f"one line stores an element of {array.name} twice")
            self._after_stores("stores", array, at, program)
            self._after_loads(array, at, program)
            array.stored[0][at], array.stored[1][at] = program, self.clocks.now(program)

    def _after_stores(self, what: str, array: Array, at: np.ndarray, program: int) -> None:
        who, when = array.stored[0][at], array.stored[1][at]
        now = self.clocks.known[program]
        own = (who == program) & (when == now[program])
        others = (who != NOBODY) & (who != program) & (when > now[np.maximum(who, 0)])
        for wrong, reason in ((others, "another program stored"), (own, "it stored itself")):
            if wrong.any():
                element = at[np.flatnonzero(wrong)[0]]
                raise Fault(
                    f"race: program {program} {what} element {element} of {array.name}, which {reason},"
                    " and no barrier orders the two"
                )

    def _after_loads(self, array: Array, at: np.ndarray, program: int) -> None:
        when, now = self.read[array.name][:, at], self.clocks.known[program][:, None]
        late = when > now
        late[program] = when[program] == now[program]
        if late.any():
            reader, element = np.argwhere(late)[0]
            raise Fault(
                f"race: program {program} stores element {at[element]} of {array.name}, which program"
                f" {reader} loads, and no barrier orders the two"
            )

    def barrier(self, program: int) -> None:
        self.clocks.barrier(program)

    def atomic(self, program: int, pointer: int, order: str, changes: bool) -> None:
        if order in ("acquire", "acquire_release"):
            self.clocks.acquire(program, pointer)
        if order in ("release", "acquire_release"):
            self.clocks.release(program, pointer)
        self.polls = 0 if changes else self.polls + 1
        if self.polls > MOST_POLLS * len(self.clocks.known):
            raise Fault(f"deadlock: program {program} waits, and no program does anything else")


class Stop(BaseException):
    """Ends the other programs after a fault."""


class Programs:
    """Runs a function as many programs, one at a time; `turn` hands over to one of them."""

    def __init__(self, places: Sequence[tuple[int, ...]], seed: int) -> None:
        self.places, self.rng = places, random.Random(seed)
        self.mine = threading.local()
        self.wake = [threading.Semaphore(0) for _ in places]
        self.alive = list(range(len(places)))
        self.error: BaseException | None = None

    def run(self, function: Any, builder: Any) -> None:
        """Calls the function once for every program. Raises the first error of any."""
        self.builder = builder
        threads = [threading.Thread(target=self._one, args=(k, function)) for k in self.alive]
        for thread in threads:
            thread.start()
        self._hand_over()
        for thread in threads:
            thread.join()
        if self.error:
            raise self.error

    def turn(self) -> None:
        """The running program waits until it is chosen again."""
        me = self.mine.number
        if self._hand_over() != me:
            self._wait(me)

    def _wait(self, me: int) -> None:
        self.wake[me].acquire()
        if self.error:
            raise Stop
        self.builder.grid_idx = self.places[me]

    def _hand_over(self) -> int:
        chosen = self.rng.choice(self.alive)
        if chosen != getattr(self.mine, "number", None):
            self.wake[chosen].release()
        return chosen

    def _one(self, me: int, function: Any) -> None:
        self.mine.number = me
        try:
            self._wait(me)
            function()
        except Stop:
            pass
        except BaseException as error:  # of any kind: whoever started the programs is told
            self.error = self.error or error
        self.mine.number = None
        self.alive.remove(me)
        if self.alive:
            self._hand_over()


@contextmanager
def together(memory: Memory, seed: int = 0) -> Iterator[None]:
    """Has the interpreter run all programs of a kernel at once, with a turn at each access to the memory."""
    from triton.runtime import interpreter

    builder: Any = interpreter.interpreter_builder
    executor: Any = interpreter.GridExecutor
    call = executor.__call__

    def of_all(self: Any, *args: Any, **kwargs: Any) -> None:
        function, grid = self.fn, (*self.grid, *(1,) * (3 - len(self.grid)))

        def start(arguments: dict[str, Any]) -> None:
            programs = Programs(list(np.ndindex(*grid)), seed)
            builder.set_grid_dim(*grid)
            memory.turn = programs.turn  # type: ignore[method-assign]
            programs.run(lambda: function(**arguments), builder)

        # what the executor calls once, and looks at: a function of the same arguments among the same names
        names = ", ".join(self.arg_names)
        given = ", ".join(f"{name}={name}" for name in self.arg_names)
        stand_in = f"lambda {names}: start_of_all(dict({given}))"
        self.fn, self.grid = eval(stand_in, function.__globals__ | {"start_of_all": start}), (1,)
        call(self, *args, **kwargs)

    executor.__call__ = of_all
    try:
        yield
    finally:
        executor.__call__ = call
