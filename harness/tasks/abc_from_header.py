"""Fiddle tunes in ABC notation out of their header: given rhythm, metre and key, write the tune."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import abc
from ..data.archives import arrays
from ..data.split import foretelling, grouped, rows
from ..task import ONE_TO_MANY, Data, Task
from . import abc_tunes

ARCHIVE = abc_tunes.ARCHIVE
FIELDS = ("rhythms", "metres", "keys")


@dataclass(frozen=True)
class AbcFromHeader(Task):
    """x[0], x[1], x[2] are the rhythm, metre and key; from then on x[t] is a tune's token and y[t] the next.

    The tunes of `abc_tunes` whose header names a rhythm (reel, hornpipe, jig ...), with the same groups, cut
    and tokens; archive and licence are the same too. The first of the `steps` tokens asked for stands at
    t = 2. The target is a little below what a trigram reaches.
    """

    steps: int = 128
    count: int = 1500
    test: int = 200

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"abc_from_header has steps={self.steps}; it needs at least 1")

    def data(self, rng: np.random.Generator) -> Data:
        stored = arrays(ARCHIVE, abc.parse)
        end = len(stored["words"])
        sizes = [len(stored[name]) for name in FIELDS]
        # one vocabulary: the tokens of tunes, the end, then the values of each field in turn
        header = stored["header"] + end + 1 + np.cumsum([0, *sizes[:-1]])
        named = np.flatnonzero(stored["rhythms"][stored["header"][:, 0]] != "")
        tunes = rows(stored["tokens"], stored["lengths"])
        train, test = (
            foretelling(
                [np.concatenate([header[k], tunes[k], [end]]) for k in named[chosen]], len(FIELDS), self.steps
            )
            for chosen in grouped(rng, stored["melody"][named], self.test, self.count)
        )
        return Data(
            train, test, classes=end + 1, target_loss=2.2, shape=ONE_TO_MANY, vocabulary=end + 1 + sum(sizes)
        )
