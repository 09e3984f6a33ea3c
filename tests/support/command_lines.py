"""Random command lines out of each command's grammar, with odd values, that start no long work."""

ODD = [
    *("", " ", "~", "~nosuch/x", "/", "/dev/null", "/dev/null/x", ".", "..", "nowhere", "\x1b[31m", "\udc80"),
    *("a" * 300, "a" * 5000, "ü→", "null", "None", "nan", "inf", "-1", "0", "1e400", "9" * 40, "٣", "True"),
    *(
        "[",
        "[]",
        "[[]]",
        "{}",
        "{a:1}",
        "a=b",
        "=",
        ":",
        "::",
        "a:b:c",
        "a,b",
        "'",
        '"',
        "$(x)",
        "${x}",
        "??",
    ),
    *(
        "gru",
        "lstm:layers=2",
        "elman:activation=nope",
        "gru:hidden=3",
        "numba",
        "folder",
        "here.py",
        "here.py:A",
    ),
    *("broken.py:A", "leaves.py:A", "zero.py", "zero.npz", "one.npy", "run", "here.py:A:x=1", "a\x00b", "\n"),
    *("-", "--", "-x", "--nope", "--help=1", "-m", "@x", "%s", "%(prog)s", "loop", "folder/../folder"),
]
KEYS = [
    *("cells", "backends", "probes", "tasks", "workload.steps", "workload.batch", "workload.hidden_size"),
    *("match", "direction", "dtype", "device", "threads", "seeds", "results", "budget_s", "case_timeout_s"),
    *("probe.throughput.samples", "probe.training.epochs", "experiment", "resume", "probe.x", "hydra.x", "x"),
]
FLAGS = {
    "check": [
        "--against",
        "--kernel",
        "--weights",
        "--input-size",
        "--hidden-size",
        "--steps",
        "--batch",
        "--dtype",
        "--seed",
    ],
    "claims": ["--output"],
    "compare": ["--results", "--json", "--output"],
    "data": [],
    "doctor": ["--json"],
    "history": ["--file", "--output"],
    "import": ["--results"],
    "list": [],
    "regress": ["--output"],
    "report": ["--results", "--output", "--claims", "--probe"],
    "run": ["-m"],
    "show": ["--input-size", "--hidden-size", "--dtype", "--kernel", "--resources"],
}
FILES = {
    "here.py": "class A:\n    pass\n",
    "broken.py": "raise KeyError('x')\n",
    "leaves.py": "import os\nos._exit(0)\n",
    "zero.py": "",
    "zero.npz": "",
}


def write_files(folder):
    """What some of the odd values name."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")


def line(rng):
    """A command line: a command, a few arguments and flags, in any order."""

    def odd():
        return str(ODD[rng.integers(len(ODD))])

    def override():
        return f"{KEYS[rng.integers(len(KEYS))]}={odd()}"

    command = str(rng.choice(list(FLAGS)))
    words = [override() if rng.random() < 0.8 else odd() for _ in range(rng.integers(1, 4))]
    if command not in ("run", "compare", "regress"):
        words = [odd() for _ in range(rng.integers(0, 3))]
    for _ in range(rng.integers(0, 3)):
        if flags := FLAGS[command]:
            flag = str(rng.choice(flags))
            words += [flag, odd()] if rng.random() < 0.5 else [f"{flag}={odd()}"]
    words = [words[k] for k in rng.permutation(len(words))]
    return [command, *words, *_harmless(command, odd)]


def _harmless(command, odd):
    """What keeps a command from long work, whatever else stands in its line."""
    if command == "run":
        return ["--plan", "probes=[parameters]"] if len(odd()) % 2 else ["--plan"]
    if command == "doctor":
        return ["--seconds", "0"]
    if command in (
        "claims",
        "data",
        "regress",
    ):  # a name that there is not, so that nothing is measured or fetched
        return [{"claims": "nosuchclaim", "data": "nosuchtask", "regress": "base=nosuchrevision"}[command]]
    if command == "compare":
        return ["workload.steps=nosuchsize"]
    return []
