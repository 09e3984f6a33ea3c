"""Takes over pytest-benchmark's JSON as a run, so that `harness.load` reads it beside all others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from . import store


def import_benchmarks(file: Path, results: Path) -> Path:
    """Writes a run with one case a benchmark; returns its folder. Raises ResultsError for any other file."""
    try:
        content = json.loads(file.read_text(encoding="utf8"))
        blocks = [(_definition(b), _series(b), b["extra_info"].get("implementation")) for b in content["benchmarks"]]
        manifest = _manifest(content, file)
    except OSError as error:
        raise store.ResultsError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise store.ResultsError(f"{file} is not JSON of pytest-benchmark (--benchmark-json=FILE writes it)") from None
    if not blocks:
        raise store.ResultsError(f"{file} holds no benchmark; nothing was imported")
    writer = store.create(results, manifest)
    for definition, series, implementation in blocks:
        case = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:12]
        writer.append(case, definition, "ok", series=series, implementation=implementation, done=True)
    writer.close()
    return writer.folder


def _manifest(content: dict[str, Any], file: Path) -> dict[str, Any]:
    info = content.get("machine_info") or {}
    return {
        "created": content.get("datetime"), "command": f"cellbench import {file.name}", "config": {},
        "git": content.get("commit_info") or {}, "versions": {"pytest-benchmark": content.get("version")},
        "machine": {"cpu": info.get("cpu", {}).get("brand_raw"), "python": info.get("python_version")},
    }  # fmt: skip


def _definition(benchmark: dict[str, Any]) -> dict[str, Any]:
    """What our own benchmarks say of themselves in extra_info; another's is known by its name alone."""
    extra = benchmark["extra_info"]
    own = {k: int(extra[k]) if k in store.WHOLE else str(extra[k]) for k in store.DEFINITION if k in extra}
    return {"probe": "benchmark", "variant": str(benchmark["fullname"])} | own


def _series(benchmark: dict[str, Any]) -> list[dict[str, Any]]:
    stats = benchmark["stats"]
    if stats.get("data"):
        return [{"metric": "seconds", "unit": "s", "values": [float(v) for v in stats["data"]], "process": 0}]
    return [{"metric": f"seconds_{k}", "unit": "s", "values": [float(stats[k])], "process": 0} for k in ("min", "median", "max")]
