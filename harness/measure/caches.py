"""The caches of a core, as Linux names them, and where the memory begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
MEMORY = "memory"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
BEYOND = 4  # times the last cache: what is read from so many bytes comes from memory
MOST_BYTES = 1 << 30  # that are allocated to measure the memory


@dataclass(frozen=True)
class Level:
    """A cache, or the memory: its name, how much fits, and how many bytes are read to measure it."""

    name: str
    fits: float
    read: int


def levels(folder: Path = FOLDER) -> list[Level]:
    """The data caches by size, then the memory; nothing where the system does not tell."""
    sizes = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and size[:-1].isdigit() and size[-1] in UNITS:
            sizes[f"L{level}"] = int(size[:-1]) * UNITS[size[-1]]
    caches = sorted(sizes.items(), key=lambda each: each[1])
    if not caches:
        return []
    # half of a cache, for the other half holds what else the machine does
    made = [Level(name, size, size // 2) for name, size in caches]
    return [*made, Level(MEMORY, float("inf"), min(BEYOND * caches[-1][1], MOST_BYTES))]
