"""Bach's chorales: the soprano is given, another voice is to be written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import scores
from ..data.archives import Archive, arrays
from ..data.split import grouped, padded, rows
from ..task import MANY_TO_MANY, Data, Sequences, Task

VOICES = ("soprano", "alto", "tenor", "bass")
TARGETS = {  # by voice and steps a quarter: a little below what the last two pitches of the soprano tell
    ("alto", 4): 1.82,
    ("tenor", 4): 1.95,
    ("bass", 4): 2.25,
    ("alto", 1): 1.7,
    ("tenor", 1): 1.87,
    ("bass", 1): 2.1,
}
ARCHIVE = Archive(
    name="chorales",
    requirement="music21==10.5.1",
    sha256="dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1",
    size=20118992,
    members=("music21/corpus/bach/*.mxl",),
    licence="package BSD-3; music in the public domain, distributed by permission of its encoders",
    source="https://github.com/cuthbertLab/music21",
)


@dataclass(frozen=True)
class Chorales(Task):
    """x[t] the pitch of the soprano, y[t] that of `voice`, a class for each pitch and one for rests; 364
    chorales in four parts.

    Four steps a quarter: only steps at which the voice strikes a note, or falls silent, count, since
    repeating what sounds would be right at three of four others. One step a quarter (per_quarter=1): every
    step counts. `test` chorales are tested on; those whose soprano is the same up to transposition are in one
    part. Log-likelihoods of "JSB chorales" in papers sum over 88 keys on another split, and are no figures to
    compare with. The target is a little below what the last two pitches of the soprano tell of the voice.
    """

    voice: str = "alto"
    per_quarter: int = 4
    test: int = 40

    def __post_init__(self):
        if self.voice not in VOICES[1:] or self.per_quarter not in (1, 4):
            raise ValueError(
                f"chorales has voice={self.voice}, per_quarter={self.per_quarter}; "
                f"voice is one of {', '.join(VOICES[1:])}, per_quarter 1 or 4"
            )

    def data(self, rng):
        stored = arrays(ARCHIVE, scores.parse)
        melodies = [np.diff(p).tobytes() for p in rows(stored["pitches"][0], stored["lengths"])]
        _, groups = np.unique(melodies, return_inverse=True)
        alphabets = [np.unique(pitches) for pitches in stored["pitches"]]
        which = VOICES.index(self.voice)
        pieces = rows(np.concatenate([stored["pitches"], stored["begins"]]), stored["lengths"])
        train, test = (
            self.part([pieces[k] for k in chosen], alphabets, which)
            for chosen in grouped(rng, groups, self.test)
        )
        size, classes = len(alphabets[0]), len(alphabets[which])
        return Data(
            train,
            test,
            classes=classes,
            target_loss=TARGETS[self.voice, self.per_quarter],
            shape=MANY_TO_MANY,
            vocabulary=size,
        )

    def part(self, pieces, alphabets, which):
        pieces = [piece[:, :: 4 // self.per_quarter] for piece in pieces]
        x, lengths = padded([np.searchsorted(alphabets[0], piece[0]) for piece in pieces])
        y, _ = padded([np.searchsorted(alphabets[which], piece[which]) for piece in pieces])
        begins, _ = padded([piece[len(VOICES) + which] for piece in pieces])
        within = np.arange(x.shape[1]) < lengths[:, None]
        return Sequences(x, lengths, y, within if self.per_quarter == 1 else begins.astype(bool))
