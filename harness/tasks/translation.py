"""Messages of a program from English to French, character by character."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, arrays
from ..data.split import grouped, rows, to_sequences
from ..data.text import encoded_pairs, until
from ..extras import requires
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
    """All different pairs of a message and its translation that are worth learning (`_fits`)."""
    entries = (pair for content in files.values() for pair in json.loads(content).items())
    # a key may begin with a context and the character \x04; the first value is the singular
    pairs = dict.fromkeys((key.rpartition("\x04")[2], values[0]) for key, values in entries if key and values)
    return encoded_pairs(
        [(english, french) for english, french in pairs if _fits(english, french)],
        ("source", "source_lengths", "source_alphabet"),
        ("target", "target_lengths", "target_alphabet"),
    )


def _fits(source: str, target: str) -> bool:
    """Translated, other than the message, without placeholders, and not too long."""
    short = len(source) <= LONGEST[0] and len(target) <= LONGEST[1]
    return bool(target) and source != target and short and not set(PLACEHOLDERS) & {*source, *target}


@dataclass(frozen=True)
class Translation(Task):
    """x is the characters of a message, y those of its translation and then the end, the last class.

    2,420 pairs out of JupyterLab's French language pack (BSD-3), of which `test` are tested on; all
    translations of one message lie in one part. Many messages are nearly alike, so that a memory, which
    answers with the translation of the nearest message it knows, is the rival to beat in chrF. There is too
    little here for real translation: compare cells by it, claim no quality. chrF (Popović 2015) goes from 0
    to 100. The target is a little below what a trigram of the French reaches that never saw the message.
    """

    test: int = 240

    def data(self, rng: np.random.Generator) -> Data:
        requires("sacrebleu", "task 'translation' scores with")  # now, not when the training is over
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

    def figures(self, data: Data, answers: np.ndarray) -> dict[str, float]:
        return {"chrf": chrf(self.texts(data, answers), self.texts(data, data.test.y))}

    def texts(self, data: Data, tokens: np.ndarray) -> list[str]:
        """Answers (N, U) as French."""
        alphabet = arrays(ARCHIVE, parse)["target_alphabet"]
        return ["".join(alphabet[row]) for row in until(tokens, data.output_size - 1)]

    def rivals(self, data: Data) -> Sequence[Rival]:
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
