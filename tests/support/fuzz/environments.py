"""Environments: variables, streams, limits and working directories, each command in a process of its own."""

import compileall
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cellbench
from cellbench.harness.store import code

from .kind import Kind
from .results import Results

NOWHERE = [
    "/proc/x",
    "/dev/null",
    "/nonexistent/a/b",
    "",
    "relative",
    "a" * 5000,
    "/dev/full",
    "line\nbreak",
    "/proc",
]
FOLDERS = ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
FOLDERS += ("CELLBENCH_CACHE", "CELLBENCH_DATA", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


def each(names, values):
    return dict.fromkeys(names, values)


VARIABLES = {
    **each(FOLDERS, [*NOWHERE, "\udcff\udcfe", "~/x", "."]),
    "TERM": ["", "dumb", "xterm-256color", "nonsense", "\x1b"],
    **each(("COLUMNS", "LINES"), ["", "0", "1", "-5", "abc", "9" * 30, "80"]),
    **each(("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "CI", "TTY_INTERACTIVE"), ["", "0", "1", "true"]),
    "PYTHONIOENCODING": [
        "latin-1",
        "ascii",
        "ascii:strict",
        "utf-16",
        "cp1252:replace",
        "utf-8:surrogateescape",
    ],
    **each(("LC_ALL", "LANG", "LC_CTYPE", "LANGUAGE"), ["C", "POSIX", "xx_YY.nope", "tr_TR.UTF-8", "", "de"]),
    **each(("PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE"), ["0", "1"]),
    "PYTHONOPTIMIZE": ["1", "2"],
    "PYTHONWARNINGS": ["error", "ignore", "nonsense"],
    "PYTHONHASHSEED": ["0", "1"],
    "PYTHONSAFEPATH": ["1"],
    "PATH": ["", "/nonexistent"],
    "TZ": ["", "nonsense", "Asia/Kathmandu", ":/dev/zero"],
    **each(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), ["0", "-1", "abc", "9" * 20]),
    "NUMBA_NUM_THREADS": ["1", "0", "abc", "9" * 20],
    "NUMBA_DISABLE_JIT": ["1"],
    "MPLBACKEND": ["nonsense", "Agg", ""],
    "CUDA_VISIBLE_DEVICES": ["", "-1", "abc"],
    "HYDRA_FULL_ERROR": ["1"],
    "GITHUB_ACTIONS": ["true", "false"],
    "GITHUB_STEP_SUMMARY": NOWHERE,
    "CELLBENCH_NOPE": ["1"],
    "CELLBENCH_PATIENCE_S": ["", "0", "-5", "nan", "1e999", "9" * 30, "30"],
    "USER": ["", "nobody"],
    "SOURCE_DATE_EPOCH": ["0", "abc"],
}
STREAMS = (
    "<&-",
    ">&-",
    "2>&-",
    ">/dev/full",
    "2>/dev/full",
    "<&- >&- 2>&-",
    "2>&1",
    "</dev/null",
)
LIMITS = (
    "ulimit -n 32",
    "ulimit -n 64",
    "ulimit -f 0",
    "ulimit -f 8",
    "ulimit -s 512",
    "ulimit -c 0",
    "umask 777",
)
LIMITS += (
    "umask 0",
    "cd /proc",
    "mkdir gone && cd gone && rmdir ../gone",
    "trap '' PIPE",
    "ulimit -v 12000000",
)
COMMANDS = (
    *("list", "--version", "--help", "run --help", "show elman", "doctor --seconds 0", "data list"),
    *("report {now}/a --output new", "compare {now}/a {now}/b", "compare {now}/a {now}/b --json c.json"),
    *(
        "history {now}/a --file new.jsonl --output new",
        "import {now}/import.json --results new",
        "run resume={now}/c",
    ),
    *("run --plan cells=[gru]", "run cells=[gru] probes=[parameters]", "run --plan -m seeds=1,2"),
    *(
        "report --claims {now}/claims {now}/a --output new",
        "nosuch",
        "show nosuch",
        "check {now}/import.json",
    ),
)
CLOSED = ("/proc", "/dev", "/nonexistent")  # where a try fails
BY_SIGNAL = (-25, 153)  # SIGXFSZ, which a limit of a file's size sends where nobody ignores it
SITE = """
import os, sys
sys.path.append({tests!r})
from support.fuzz.watch import Watch
seen = Watch(*{allowed!r})
seen.on = True
class Log(list):
    def append(self, what):
        seen.on = False
        with open({log!r}, "a") as file:
            file.write(what + "\\n")
        seen.on = True
seen.events = Log()
seen.starts = (*seen.starts, "uname", os.path.basename(sys.executable))
"""


class Environments(Kind):
    """The files are those of results, and whole; what is odd is the world around a command."""

    name = "environment"
    file, measured = "", True

    def build(self):
        Results.build(self)
        # Python would do so itself in a new checkout, and that is no file of a command's
        for room in code.ROOMS:
            compileall.compile_dir(code.PACKAGE / room, quiet=2, optimize=[0, 1, 2])
        compileall.compile_dir(Path(cellbench.__file__).parent, maxlevels=0, quiet=2, optimize=[0, 1, 2])

    def first(self):
        return []

    def tried(self, rng):
        self.restore()
        variables = {
            name: rng.choice(VARIABLES[name])
            for name in rng.sample(list(VARIABLES), rng.choice((1, 1, 2, 3)))
        }
        limit = rng.choice(LIMITS) if rng.random() < 0.3 else "true"
        stream = rng.choice(STREAMS) if rng.random() < 0.3 else ""
        command = rng.choice(COMMANDS).format(now=self.now)
        shell = f"{limit}; {sys.executable} -m cellbench.harness.cli {command} {stream}"
        label = " ".join(
            [*(f"{k}={shlex.quote(v)}" for k, v in variables.items()), f"sh -c {shlex.quote(shell)}"]
        )
        return label, "the environment", self.wrong(shell, variables)

    def wrong(self, shell, variables):
        log, site = self.folder / "tmp/log", self.folder / "site"
        log.unlink(missing_ok=True)
        site.mkdir(exist_ok=True)
        allowed = [str(self.folder / name) for name in ("now", "home", "state", "cache", "tmp")]
        (site / "sitecustomize.py").write_text(
            SITE.format(tests=str(Path(__file__).parents[2]), allowed=allowed, log=str(log))
        )
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        given = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
        try:
            done = subprocess.run(
                ["/bin/bash", "-c", shell],
                env=given,
                capture_output=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return ["more than 120 s"]
        said = done.stderr.decode(errors="replace")
        wrong = []
        if done.returncode not in (0, 1, 2, 3, *BY_SIGNAL):
            wrong.append(f"exit code {done.returncode}: {said[-1500:]}")
        elif "Traceback" in said or "Exception ignored" in said or "Fatal Python" in said:
            wrong.append(said[-2500:])
        elif (
            done.returncode == 2
            and sum(line.startswith("cellbench: ") for line in said.splitlines()) != 1
            and "2>" not in shell
        ):
            wrong.append(f"not one line: {said[-1500:]}")
        if log.exists():
            seen = set(log.read_text(errors="replace").splitlines())
            wrong += sorted(line for line in seen if not any(f" {place}" in line for place in CLOSED))[:10]
        return wrong
