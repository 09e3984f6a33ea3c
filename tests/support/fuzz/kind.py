"""A kind of input: files that are made once, mutated one by one, and read by what reads them."""

import contextlib
import io
import os
from pathlib import Path

from . import mutate, watch

EVIL = "from pathlib import Path\nPath({proof!r}).write_text('executed')\nclass Evil: pass\n"


class Kind:
    """A member gives `build` and `ways`; `values` are what is put into JSON."""

    name = ""
    values = mutate.ODD

    def __init__(self, folder, seen):
        """folder is the sandbox, seen its Watch."""
        self.folder, self.seen = folder, seen
        self.proof, self.whole, self.now = folder / "proof", folder / "whole" / self.name, folder / "now"
        self.whole.mkdir(parents=True)
        os.chdir(self.whole)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.build()
        Path("evil.py").write_text(EVIL.format(proof=str(self.proof)))
        self.restore()

    def build(self):
        """Writes good files into the working directory."""
        raise NotImplementedError

    def ways(self):
        """(what is done, as a person would write it; what does it; the file that it reads) of each way."""
        raise NotImplementedError

    def reads(self, rng):
        """One of the ways."""
        return rng.choice(self.ways())

    def mutated(self, file, rng):
        mutate.file(file, rng, self.values)

    def restore(self):
        os.chdir(self.folder)
        mutate.copied(self.whole, self.now)
        os.chdir(self.now)

    def warm(self):
        """Does what is done once with the good files, so that all is imported; it must go well."""
        for label, call in self.first():
            self.restore()
            code, said, wrong = watch.taken(self.seen, call)
            wrong = [one for one in wrong if not one.startswith(("took ", "started", "opened", "os.", "ran"))]
            if code == 2 or wrong:
                raise AssertionError(f"{self.name}: {label} of files that are whole: {code} {said} {wrong}")

    def first(self):
        """What `warm` does."""
        return [(label, call) for label, call, _ in self.ways()]

    def tried(self, rng):
        """(what was done, of which file, what was wrong with how it was taken)."""
        self.restore()
        label, call, file = self.reads(rng)
        self.mutated(file, rng)
        _, _, wrong = watch.taken(self.seen, call)
        return label, file, wrong + self.outside()

    def outside(self):
        """What an input did that no audit hook needs to tell."""
        wrong, mine = [], self.folder / "thesis/index.html"
        if self.proof.exists():
            self.proof.unlink()
            wrong.append("code of the file ran")
        if mine.read_text() != "mine":
            mine.write_text("mine")
            wrong.append("it overwrote a file outside")
        return wrong
