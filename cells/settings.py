"""Settings that a process has once: remembered before a person's code runs, and put back without a word.

A file may set them for itself. What is measured after it would be measured with them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

THREADS = re.compile(r"[1-9][0-9]{0,3}")  # as many as some machine has


@dataclass(frozen=True)
class Setting:
    """One setting, as a module reads and sets it; `new` tells that of a new process, or None."""

    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    new: Callable[[], Any] = lambda: None


def values() -> dict[str, Any]:
    """The settings of the modules that are loaded, by name."""
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        module = sys.modules.get(setting.module)
        with suppress(AttributeError):  # of a module that is still being imported
            found |= {name: setting.read(module)} if module else {}
    return found


def put_back(before: dict[str, Any]) -> None:
    """Sets what is another now. A module that was loaded meanwhile gets what it has in a new process."""
    for name, now in values().items():
        setting = SETTINGS[name]
        value = before[name] if name in before else setting.new()
        if value is not None and now != value:
            setting.write(sys.modules[setting.module], value)


def _umask(module: Any) -> int:
    mask = module.umask(0o077)  # it cannot be read without being set
    module.umask(mask)
    return mask


def _threads() -> int | None:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if THREADS.fullmatch(text) else None


# torch's own dtype, device and gradients are not here: no backend goes by them, and the file's functions may
SETTINGS = {
    "how deep calls go": Setting(
        "sys",
        lambda m: m.getrecursionlimit(),
        lambda m, v: m.setrecursionlimit(max(v, m.getrecursionlimit())),  # more is what a deep graph needs
    ),
    "how long a thread goes on": Setting(
        "sys", lambda m: m.getswitchinterval(), lambda m, v: m.setswitchinterval(v)
    ),
    "held back signals": Setting(
        "signal",
        lambda m: m.pthread_sigmask(m.SIG_BLOCK, ()),
        lambda m, v: m.pthread_sigmask(m.SIG_SETMASK, v),
    ),
    "the collector": Setting("gc", lambda m: m.isenabled(), lambda m, v: m.enable() if v else m.disable()),
    "rights of new files": Setting("os", _umask, lambda m, v: m.umask(v)),
    "arithmetic": Setting("numpy", lambda m: m.geterr(), lambda m, v: m.seterr(**v)),
    "threads": Setting("torch", lambda m: m.get_num_threads(), lambda m, v: m.set_num_threads(v), _threads),
    "anomalies": Setting(
        "torch",
        lambda m: m.is_anomaly_enabled(),
        lambda m, v: m.autograd.set_detect_anomaly(v),
        lambda: False,
    ),
}
