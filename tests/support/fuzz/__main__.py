"""The session: every kind in processes of its own, so that the rest goes on where one dies."""

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KEEP = Path(".nox/fuzz")
SILENCE = 240  # seconds of a process without a word, after which it hangs
SHARES = {  # of the files
    "manifest": 800,
    "blocks": 800,
    "table": 300,
    "own manifest": 300,
    "own blocks": 150,
    "claims": 450,
    "history": 350,
    "import": 300,
    "page": 100,
    "baseline": 250,
    "onnx": 450,
    "weights": 350,
    "checkpoint": 200,
    "archive": 150,
    "kernel": 50,
}
FILES, LINES, ENVIRONMENTS = sum(SHARES.values()), 1000, 300


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="support.fuzz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--environments", type=int, default=ENVIRONMENTS)
    parser.add_argument("--kind", help="of this kind alone")
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder for inputs that were not taken well")
    parser.add_argument("--replay", metavar="KIND:SEED:N", help="one input again, as it was kept")
    parser.add_argument(
        "--guided", type=int, metavar="SECONDS", help="readers of JSON alone, towards new branches (atheris)"
    )
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        kind, seed, first, count = given.part
        return part(kind, int(seed), range(int(first), int(first) + int(count)), given.keep.absolute())
    if given.guided:
        return guided(given.guided, given.seed, given.keep.absolute())
    if given.replay:
        kind, seed, n = given.replay.split(":")
        return part(kind, int(seed), range(int(n), int(n) + 1), given.keep.absolute())
    counts = {name: round(share * given.files / FILES) for name, share in SHARES.items()}
    counts |= {"line": given.lines, "environment": given.environments}
    if given.kind:
        counts = {given.kind: counts[given.kind]}
    start = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [*pool.map(lambda kind: in_processes(kind, counts[kind], given), counts)]
    total = sum(failures)
    tried = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"seed {given.seed}: {sum(counts.values())} inputs in {time.monotonic() - start:.0f} s ({tried})")
    print(f"{total} not taken well")
    return int(bool(total))


def guided(seconds, seed, keep) -> int:
    """Fuzzes readers towards new branches. atheris ends its process, so that its folder is removed here."""
    if importlib.util.find_spec("atheris") is None:
        print("--guided needs atheris, which has packages for Linux: pip install atheris", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="cellbench-guided-") as corpus:
        words = map(str, (seconds, seed + 1, keep, corpus))  # 0 would draw a seed
        return int(bool(subprocess.run([sys.executable, "-m", "support.fuzz.guided", *words]).returncode))


def in_processes(kind, count, given) -> int:
    """How many inputs of a kind were not taken well; one that ends or stops its process is one."""
    first, failures = 0, 0
    while first < count:
        command = [sys.executable, "-m", "support.fuzz", "--keep", str(given.keep.absolute())]
        command += ["--part", kind, str(given.seed), str(first), str(count - first)]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            last = first - 1
            killer = Killer(process)
            for line in process.stdout:
                killer.heard()
                if line.startswith("at "):
                    last = int(line[3:])
                else:
                    failures += line.startswith("not taken well")
                    print(line, end="", flush=True)
            code = process.wait()
            killer.stop()
            errors.seek(0)
            if code == 0:
                return failures
            said = errors.read()[-1500:]
        failures += 1
        how = f"its process ended with {code}" if not killer.fired else f"nothing came for {SILENCE} s"
        print(f"not taken well, {kind}:{given.seed}:{max(last, first)}: {how} {said}", flush=True)
        if last < first:
            return failures
        first = last + 1
    return failures


class Killer:
    """Ends a process from which nothing comes."""

    def __init__(self, process):
        import threading

        self.process, self.time, self.fired = process, time.monotonic(), False
        self.ended = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def heard(self):
        self.time = time.monotonic()

    def stop(self):
        self.ended.set()

    def watch(self):
        while not self.ended.wait(5):
            if time.monotonic() - self.time > SILENCE:
                self.fired = True
                self.process.kill()
                return


def part(name, seed, numbers, keep) -> int:
    """Tries inputs of a kind in this process; prints each that is not taken well, and how to see it again."""
    import resource

    from . import watch

    kind_class = kinds()[name]
    resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))  # an error, and not the whole machine
    said = sys.stdout
    with watch.sandbox() as folder:
        seen = watch.Watch(
            folder / "now", folder / "state", folder / "cache", folder / "tmp", folder / "home"
        )
        kind = kind_class(folder, seen)
        kind.warm()
        outcomes: Counter = Counter()
        for n in numbers:
            print(f"at {n}", file=said, flush=True)
            label, file, wrong = kind.tried(random.Random(f"{name} {seed} {n}"))
            outcomes[bool(wrong)] += 1
            if wrong:
                print(f"not taken well, {name}:{seed}:{n}: {label} of {file}", file=said)
                print(*(f"  {line}" for one in wrong for line in one.splitlines()), sep="\n", file=said)
                place = keep / f"{name.replace(' ', '-')}-{seed}-{n}"
                kept(kind.now, place)
                print(
                    f"  kept in {place}; again: python -m support.fuzz --replay {name!r}:{seed}:{n}".replace(
                        "'", '"'
                    ),
                    file=said,
                    flush=True,
                )
    return 0


def kept(folder, place):
    """Copies what the input was; what is no file is named."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, symlinks=True, ignore=_no_files)


def _no_files(folder, names):
    return [
        n
        for n in names
        if not ((p := Path(folder, n)).is_symlink() or p.is_file() or p.is_dir())
        or (p.is_file() and p.stat().st_size > 1 << 24)
    ]


def kinds():
    """Every kind by its name."""
    from . import environments, lines, others, results, weights

    members = (*results.KINDS, *weights.KINDS, *others.KINDS, lines.Lines, environments.Environments)
    return {one.name: one for one in members}


if __name__ == "__main__":
    sys.exit(main())
