"""What the study `kills` keeps of each kill, and its files: kills.json and kills.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..store import atomic, files
from .kill_targets import TARGETS
from .made import made


@dataclass(frozen=True)
class Kill:
    """One kill: when, of what, by which signal; and what was there."""

    command: str
    round: int
    after_s: float
    victim: str
    signal: str
    finished: int
    survivors: int  # processes that were still there GONE_S after the command's end


@dataclass
class Round:
    """One command killed several times, then brought to its end."""

    command: str
    kills: list[Kill] = field(default_factory=list)
    lost: int = 0  # finished before a kill, and not there at the end
    twice: int = 0  # finished before a kill, and measured again
    whole: bool = False
    files: int = 0  # temporary files at the end
    code: int | None = None  # of the last process
    said: str = ""  # its last lines, where it did not end well
    seed: int = 0

    @property
    def holds(self) -> bool:
        survivors = sum(kill.survivors for kill in self.kills)
        return self.whole and not (self.lost or self.twice or self.files or survivors)


def summary(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """A row a command, and one of all."""
    names = list(dict.fromkeys(one.command for one in rounds))
    groups = [(name, [one for one in rounds if one.command == name]) for name in names]
    return [_row(name, some) for name, some in [*groups, ("all", list(rounds))]]


def _row(name: str, some: Sequence[Round]) -> dict[str, Any]:
    kills = [kill for one in some for kill in one.kills]
    return {
        "command": name,
        "kills": len(kills),
        "brought to an end": len(some),
        "finished at a kill": sum(kill.finished for kill in kills),
        "lost": sum(one.lost for one in some),
        "measured twice": sum(one.twice for one in some),
        "not whole": sum(not one.whole for one in some),
        "processes left": sum(kill.survivors for kill in kills),
        "files left": sum(one.files for one in some),
    }


def known(folder: Path) -> list[Round]:
    """The rounds that an earlier call wrote."""
    path = folder / "kills.json"
    if not path.exists():
        return []
    rounds = files.parse(files.read(path))["rounds"]
    return [Round(**one | {"kills": [Kill(**kill) for kill in one["kills"]]}) for one in rounds]


def write(folder: Path, rounds: Sequence[Round], before: Sequence[Round] = ()) -> None:
    """kills.json (every kill) and kills.md; commands that were not killed this time keep their rounds."""
    folder.mkdir(parents=True, exist_ok=True)
    again = {one.command for one in rounds}
    rounds = [*(one for one in before if one.command not in again), *rounds]
    rows = summary(rounds)
    content = {"summary": rows, "rounds": [asdict(one) for one in rounds]}
    atomic.write_json(folder / "kills.json", content)
    header = list(rows[0])
    grid = [header, ["---", *["---:"] * (len(header) - 1)], *([str(v) for v in row.values()] for row in rows)]
    text = [
        "# Commands killed at random instants",
        "",
        "SIGKILL, SIGTERM, SIGHUP or SIGINT went to the command's first process, its keeper, the process that"
        " works, a worker, or all of them.",
        "A command was killed up to 4 times, and then gone on with (`resume`) or run again to its end.",
        "",
        *("| " + " | ".join(row) + " |" for row in grid),
        "",
        *_not_held(rounds),
        *_origin(rounds),
        "",
    ]
    atomic.write_text(folder / "kills.md", "\n".join(text))


def _not_held(rounds: Sequence[Round]) -> list[str]:
    """The last words of commands that did not end as they should."""
    bad = [one for one in rounds if not one.holds]
    lines = [f"- `{one.command}`: `{' '.join(one.said.replace('`', ' ').split())}`" for one in bad]
    return ["The last words where something was wrong:", "", *lines, ""] if bad else []


def _origin(rounds: Sequence[Round]) -> list[str]:
    seeds: dict[int, list[str]] = {}
    for one in rounds:
        if one.command not in (names := seeds.setdefault(one.seed, [])):
            names.append(one.command)
    missing = [target.name for target in TARGETS if all(one.command != target.name for one in rounds)]
    lines = [f"Seed {seed}: {', '.join(names)}." for seed, names in seeds.items()]
    return [made("nox -s kills"), *lines, *([f"Not killed: {', '.join(missing)}."] if missing else [])]
