"""Scores in compressed MusicXML: what each of four parts sounds on a grid of sixteenths."""

from __future__ import annotations

import io
import zipfile
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np

SIXTEENTHS = 4  # a quarter
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
REST = 0


def parse(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """All scores of four parts: `pitches` and `begins` (4, M), one score after the other, and `lengths`."""
    scores = [
        score
        for score in map(parts, files.values())
        if len(score) == 4 and len({len(pitches) for pitches, _ in score}) == 1
    ]
    return {
        "pitches": np.concatenate([[p for p, _ in score] for score in scores], 1).astype(np.int16),
        "begins": np.concatenate([[b for _, b in score] for score in scores], 1),
        "lengths": np.array([len(score[0][0]) for score in scores]),
    }


def parts(content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each part its pitch at each sixteenth, and whether a note or rest begins there.

    Pitches are semitones, middle C 60; rests are 0.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        container = ElementTree.fromstring(file.read("META-INF/container.xml"))
        score = ElementTree.fromstring(file.read(next(container.iter("rootfile")).attrib["full-path"]))
    return [sampled(notes(part)) for part in score.iter("part")]


def notes(part: ElementTree.Element) -> list[tuple[Fraction, Fraction, int, bool]]:
    """(start, end, pitch, begins) of all notes and rests, in quarters.

    A note tied to the one before does not begin anew. Of a chord the first note counts.
    """
    sounding, now, divisions = [], Fraction(0), 1
    for element in (e for measure in part.iter("measure") for e in measure):
        if element.tag == "attributes":
            divisions = int(element.findtext("divisions") or divisions)
        length = Fraction(element.findtext("duration") or 0) / divisions
        if element.tag == "backup":
            now -= length
        elif element.tag == "forward":
            now += length
        elif element.tag == "note" and length and element.find("chord") is None:
            goes_on = any(tie.get("type") == "stop" for tie in element.iter("tie"))
            sounding.append((now, now + length, pitch(element), not goes_on))
            now += length
    return sounding


def pitch(note: ElementTree.Element) -> int:
    """In semitones, middle C 60; a quarter tone is rounded towards the note without a sign."""
    sounds = note.find("pitch")
    if sounds is None:
        return REST
    alter = int(float(sounds.findtext("alter") or 0))
    return 12 * (int(sounds.findtext("octave") or 0) + 1) + STEPS[sounds.findtext("step") or ""] + alter


def sampled(notes: list[tuple[Fraction, Fraction, int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """(pitches, whether one begins) on a grid of sixteenths, from all notes of a part in quarters."""
    count = int(max((end for _, end, _, _ in notes), default=Fraction(0)) * SIXTEENTHS)
    pitches, begins = np.zeros(count, np.int64), np.zeros(count, bool)
    for start, end, height, new in notes:
        # rounded up: a note that is over before the next step of the grid, a grace note say, is not sampled
        first, last = (-int(-time * SIXTEENTHS // 1) for time in (start, end))
        if first < last:
            pitches[first:last], begins[first] = height, new
    return pitches, begins
