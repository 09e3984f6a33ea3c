"""A process that was started for one function: what it sends, how it ended, and its end from outside."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from cellbench.cells.foreign import message_of

from . import forked, keeper
from .limits import limited

END_S = keeper.PATIENCE_S + 1  # in which a process that was told to end has ended
SOON_S = 0.5  # in which a signal that ends all processes of a job has reached this one too
UNFIT = "unfit"  # of a forked process that is not as a spawned one would be


@dataclass(frozen=True)
class Result:
    """How a worker ended: ok with its value; failed, crashed, timed_out or out_of_memory with a reason."""

    status: str
    reason: str | None = None
    value: Any = None


@dataclass(frozen=True)
class Message:
    """A message of the function's own."""

    content: Any


def begin_server(imported: Sequence[str]) -> None:
    """Starts the process that others are forked from, unless it runs; it imports while this one goes on."""
    with limited(1), _interrupts_held_back(), _start_method():
        forked.begin(imported)


class Started:
    """A process that runs function(emit, *args), and whose messages come into a queue as (this, bytes).

    None in the bytes' place says that the process has ended. With `imported` it is forked from one that has
    these modules, else spawned.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple,
        queue: SimpleQueue[tuple[Started, bytes | None]],
        threads: int = 1,
        limit_memory: bool = True,
        imported: Sequence[str] = (),
    ) -> None:
        spawning = multiprocessing.get_context("spawn")
        context: SpawnContext | ForkServerContext = forked.context(imported) if imported else spawning
        self._receiving, sending = context.Pipe(duplex=False)
        limit = _memory() if limit_memory else None
        self.unfit: Result | None = None
        self._forked = bool(imported)
        with limited(threads), _interrupts_held_back():
            forking = forked.Surroundings.here() if imported else None
            work = (sending, forking, limit, function, args)
            self._process: BaseProcess = context.Process(target=_enter, args=work, daemon=True)
            try:
                with _start_method():
                    self._process.start()
            except (OSError, EOFError) as error:
                if not imported:
                    raise
                self.unfit = Result(UNFIT, f"the fork server has ended: {error}")
        sending.close()
        # a message is read in a thread of its own: half of one, and then silence, must hold up nobody
        self.queue = queue
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Hands on messages until the process has ended, then None."""
        try:
            while True:
                message = self._receiving.recv_bytes()
                self.queue.put((self, message))
        except (EOFError, OSError):  # OSError: killed while it was sending
            self.queue.put((self, None))

    def told(self, message: bytes | None) -> Message | Result:
        """What came into the queue: a message of the function, or how the process has ended."""
        if self.unfit:
            return self.unfit
        if message is None:
            self._process.join(END_S)
            time.sleep(SOON_S)  # one that ends the command is raised here, and no crash of the case
            return _ended(self._process.exitcode)
        try:
            kind, content = pickle.loads(message)
        except (Exception, SystemExit) as error:  # whatever a user's own objects raise when they are read
            return Result("failed", f"what the process sent cannot be read: {describe(error)}")
        if self._forked and kind != UNFIT:
            forked.answered()
        if kind == "message":
            return Message(content)
        return Result("ok", value=content) if kind == "value" else Result(kind, content)

    def end(self) -> None:
        """Ends the work by its keeper, which ends what the work started too."""
        if self.unfit:
            self._process.close()
        else:
            self._end()
        self._reader.join(END_S)
        self._receiving.close()

    def _end(self) -> None:
        process = self._process
        if process.is_alive():
            process.terminate()
            process.join(2 * END_S)
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


@contextmanager
def _start_method() -> Iterator[None]:
    """Has the default start method be one of Python's: a child reads its name, and knows no other.

    A process that a library started, such as joblib's, may have one of that library's own.
    """
    before = multiprocessing.get_start_method(allow_none=True)
    if before is None or before in multiprocessing.get_all_start_methods():
        yield
        return
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _memory() -> int | None:
    """Bytes that a process may map: what is free now, and what libraries map without using it."""
    available = _available()
    return None if available is None else available + (4 << 30)


def _available() -> int | None:
    try:
        return psutil.virtual_memory().available
    except (OSError, RuntimeError, KeyError):  # there is no /proc
        return None


def _ended(code: int | None) -> Result:
    if code == -signal.SIGKILL:
        return Result(
            "crashed", "killed by SIGKILL from outside, most likely by the kernel for lack of memory"
        )
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return Result("crashed", f"the process ended without a result: {name}")


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Blocks Ctrl-C for the children started meanwhile, from their first instruction: it is the parent's.

    So are SIGUSR1 and SIGUSR2, by which schedulers tell every process of a job that it will be ended.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    resource_tracker.ensure_running()  # started by the first child instead, it would let Ctrl-C through again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _enter(
    sending: Connection,
    forking: forked.Surroundings | None,
    limit: int | None,
    function: Callable[..., Any],
    args: tuple,
) -> None:
    command = multiprocessing.parent_process()
    parent = command.pid if command else None
    if forking:
        try:
            parent = forked.server(forking)
        except forked.Unfit as reason:
            sending.send((UNFIT, str(reason)))
            return
    keeper.stay_behind(parent, sending.fileno())
    # Where memory runs out, the kernel ends this process and not the one that keeps the results.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if limit is not None:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        value = function(lambda message: sending.send(("message", message)), *args)
        sending.send(("value", value))
    except BaseException as error:  # a person's code may raise SystemExit too
        sending.send((kind(error), describe(error)))


def kind(error: BaseException) -> str:
    """The status of a case that ended in an exception."""
    message = message_of(error)
    memory = (
        isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message
    )
    return "out_of_memory" if memory else "failed"


def describe(error: BaseException) -> str:
    """One line: type, message, and the place that raised it, or what it was raised from."""
    first: BaseException = error
    while first.__cause__ is not None and first.__cause__.__traceback__:
        first = first.__cause__
    frames = traceback.extract_tb(first.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""  # noqa: PTH119
    text = " ".join(message_of(error).split())
    return f"{type(error).__name__}: {text[:400]}{place}{_room(error)}"


def _room(error: BaseException) -> str:
    """How much memory there is where it did not suffice, and the next step; CUDA's message says it itself."""
    available = _available()
    if kind(error) != "out_of_memory" or available is None or "CUDA" in message_of(error):
        return ""
    return f"; {available / 2**30:.3g} GiB are available here: choose smaller sizes"
