"""Runs a function in a fresh process, so that a crash, a hang or exhausted memory takes nothing along."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from cellbench.cells.foreign import message_of

from . import forked, keeper

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# float32 means float32 on CUDA too, as on the CPU: without this cuDNN may compute in TF32
PRECISION = {"NVIDIA_TF32_OVERRIDE": "0"}
ENVIRONMENT = threading.RLock()  # held while the environment is not this process's own
END_S = keeper.PATIENCE_S + 1  # in which a process that was told to end has ended
SOON_S = 0.5  # in which a signal that ends all processes of a job has reached this one too
UNFIT = "unfit"  # of a forked process that is not as a spawned one would be
Emit = Callable[[Any], None]


@dataclass(frozen=True)
class Result:
    """How a worker ended: ok with its value; failed, crashed, timed_out or out_of_memory with a reason."""

    status: str
    reason: str | None = None
    value: Any = None


def call(
    function: Callable[..., Any],
    *args: Any,
    on_message: Emit = lambda message: None,
    threads: int = 1,
    timeout_s: float | None = None,
    limit_memory: bool = True,
    imported: Sequence[str] = (),
) -> Result:
    """Runs function(emit, *args) in a fresh process; its messages go to on_message at once.

    Threads of BLAS, OpenMP and Numba are limited from the start. With `limit_memory` the process may map no
    more than is available now, so that too large an allocation raises there instead of ending in the kernel's
    hands. timeout_s is the longest silence: every message starts it anew. With `imported`, modules that the
    function needs, the process is forked from one that has them already (see forked.py); else it is spawned.
    """
    attempt = partial(_call, function, args, on_message, threads, timeout_s, limit_memory)
    if imported and threads == 1:
        result = attempt(imported)
        if result.status != UNFIT:
            return result
    return attempt(())


def _call(
    function: Callable[..., Any],
    args: tuple,
    on_message: Emit,
    threads: int,
    timeout_s: float | None,
    limit_memory: bool,
    imported: Sequence[str],
) -> Result:
    spawning = multiprocessing.get_context("spawn")
    context: SpawnContext | ForkServerContext = forked.context(imported) if imported else spawning
    receiving, sending = context.Pipe(duplex=False)
    limit = _memory() if limit_memory else None
    with limited(threads), _interrupts_held_back():
        forking = forked.Surroundings.here() if imported else None
        work = (sending, forking, limit, function, args)
        process = context.Process(target=_enter, args=work, daemon=True)
        try:
            with _start_method():
                process.start()
        except (OSError, EOFError) as error:
            if not imported:
                raise
            receiving.close()
            sending.close()
            return Result(UNFIT, f"the fork server has ended: {error}")
    sending.close()
    # a message is read in a thread of its own: half of one, and then silence, must not hold up this one
    messages: SimpleQueue[bytes | None] = SimpleQueue()
    reader = threading.Thread(target=_read, args=(receiving, messages), daemon=True)
    reader.start()
    try:
        return _listen(process, messages, on_message, timeout_s)
    finally:
        _end(process)
        reader.join(END_S)
        receiving.close()


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


@dataclass(frozen=True)
class Done:
    """What a program wrote, and its exit code; None where it was ended for taking too long."""

    stdout: bytes
    stderr: bytes
    returncode: int | None


def run(
    command: Sequence[str],
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Done:
    """Runs a program to its end, under a keeper: it and what it starts do not outlive this process.

    `given` is its standard input, `variables` are set in its environment. Raises OSError where it cannot be
    started.
    """
    result = call(_program, list(command), given, dict(variables or {}), timeout_s, limit_memory=False)
    if result.status != "ok":
        return Done(b"", f"error: {result.reason}".encode(), 1)
    if isinstance(result.value, OSError):
        raise result.value
    return result.value


def _program(
    emit: Emit, command: list[str], given: bytes, variables: dict[str, str], timeout_s: float | None
) -> Done | OSError:
    """Runs in the worker."""
    environment = {name: value for name, value in os.environ.items() if name not in limits(1)} | variables
    try:
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        return Done(late.stdout or b"", late.stderr or b"", None)
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename)
    return Done(done.stdout, done.stderr, done.returncode)


def _read(receiving: Connection, messages: SimpleQueue[bytes | None]) -> None:
    """Hands on messages until the process has ended, then None."""
    try:
        while True:
            messages.put(receiving.recv_bytes())
    except (EOFError, OSError):  # OSError: killed while it was sending
        messages.put(None)


def _listen(
    process: BaseProcess, messages: SimpleQueue[bytes | None], on_message: Emit, timeout_s: float | None
) -> Result:
    while True:
        try:
            message = messages.get(timeout=timeout_s)
        except Empty:
            return Result(
                "timed_out", f"nothing came for {timeout_s:g} s; case_timeout_s=SECONDS allows more"
            )
        if message is None:
            process.join(END_S)
            time.sleep(SOON_S)  # one that ends the command is raised here, and no crash of the case
            return _ended(process.exitcode)
        try:
            kind, content = pickle.loads(message)
        except (Exception, SystemExit) as error:  # whatever a user's own objects raise when they are read
            return Result("failed", f"what the process sent cannot be read: {describe(error)}")
        if kind == "message":
            on_message(content)
        elif kind == "value":
            return Result("ok", value=content)
        else:
            return Result(kind, content)


def _memory() -> int | None:
    """Bytes that a process may map: what is free now, and what libraries map without using it."""
    try:
        return psutil.virtual_memory().available + (4 << 30)
    except (OSError, RuntimeError, KeyError):  # there is no /proc
        return None


def _ended(code: int | None) -> Result:
    if code == -signal.SIGKILL:
        return Result(
            "crashed", "killed by SIGKILL from outside, most likely by the kernel for lack of memory"
        )
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return Result("crashed", f"the process ended without a result: {name}")


def _end(process: BaseProcess) -> None:
    """Ends the work by its keeper, which ends what the work started too."""
    if process.is_alive():
        process.terminate()
        process.join(2 * END_S)
    if process.is_alive():
        process.kill()
    process.join()
    process.close()


def limits(threads: int) -> dict[str, str]:
    """The variables by which the libraries of a child take so many threads, and full precision."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | PRECISION


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Has these limits in the environment while children are started: libraries read them when they load.

    They are taken back at the end: Numba reads its own again, and refuses a change, whenever it compiles. One
    thread at a time may hold them, or one that starts in between would take those of the other for its own.
    """
    with ENVIRONMENT:
        new = limits(threads)
        old = {k: os.environ.get(k) for k in new}
        os.environ.update(new)
        try:
            yield
        finally:
            for key, value in old.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


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
    return f"{type(error).__name__}: {text[:400]}{place}"
