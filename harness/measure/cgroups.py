"""The control groups of this process. A limit counts in its own group and in each above it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # the groups of this process, a line each: NUMBER:CONTROLLERS:PATH


def folders(root: Path, own: Path, controllers: str = "") -> list[Path]:
    """The group's folder below the root, those above it, and the root; that alone where no group is known.

    Version 2 of control groups has one group, without the name of a controller. In a container the path may
    be that of the machine outside; the container's own group is then the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    paths = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    group = Path(paths.get(controllers, "").lstrip("/"))
    return [root / folder for folder in (group, *group.parents)]
