"""The corpus: small files that others could have made, each with the exit code and the line that it gives.

python -m support.fuzz.corpus manifest:1:60 history:0:3-9   adds inputs of the session
python -m support.fuzz.corpus --renew                       writes what each gives now; read the difference
"""

import argparse
import json
import random
import shutil
import sys
from pathlib import Path

from . import watch

FOLDER = Path(__file__).parents[2] / "fuzz/corpus"
GIVES = FOLDER / "gives.json"
MOST = 200_000  # bytes of all
LARGEST = 4_000  # of one, but for what is not text
LONGEST = 60  # characters of a line that are held


def entries():
    """Each file of the corpus by kind and name, and [what reads it, exit code, the line's beginning]."""
    return json.loads(GIVES.read_text())


def given(kind, name, label):
    """(exit code, the line, what was wrong) of a file of the corpus, put in the place of the kind's own."""
    kind.restore()
    known = {one: (call, place) for one, call, place in kind.ways()}
    call, place = known[label]
    place.unlink()
    shutil.copy(FOLDER / kind.name / name, place)
    code, said, wrong = watch.taken(kind.seen, call)
    return code, said.strip().removeprefix("cellbench: ")[:LONGEST], wrong + kind.outside()


def opened(name, folder, seen):
    """The kind, ready to be tried."""
    from .__main__ import kinds

    return kinds()[name](folder, seen)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="support.fuzz.corpus")
    parser.add_argument("inputs", nargs="*", metavar="KIND:SEED:N")
    parser.add_argument("--renew", action="store_true")
    asked = parser.parse_args(arguments)
    known = entries() if GIVES.exists() else {}
    added: dict = {}
    for one in asked.inputs:
        name, seed, n = one.split(":")
        first, _, last = n.partition("-")
        added.setdefault(name, []).extend((int(seed), k) for k in range(int(first), int(last or first) + 1))
    for name in sorted({*added, *(known if asked.renew else ())}):
        with watch.sandbox() as folder:
            seen = watch.Watch(*(folder / n for n in ("now", "state", "cache", "tmp")))
            kind = opened(name, folder, seen)
            for seed, n in added.get(name, []):
                kind.restore()
                rng = random.Random(f"{name} {seed} {n}")
                label, _, file = kind.reads(rng)
                kind.mutated(file, rng)
                target = FOLDER / name / f"{seed}-{n}{file.suffix}"
                target.parent.mkdir(exist_ok=True)
                text = file.suffix in (".json", ".jsonl", "")
                usable = file.is_file() and not file.is_symlink()
                if usable and file.stat().st_size <= (LARGEST if text else 3 * LARGEST):
                    shutil.copy(file, target)
                    known.setdefault(name, {})[target.name] = [label, None, ""]
            for file, entry in known.get(name, {}).items():
                if entry[1] is None or asked.renew:
                    code, line, wrong = given(kind, file, entry[0])
                    entry[1:] = [code, line]
                    if wrong:
                        print(f"{name}/{file}: {wrong}")
    GIVES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(f"{sum(map(len, known.values()))} files, {sum(p.stat().st_size for p in FOLDER.rglob('*'))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
