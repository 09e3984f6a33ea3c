"""Messages of a program from English to French, character by character."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, arrays
from ..data.edits import until
from ..data.split import grouped, rows, to_sequences
from ..data.text import encoded
from ..task import TO_SEQUENCE, Data, Rival, Task

LONGEST = (60, 80)  # characters of the message and of its translation
PLACEHOLDERS = "%{"
ARCHIVE = Archive(
    name="translation",
    requirement="jupyterlab-language-pack-fr-FR==4.5.post3",
    sha256="9f6ce9d4e64b367ff084a2313af29d6ad8a02d1d08000f3e6c53e2856fa9a11f",
    size=222292,
    members=("jupyterlab_language_pack_fr_FR/locale/fr_FR/LC_MESSAGES/*.json",),
    licence="BSD-3",
    source="https://github.com/jupyterlab/language-packs",
)


def parse(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """All different pairs of a message and its translation, without placeholders, not the same, not too long."""
    found = (pair for content in files.values() for pair in json.loads(content).items())
    pairs = dict.fromkeys((key.rpartition("\x04")[2], values[0]) for key, values in found if key and values)
    kept = [(en, fr) for en, fr in pairs if en != fr and fr and _fits(en, fr)]
    sources, targets = (encoded(texts) for texts in zip(*kept, strict=True))
    return dict(zip(("source", "source_lengths", "source_alphabet"), sources, strict=True)) | dict(
        zip(("target", "target_lengths", "target_alphabet"), targets, strict=True)
    )


def _fits(source: str, target: str) -> bool:
    return (
        len(source) <= LONGEST[0] and len(target) <= LONGEST[1] and not set(PLACEHOLDERS) & {*source, *target}
    )


@dataclass(frozen=True)
class Translation(Task):
    """x the characters of a message, y those of its translation and then the end, the last class; 2,420
    messages.

    All translations of one message are in one part. Many messages are nearly alike, so that a memory, which
    answers with the translation of the nearest message it knows, is the rival to beat in chrF; there is too
    little here for real translation: compare cells by it, claim no quality. chrF (Popović 2015) goes from 0
    to 100. The target is a little below what a trigram of the French reaches that never saw the message.
    """

    test: int = 240

    def data(self, rng):
        stored = arrays(ARCHIVE, parse)
        sources, targets = (rows(stored[name], stored[f"{name}_lengths"]) for name in ("source", "target"))
        _, groups = np.unique([source.tobytes() for source in sources], return_inverse=True)
        end = len(stored["target_alphabet"])
        train, test = (
            to_sequences([sources[k] for k in chosen], [targets[k] for k in chosen], end)
            for chosen in grouped(rng, groups, self.test)
        )
        size = len(stored["source_alphabet"])
        return Data(train, test, classes=end + 1, target_loss=1.6, shape=TO_SEQUENCE, vocabulary=size)

    def figures(self, data, answers):
        return {"chrf": chrf(self.texts(data, answers), self.texts(data, data.test.y))}

    def texts(self, data, tokens):
        alphabet = arrays(ARCHIVE, parse)["target_alphabet"]
        return ["".join(alphabet[row]) for row in until(tokens, data.classes - 1)]

    def rivals(self, data):
        from ..rivals.nearest import nearest

        alphabet = arrays(ARCHIVE, parse)["source_alphabet"]
        sources = ["".join(alphabet[row[:n]]) for row, n in zip(data.test.x, data.test.lengths, strict=True)]
        copied = {"chrf": chrf(sources, self.texts(data, data.test.y))}
        remembered = self.figures(data, nearest(data))
        return [
            Rival("the message itself", math.nan, figures=copied),
            Rival("nearest message", math.nan, figures=remembered),
        ]


def chrf(answers: list[str], right: list[str]) -> float:
    """chrF of the whole, 0 to 100."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(answers, [right]).score)
