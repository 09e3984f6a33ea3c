"""The measured lines of a study: one a point and process, written at once, so that a study goes on."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...store import atomic, code, provenance
from .points import Point
from .timing import Timing

FILE = "points.jsonl"
Key = tuple[Point, int]  # a point and the number of its attempt


def origin() -> dict[str, Any]:
    """What two measurements must have in common to belong to one study."""
    return {
        "machine": provenance.key(1),
        "versions": provenance.versions(),
        "cells": code.digests()["cells"],
    }


@dataclass
class Records:
    """The timings of all points so far, by attempt, and the file that has them.

    `anew` says why what the file had was measured under other conditions, and is given up.
    """

    folder: Path
    timings: dict[Key, list[Timing]] = field(default_factory=lambda: defaultdict(list))
    anew: str | None = None

    def __post_init__(self) -> None:
        self.file = self.folder / FILE
        here, lines = origin(), self.read()
        if lines and lines[0] == here:
            for line in lines[1:]:
                point, timing = Point(**line["point"]), Timing(**line["timing"])
                self.timings[point, line["attempt"]].append(timing)
            return
        if lines:
            differ = [name for name in here if lines[0].get(name) != here[name]]
            self.anew = f"{self.file} was measured with other {', '.join(differ)}: all is measured anew"
        atomic.write_text(self.file, json.dumps(here) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Whole lines of the file; one that a kill cut short is left out, and taken off the file."""
        if not self.file.exists():
            return []
        text = self.file.read_text(encoding="utf8")
        whole = text[: text.rfind("\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.file} is damaged ({error.msg}); move it away to measure anew") from None
        if whole != text:
            atomic.write_text(self.file, whole)
        return lines

    def add(self, point: Point, attempt: int, timing: Timing) -> None:
        """Keeps a timing, in one write that is on the disk when this returns."""
        self.timings[point, attempt].append(timing)
        row = {"point": point.definition, "attempt": attempt, "timing": asdict(timing)}
        with self.file.open("ab", buffering=0) as file:
            file.write((json.dumps(row) + "\n").encode())
            os.fsync(file.fileno())

    def attempts(self, point: Point) -> list[list[Timing]]:
        """The timings of each attempt, in order."""
        numbers = sorted(attempt for each, attempt in self.timings if each == point)
        return [self.timings[point, number] for number in numbers]
