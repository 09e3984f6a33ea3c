"""Readers of JSON, fuzzed towards new branches: atheris mutates inputs that reached one.

python -m support.fuzz.guided SECONDS SEED KEEP CORPUS: an input that is not taken well is kept in the folder
KEEP. CORPUS is a folder to begin in.
"""

import sys
from pathlib import Path

import atheris

from .. import stored_runs

with atheris.instrument_imports(include=["cellbench.harness.store", "cellbench.harness.regress.history"]):
    from cellbench.harness.regress.history import file as history
    from cellbench.harness.regress.history import points
    from cellbench.harness.store import block, files, manifest


def checked_manifest(data):
    content = files.parse(data)
    if isinstance(content, dict):
        manifest.check(content)


READERS = (checked_manifest, block.decode, lambda data: history._point(Path("history"), 1, data))


def taken(data):
    """A reader gives a value, or one line that says why not; anything else ends atheris."""
    for read in READERS:
        try:
            read(data)
        except ValueError as error:  # ResultsError and BlockError are such
            assert "\n" not in str(error), error


def begin(corpus):
    """Writes what is whole into the folder, and returns a file of the words that stand in it."""
    run = stored_runs.a_run(corpus / "runs", stored_runs.program(), stored_runs.native())
    lines = [(run / "manifest.json").read_bytes(), *(run / "cases.jsonl").read_bytes().splitlines()]
    history_lines = corpus / "history.jsonl"
    history.append(history_lines, points.points_of(run).points)
    lines += history_lines.read_bytes().splitlines()
    (corpus / "seeds").mkdir()
    for n, line in enumerate(lines):
        (corpus / "seeds" / str(n)).write_bytes(line)
    words = sorted({word for line in lines for word in line.decode().split('"')[1::2] if word.isidentifier()})
    (corpus / "words").write_text("".join(f'"\\"{word}\\":"\n' for word in words))
    return corpus / "words"


def main(seconds, seed, keep, corpus):
    Path(keep).mkdir(parents=True, exist_ok=True)
    words = begin(Path(corpus))
    options = ("-timeout=20", "-rss_limit_mb=3000", f"-max_total_time={seconds}", f"-seed={seed}")
    options += (f"-dict={words}", f"-artifact_prefix={keep}/guided-", "-print_final_stats=1", "-verbosity=0")
    atheris.Setup([sys.argv[0], *options, f"{corpus}/seeds"], taken)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main(*sys.argv[1:])
