"""Bach's chorales: given the soprano, write another voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data import scores
from ..data.archives import arrays
from ..data.split import grouped, padded, rows
from ..task import MANY_TO_MANY, Data, Sequences, Task
from . import abc_tunes

VOICES = ("soprano", "alto", "tenor", "bass")
TARGETS = {  # by voice and steps a quarter: a little below what the last two pitches of the soprano tell
    ("alto", 4): 1.82,
    ("tenor", 4): 1.95,
    ("bass", 4): 2.25,
    ("alto", 1): 1.7,
    ("tenor", 1): 1.87,
    ("bass", 1): 2.1,
}
ARCHIVE = replace(  # of the same package
    abc_tunes.ARCHIVE,
    name="chorales",
    members=("music21/corpus/bach/*.mxl",),
    licence="package BSD-3; music in the public domain, distributed by permission of its encoders",
)


@dataclass(frozen=True)
class Chorales(Task):
    """x[t] is the pitch of the soprano, y[t] that of `voice`: a class for each pitch and one for rests.

    There are 364 chorales in four parts, out of the package music21; `test` of them are tested on. Chorales
    whose soprano is the same up to transposition lie in one part. With four steps a quarter only those count
    at which the voice strikes a note or falls silent: to repeat what sounds would be right at three of four
    others. With one step a quarter (per_quarter=1) every step counts. The target is a little below what the
    last two pitches of the soprano tell of the voice. Log-likelihoods of "JSB chorales" in papers are sums
    over 88 keys on another split, so that they do not compare.
    """

    voice: str = "alto"
    per_quarter: int = 4
    test: int = 40

    def __post_init__(self) -> None:
        if self.voice not in VOICES[1:] or self.per_quarter not in (1, 4):
            raise ValueError(
                f"chorales has voice={self.voice}, per_quarter={self.per_quarter}; "
                f"voice is one of {', '.join(VOICES[1:])}, per_quarter 1 or 4"
            )

    def data(self, rng: np.random.Generator) -> Data:
        stored = arrays(ARCHIVE, scores.parse)
        # intervals, not pitches: a transposed melody has the same
        melodies = [np.diff(p).tobytes() for p in rows(stored["pitches"][0], stored["lengths"])]
        _, groups = np.unique(melodies, return_inverse=True)
        alphabets = [np.unique(pitches) for pitches in stored["pitches"]]
        voice = VOICES.index(self.voice)
        pieces = rows(np.concatenate([stored["pitches"], stored["begins"]]), stored["lengths"])
        train, test = (
            self.part([pieces[k] for k in chosen], alphabets, voice)
            for chosen in grouped(rng, groups, self.test)
        )
        return Data(
            train,
            test,
            classes=len(alphabets[voice]),
            target_loss=TARGETS[self.voice, self.per_quarter],
            shape=MANY_TO_MANY,
            vocabulary=len(alphabets[0]),
        )

    def part(self, pieces: list[np.ndarray], alphabets: Sequence[np.ndarray], voice: int) -> Sequences:
        """From pieces (8, T): the pitches of the four voices, then whether each of them begins a note."""
        pieces = [piece[:, :: 4 // self.per_quarter] for piece in pieces]
        x, lengths = padded([np.searchsorted(alphabets[0], piece[0]) for piece in pieces])
        y, _ = padded([np.searchsorted(alphabets[voice], piece[voice]) for piece in pieces])
        begins, _ = padded([piece[len(VOICES) + voice] for piece in pieces])
        within = np.arange(x.shape[1]) < lengths[:, None]
        return Sequences(x, lengths, y, within if self.per_quarter == 1 else begins.astype(bool))
