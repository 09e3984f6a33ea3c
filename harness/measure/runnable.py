"""Threads that want a core: those of some processes and of all below them, as Linux tells in /proc."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

PROC = Path("/proc")
RUNNABLE = "R"  # it has a core, or waits for one


def wanting(processes: Collection[int], proc: Path = PROC) -> int:
    """How many threads of these processes, and of all below them, run or wait for a core.

    0 where there is no /proc. It takes some milliseconds.
    """
    if not processes:
        return 0
    parents = {number: int(parent) for number, (_, parent) in _stats(proc)}
    return sum(
        state == RUNNABLE
        for number in parents
        if _is_below(number, processes, parents)
        for _, (state, _) in _stats(proc / str(number) / "task")
    )


def _is_below(number: int, processes: Collection[int], parents: dict[int, int]) -> bool:
    """Whether it is one of these processes, or descends from one."""
    while number not in processes:
        if number not in parents or parents[number] == number:
            return False
        number = parents[number]
    return True


def _stats(folder: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """(number, (state, parent)) of what has a `stat` in the folder; what has ended meanwhile is left out."""
    try:
        names = [path.name for path in folder.iterdir() if path.name.isdecimal()]
    except OSError:
        return
    for name in names:
        try:
            text = (folder / name / "stat").read_bytes()
        except OSError:
            continue
        # NUMBER (COMMAND) STATE PARENT ...: the command may hold anything, brackets too
        words = text.rpartition(b") ")[2].split()
        if len(words) > 1:
            yield int(name), (words[0].decode(), words[1].decode())
