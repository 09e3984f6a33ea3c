"""What a manifest must be: the kinds and bounds of its entries, checked before it is written or believed."""

from __future__ import annotations

import json
import re
from typing import Any

MANIFEST, BLOCKS, TABLE = "manifest.json", "cases.jsonl", "cases.parquet"  # of a run's folder
KEPT = "kept"  # a folder there, of what cases that have not ended go on from
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,119}")
MOST = 10_000  # characters of a text
MOST_ENTRIES = 1000  # of a table; each is a row of a page
MOST_VALUES = 1_000_000  # of a configuration, in all its lists
UNSEALED = ("seal", "table")  # what is added when the rest is known
PURPOSE = "run"
PLAIN = (str, int, float, bool, type(None))
# entries that every version may leave out, and what each holds by name: texts, plain values or either's lists
TEXTS = ("created", "title", "seal", "table")
TABLES = {"git": PLAIN, "versions": (str, type(None)), "machine": PLAIN, "machine_key": (*PLAIN, list)}
TABLES |= {"code": (str,), "again": (str, int, list)}
COMMITS = ("commit", "id")


def check(manifest: dict[str, Any]) -> None:
    """Raises ValueError, which names the entry, for one that is of another kind than it must be."""
    run = manifest.get("run")
    if not isinstance(run, str):
        raise ValueError("it names no run")
    if not RUN_NAME.fullmatch(run):
        raise ValueError(f"its run is called {run!r:.60}; a name has letters, digits, '_', '-', '.' and '+'")
    for name in TEXTS:
        _text(name, manifest.get(name))
    command = manifest.get("command")
    for word in command if isinstance(command, list) else [command]:
        _text("command", word)
    for name in ("config", "asked"):
        if not isinstance(manifest.get(name, {}), dict):
            raise ValueError(f"its {name} is {manifest[name]!r:.60}, and no table")
        if (count := _count(manifest.get(name))) > MOST_VALUES:
            raise ValueError(f"its {name} has {count:,} values; at most {MOST_VALUES:,} are read")
    check_origin(manifest)


def check_origin(manifest: dict[str, Any]) -> None:
    """Raises ValueError for a table that says with what something was made, and is of another kind."""
    for name, kinds in TABLES.items():
        _table(name, manifest.get(name), kinds)
    for name in COMMITS:
        _text(f"git.{name}", (manifest.get("git") or {}).get(name))


def _text(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and len(value) <= MOST):
        raise ValueError(f"its {name} is {value!r:.60}, and no text")


def _table(name: str, value: Any, kinds: Any) -> None:
    """A table of plain values; a list in it is of texts. None stands for a table that is not there."""
    if not isinstance(value, dict | None):
        raise ValueError(f"its {name} is {value!r:.60}, and no table")
    if len(value or {}) > MOST_ENTRIES:
        raise ValueError(f"its {name} has {len(value or {}):,} entries; at most {MOST_ENTRIES:,} are read")
    for key, entry in (value or {}).items():
        lists_texts = not isinstance(entry, list) or all(isinstance(one, str) for one in entry)
        if not isinstance(entry, kinds) or not lists_texts or len(str(entry)) > MOST:
            raise ValueError(f"its {name}.{key:.60} is {entry!r:.60}")


def _count(value: Any) -> int:
    """How many values lie in lists and tables."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inside))


def sealed(manifest: dict[str, Any], purpose: str = PURPOSE) -> dict[str, Any]:
    """The manifest with the seal of this user for a purpose, which `is_ours` finds again."""
    from cellbench.cells import seal  # here: what reads results starts without the cells

    return manifest | {"seal": seal.seal(_sealed_part(manifest), purpose)}


def is_ours(manifest: dict[str, Any], purpose: str = PURPOSE) -> bool:
    """Whether this user made it on this machine: a seal that nobody else can write says so."""
    from cellbench.cells import seal

    return seal.is_ours(_sealed_part(manifest), purpose, manifest.get("seal"))


def _sealed_part(manifest: dict[str, Any]) -> bytes:
    kept = {name: value for name, value in manifest.items() if name not in UNSEALED}
    return json.dumps(kept, sort_keys=True, default=str).encode()
