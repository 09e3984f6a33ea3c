"""The committed corpus of hostile and damaged files: each gives what it gave, and does nothing else.

`python -m support.fuzz.corpus` adds to it; `nox -s fuzz` tries thousands more.
"""

import os
from pathlib import Path

import pytest
from support.fuzz import corpus, watch
from support.fuzz.__main__ import kinds

ENTRIES = corpus.entries()


@pytest.fixture(scope="module")
def seen():
    """A sandbox with the audit hook; the hook stays for good, and is off between inputs."""
    before = Path.cwd()
    with watch.sandbox() as folder:
        yield folder, watch.Watch(*(folder / name for name in ("now", "state", "cache", "tmp")))
    os.chdir(before)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n == "import" else ()) for n in ENTRIES]
)
def test_every_file_of_the_corpus_gives_its_line_and_runs_and_writes_nothing(name, seen):
    kind = kinds()[name](*seen)
    for file, (label, code, line) in ENTRIES[name].items():
        found, said, wrong = corpus.given(kind, file, label)
        assert (found, said, wrong) == (code, line, []), (file, label)


def test_the_corpus_has_two_hundred_small_files():
    files = [path for path in corpus.FOLDER.rglob("*") if path.is_file() and path != corpus.GIVES]
    assert {f"{path.parent.name}/{path.name}" for path in files} == {
        f"{name}/{file}" for name, known in ENTRIES.items() for file in known
    }
    assert len(files) >= 200
    assert sum(path.stat().st_size for path in files) <= corpus.MOST


def test_the_watch_sees_what_a_hostile_file_could_do(seen, tmp_path):
    """Without it the tests above could not fail."""
    folder, watching = seen
    mine, now = str(folder / "thesis/index.html"), folder / "now"
    evil = compile("1", str(now / "evil.py"), "exec")
    seen_by = {
        "exec": (evil,),
        "open": (mine, "w", os.O_WRONLY),
        "os.remove": (mine, -1),
        "os.rename": (str(now / "a"), mine, -1, -1),
        "os.system": (b"true",),
        "pickle.find_class": ("builtins", "exec"),
        "socket.connect": (None, ("127.0.0.1", 9)),
    }
    for event, arguments in seen_by.items():
        watching.events.clear()
        watching.on = True
        watching.see(event, arguments)
        watching.on = False
        assert len(watching.events) == 1, event
    watching.events.clear()
    watching.on = True
    watching.see("open", (str(now / "page/index.html"), "w", os.O_WRONLY))
    watching.see("open", (mine, "r", os.O_RDONLY))
    watching.on = False
    assert not watching.events


def test_a_traceback_a_wrong_code_and_what_no_terminal_may_have_are_seen(seen):
    _, watching = seen

    def broken():
        raise KeyError("x")

    assert "KeyError" in watch.taken(watching, broken)[2][0]
    assert "exit code 7" in watch.taken(watching, lambda: 7)[2]
    assert "not one line" in watch.taken(watching, lambda: 2)[2][0]
    assert "shows" in watch.taken(watching, lambda: print("\x1b") or 0)[2][0]
    assert watch.taken(watching, lambda: 0)[2] == []
