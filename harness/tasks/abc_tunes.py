"""Fiddle tunes in ABC notation: which token comes next?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import abc
from ..data.archives import Archive, arrays
from ..data.split import foretelling, grouped, rows
from ..task import MANY_TO_MANY, Data, Task

COLLECTIONS = ("airdsAirs", "oneills1850", "ryansMammoth")
ARCHIVE = Archive(
    name="abc_tunes",
    requirement="music21==10.5.1",
    sha256="dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1",
    size=20118992,
    members=tuple(f"music21/corpus/{name}/*.abc" for name in COLLECTIONS),
    licence=(
        "package BSD-3; tunes of 1778 to 1883, in the public domain, distributed by permission of their"
        " encoders"
    ),
    source="https://github.com/cuthbertLab/music21",
)


@dataclass(frozen=True)
class AbcTunes(Task):
    """x[t] is a token (a note with its length, a bar, a sign, a space), y[t] the next one.

    A tune begins with a start and closes with an end. There are 4,233 tunes, of O'Neill, Aird and Ryan, out
    of the package music21. `count` are learned from, `test` are tested on, each cut after `steps` tokens.
    Many tunes are versions of others: those whose first 24 notes have the same pitches lie in one part. The
    list of tokens, those that occur five times or more, is drawn from all tunes. The target is a little below
    what a trigram reaches.
    """

    steps: int = 128
    count: int = 2000
    test: int = 200

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"abc_tunes has steps={self.steps}; it needs at least 1")

    def data(self, rng: np.random.Generator) -> Data:
        stored = arrays(ARCHIVE, abc.parse)
        end = len(stored["words"])
        tunes = [
            np.concatenate([[end + 1], tune, [end]]) for tune in rows(stored["tokens"], stored["lengths"])
        ]
        train, test = (
            foretelling([tunes[k] for k in chosen], 1, self.steps)
            for chosen in grouped(rng, stored["melody"], self.test, self.count)
        )
        return Data(train, test, classes=end + 1, target_loss=2.3, shape=MANY_TO_MANY, vocabulary=end + 2)
