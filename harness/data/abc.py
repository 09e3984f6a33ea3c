"""Tunes in ABC notation: their headers, and the tokens of their bodies, as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np

FIELD = re.compile(r"([A-Za-z]):(.*)")
# chord names, decorations, fields inside a line
REMARKS = re.compile(r'"[^"\n]*"|![^!\n]*!|\[[A-Za-z]:[^\]\n]*\]')
NOTE = r"[\^_=]*[A-Ga-gzx][,']*\d*/*\d*"  # accidental, pitch, octave, length: one token
BAR = r"\[\||:?\|+[:\]]?|::"
TOKEN = re.compile(rf"{NOTE}|\(\d|{BAR}|[\[\](){{}}<>~.:-]|\s+")  # (3 opens a triplet; a space ends a beam

MODES = {"maj": "", "min": "m"}  # as most write them; others go by their first three letters
# What occurs less often in the whole collection is one token, or one field, of its own: the last of its list.
RARE = 5


def parse(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """All tunes of different bodies, as arrays.

    tokens, lengths   the bodies one after the other, as numbers in `words`
    melody            a number a tune; tunes of the same opening have the same
    header            (N, 3) rhythm, metre and key, as numbers in `rhythms`, `metres` and `keys`
    words, rhythms, metres, keys   the names, the last one standing for all rare ones
    """
    texts = [content.decode("utf-8", "replace") for content in files.values()]
    different = {body: header for text in texts for header, body in tunes(text) if body}
    bodies = [tokens(body) for body in different]
    melodies = {first: number for number, first in enumerate(dict.fromkeys(map(opening, bodies)))}
    flat, words = numbered([token for body in bodies for token in body])
    fields = [numbered([field(header, letter) for header in different.values()]) for letter in "RMK"]
    return {
        "tokens": flat,
        "words": words,
        "lengths": np.array([len(body) for body in bodies]),
        "melody": np.array([melodies[opening(body)] for body in bodies]),
        "header": np.stack([numbers for numbers, _ in fields], 1),
        "rhythms": fields[0][1],
        "metres": fields[1][1],
        "keys": fields[2][1],
    }


def numbered(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Each word's place among the frequent ones, and these: most frequent first, "?" for all others last."""
    frequent = [word for word, count in Counter(words).most_common() if count >= RARE]
    place = {word: number for number, word in enumerate(frequent)}
    return np.array([place.get(word, len(frequent)) for word in words]), np.array([*frequent, "?"])


def tunes(text: str) -> Iterator[tuple[dict[str, str], str]]:
    """Each tune's header, the first value of each field by its letter, and its body."""
    for tune in re.split(r"^(?=X:)", text, flags=re.M)[1:]:  # X: begins a tune; before the first are remarks
        header: dict[str, str] = {}
        body: list[str] = []
        for line in (line.partition("%")[0].strip() for line in tune.splitlines()):
            field = FIELD.match(line)
            if field and "K" not in header:  # K: ends a header by the standard; later fields are changes
                header.setdefault(field[1], field[2].strip())
            elif line and not field:
                body.append(line)
        yield header, "\n".join(body)


def tokens(body: str) -> list[str]:
    """The tokens of a body in their order: notes with their lengths, bars, signs, single spaces."""
    return [" " if token.isspace() else token for token in TOKEN.findall(REMARKS.sub("", body).strip())]


def opening(tokens: list[str], notes: int = 24) -> tuple[str, ...]:
    """The pitches of its first notes: tunes that share them are versions of one melody."""
    pitches = (t.rstrip("0123456789/") for t in tokens if re.fullmatch(NOTE, t) and t[0] not in "zx")
    return tuple(islice(pitches, notes))


def field(header: dict[str, str], letter: str) -> str:
    """A field of the header in lower case without spaces, a key as in `em`, `g`, `ador`; or empty.

    So fields that mean the same compare as equal.
    """
    text = "".join(header.get(letter, "").lower().split())
    key = re.fullmatch(r"([a-g][#b]?)([a-z]{3})[a-z]*", text)
    return key[1] + MODES.get(key[2], key[2]) if letter == "K" and key else text
