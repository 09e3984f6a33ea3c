"""Mutations of a JSON value, of JSON text, of bytes, and of what lies at a path."""

import copy
import json
import os
import re
import shutil
import socket

# nothing here names a file of the sandbox: it may stand in what passes for a run of one's own
ODD = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    2**53,
    2**61,
    2**62,
    2**64,
    10**40,
    -(2**63),
    1e308,
    -1e308,
    1e-320,
]
ODD += [float("nan"), float("inf"), -float("inf"), 0.5, "", " ", "x" * 5000, "x" * 200_000, "nan", "1e999"]
ODD += ["\x1b[2J\x1b]0;x\x07", "\ud800", "\x00", "\u202eab", "a\nb\tc\r", "<script>alert(1)</script>", "ü→"]
ODD += ["a|b\n::error::c", "../../../thesis", "/thesis", "..", "~nosuch/x", "{{ 7 * 7 }}", "${oc.env:HOME}"]
ODD += [[], {}, [[]], [None], [1, "a"], {"": 1}, {"a": {"b": {}}}, {"__class__": "evil.Evil"}, "$x^{", "\\"]
ODD += ["!!python/object/apply:os.system ['true']", "2026-13-45T99:99:99", list(range(3000)), "9" * 5000]
NAMES_CODE = ["evil.py:Evil", "evil.py", ["evil.py:Evil"], "claims/evil.py:Evil", "all", "gru", ["all"]]
KEYS = ["evil", "../x", "", "seal", "run", "spec", "\x1b[2J", "table", "config", "\ud800", "x" * 3000]
TOKENS = [b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"1E-400", b"\xff", b"[" * 2000, b"nul", b"01"]
LUMPS = [b"\x00", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"\x1b[2J", b"\n", b'"', b"\r", b"\xed\xa0\x80"]
WHOLE = [b"", b"\x00" * 50, b"null", b"{}", b"[]", b"PAR1", b"PAR1PAR1", b"0", b"\n", b'"', b"\xef\xbb\xbf{}"]
LARGE = 1 << 42  # bytes of a file that has none of them on the disk


def places(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def odd(rng, values=ODD):
    """A value that stands where it should not, sometimes deep inside of others."""
    value = rng.choice(values)
    if rng.random() < 0.05:
        for _ in range(rng.choice((3, 39, 41, 500))):
            value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def value(given, rng, values=ODD):
    """One to three entries replaced, removed, renamed, or put where another stands; now and then all."""
    if rng.random() < 0.05:
        return _everywhere(given, rng, values)
    given = copy.deepcopy(given)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        known = [p for p in places(given) if p]
        if not known:
            return odd(rng, values)
        *above, last = rng.choice(known)
        at = _at(given, above)
        way = rng.random()
        if way < 0.15:
            del at[last]
        elif way < 0.25 and isinstance(at, dict):
            at[rng.choice([*KEYS, str(last) * 2])] = at.pop(last)
        elif way < 0.35:
            at[last] = copy.deepcopy(_at(given, rng.choice(known)))
        else:
            at[last] = odd(rng, values)
    return given


def _everywhere(given, rng, values):
    """Every third leaf is another."""
    if isinstance(given, dict):
        return {k: _everywhere(v, rng, values) for k, v in given.items()}
    if isinstance(given, list):
        return [_everywhere(v, rng, values) for v in given]
    return odd(rng, values) if rng.random() < 0.3 else given


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def text(content, rng):
    """JSON text with another number, a key twice, or a word that JSON has not."""
    if rng.random() < 0.5 and (numbers := [*re.finditer(rb"-?\d+(\.\d+)?", content)]):
        chosen = rng.choice(numbers)
        return content[: chosen.start()] + rng.choice(TOKENS) + content[chosen.end() :]
    keys = [*re.finditer(rb'"[^"]+": ?', content)]
    if not keys:
        return data(content, rng)
    chosen = rng.choice(keys)
    again = json.dumps(rng.choice(ODD)).encode()
    return content[: chosen.start()] + chosen[0] + again + b", " + content[chosen.start() :]


def data(content, rng):
    """Bytes flipped, cut, doubled, put in, or others altogether."""
    content = bytearray(content)
    at = rng.randrange(len(content) + 1)
    way = rng.randrange(6)
    if way == 0 and at < len(content):
        content[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        del content[at:]
    elif way == 2:
        content[at:at] = content[at : at + rng.randrange(200)]
    elif way == 3:
        content[at:at] = rng.choice(LUMPS)
    elif way == 4:
        for _ in range(rng.randrange(2, 40)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    else:
        content[:] = rng.choice(WHOLE)
    return bytes(content)


def path(place, rng):
    """Puts a thing that is no file, or leads elsewhere, where a file lies."""
    kind = rng.choice(("pipe", "socket", "folder", "loop", "nowhere", "large", "link", *DEVICES))
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(place))  # an address has at most 108 characters
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to(place.name)
    elif kind == "large":
        with place.open("wb") as file:
            file.truncate(LARGE)
    else:
        place.symlink_to({"nowhere": "nowhere", "link": "../../../thesis/index.html"}.get(kind, kind))


DEVICES = ("/dev/zero", "/dev/full", "/dev/null", "/dev/tty", "/proc/self/mem", "/proc/kmsg")


def file(place, rng, values=ODD):
    """Mutates what lies at the path, in a way that fits what it is."""
    if rng.random() < 0.06:
        return path(place, rng)
    content = place.read_bytes()
    way = rng.random()
    if place.suffix not in (".json", ".jsonl", "") or way < 0.15:
        place.write_bytes(data(content, rng))
    elif way < 0.3:
        place.write_bytes(text(content, rng))
    elif place.suffix == ".jsonl":
        lines = content.splitlines()
        n = rng.randrange(len(lines))
        lines[n] = json.dumps(value(json.loads(lines[n]), rng, values)).encode()
        if rng.random() < 0.1:
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        place.write_bytes(b"\n".join(lines) + b"\n")
    else:
        place.write_text(json.dumps(value(json.loads(content), rng, values)))
    return None


def copied(whole, now):
    """The folder as it was, in place of what the last input left."""
    shutil.rmtree(now, ignore_errors=True)
    shutil.copytree(whole, now, symlinks=True)
