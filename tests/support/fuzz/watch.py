"""What an input makes a process do, seen from inside of it: files, code, processes, time and memory."""

import contextlib
import importlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

SECONDS = 60
GROWTH = 1 << 30  # bytes that one input may take
LINE = 1100  # characters of one line for a person
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("remove", "rename", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown")
STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn")
REACHES = ("socket.connect", "socket.getaddrinfo", "socket.bind")
HARMLESS = ("git", "nvidia-smi", "fc-list")  # what a manifest of one's own and Matplotlib ask
RUNS = ("exec", "eval", "compile", "open", "__import__", "system", "popen", "Popen")  # in a pickle


class TooSlow(BaseException):
    """An input took longer than a person waits."""


class Watch:
    """Sees, while it is on, what happens outside of the folders that may be written; `events` has it."""

    def __init__(self, *allowed):
        self.allowed = tuple(str(Path(path).resolve()) for path in allowed)
        self.also: tuple[str, ...] = ()  # folders in which files may be written too
        self.evil = self.allowed[0]  # no code of a file below it may run
        self.starts = HARMLESS
        self.events: list[str] = []
        self.on = False
        sys.addaudithook(self.see)

    def see(self, event, arguments):
        """The audit hook."""
        if not self.on:
            return
        if event == "exec":
            name = str(getattr(arguments[0], "co_filename", ""))
            if name.startswith(self.evil) or "evil" in Path(name).name:
                self.events.append(f"ran {name}")
        elif event == "open" and isinstance(arguments[0], (str, bytes)) and (arguments[2] or 0) & WRITES:
            self._outside("opened to write", arguments[0])
        elif event in ("os.remove", "os.rmdir"):  # of a link itself, and not of what it leads to
            self._outside(event, arguments[0], follow=False)
        elif event.startswith("os.") and event[3:] in CHANGES:
            self._outside(event, arguments[0])
            if event in ("os.rename", "os.link"):
                self._outside(event, arguments[1])
        elif event in STARTS and not self._known(arguments):
            self.events.append(f"started {arguments!r:.300}")
        elif event in REACHES or (event == "pickle.find_class" and arguments[1] in RUNS):
            self.events.append(f"{event} {arguments!r:.300}")

    def _known(self, arguments):
        return bool(arguments) and Path(os.fsdecode(arguments[0])).name in self.starts

    def _outside(self, what, path, follow=True):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        path = Path(os.fsdecode(path))
        place = os.path.realpath(path) if follow else f"{os.path.realpath(path.parent)}/{path.name}"
        inside = any(place == f or place.startswith(f + os.sep) for f in (*self.allowed, *self.also))
        if not inside and place != os.devnull:
            self.events.append(f"{what} {place}")


def taken(watch, call, ends=(0, 1, 2, 3)):
    """(what call() returns, what it wrote to standard error, what was wrong with how it went).

    An exit code must be one of `ends`; 2 has one line to say why, which a terminal may be shown.
    """
    out, error = io.StringIO(), io.StringIO()
    watch.events.clear()
    start, before = time.monotonic(), _most()
    wrong, code = [], None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _within(SECONDS):
                watch.on = True
                try:
                    code = call()
                finally:
                    watch.on = False
    except TooSlow:
        wrong.append(f"more than {SECONDS} s: {traceback.format_exc()[-1500:]}")
    except BaseException:
        wrong.append(traceback.format_exc()[-2500:])
    said = error.getvalue()
    wrong += watch.events
    if code is not None and code not in ends:
        wrong.append(f"exit code {code}")
    if code == 2 and (said.count("\n") != 1 or len(said) > LINE):
        wrong.append(f"not one line: {said!r:.2000}")
    if bad := sorted({c for c in out.getvalue() + said if not c.isprintable() and c not in "\n\t"}):
        wrong.append(f"shows {bad}")
    if "Traceback" in said:
        wrong.append(said[-1500:])
    if (grown := _most() - before) > GROWTH:
        wrong.append(f"took {grown >> 20} MiB")
    if time.monotonic() - start > SECONDS and not wrong:
        wrong.append(f"more than {SECONDS} s")
    return code, said, wrong


def _most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextlib.contextmanager
def _within(seconds):
    def end(number, frame):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def sandbox():
    """A folder with a home, state, cache and temporary files of its own."""
    importlib.import_module("matplotlib.font_manager")  # looks for fonts, unless it knows them of old
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="cellbench-fuzz-") as place:
        folder, before = Path(place).resolve(), dict(os.environ)
        for name in ("home", "state", "cache", "tmp", "thesis"):
            (folder / name).mkdir()
        (folder / "thesis/index.html").write_text("mine")
        os.environ |= {
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "CELLBENCH_CACHE": str(folder / "cache/cellbench"),
            "CELLBENCH_DATA": str(folder / "cache/data"),
            "MPLCONFIGDIR": str(folder / "cache/matplotlib"),
            "TMPDIR": str(folder / "tmp"),
        }
        tempfile.tempdir = None
        key = folder / "state/cellbench/key"
        key.parent.mkdir()
        key.write_bytes(b"k" * 32)  # the same in each process, so that an input can be made again
        key.chmod(0o600)
        try:
            yield folder
        finally:
            os.chdir("/")
            os.environ.clear()
            os.environ |= before
            tempfile.tempdir = None
