"""Sessions: report (the default comparison and its page), tests, lint, bench, regress, baselines; studies.
One environment.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from datetime import datetime
from pathlib import Path

import nox

nox.options.sessions = ["report"]
DOCS = ("mkdocs-material", "mkdocstrings[python]")
EXCHANGE = ("keras", "jax", "flax", "equinox")  # what weights go to and come from
ENVIRONMENT = Path(".nox/cellbench").absolute()
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# nox gives every session an environment of its own; with torch in it that is a minute and 1.5 GB each, so
# they make one
session = nox.session(venv_backend="none")


def run(session: nox.Session, program: str, *arguments: str, **options) -> None:
    """Runs a program of the shared environment."""
    session.run(str(ENVIRONMENT / "bin" / program), *arguments, external=True, **options)


def install(session: nox.Session) -> None:
    """The project and the tested set of packages; nothing is fetched again where neither has changed."""
    stamp = ENVIRONMENT / "installed"
    wanted = "".join(Path(f).read_text() for f in ("constraints.txt", "pyproject.toml")) + sys.version
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    pip = ("-m", "pip", "install", "--no-compile", "-c", "constraints.txt", "-e", ".[test,lint]")
    run(session, "python", *pip)
    # pip compiles one file after the other, and the tests of libraries too; a file that is not Python is left
    compiling = ("-q", "-q", "-j", "0", "-x", "site-packages/.*/tests?/", str(ENVIRONMENT / "lib"))
    run(session, "python", "-m", "compileall", *compiling, success_codes=[0, 1])
    stamp.write_text(wanted)


@session
def report(session: nox.Session) -> None:
    """Runs the default comparison and writes its page. Further overrides: nox -s report -- KEY=VALUE."""
    install(session)
    run(
        session, "cellbench", "data", "fetch", success_codes=[0, 1]
    )  # data that is absent becomes rows that say so
    results = [a.partition("=")[2] for a in session.posargs if a.startswith("results=")]
    try:
        run(session, "cellbench", "run", "experiment=report", *session.posargs)
    finally:  # a run with a case that went wrong has its page too, and is an error all the same
        run(session, "cellbench", "report", *(f"--results={folder}" for folder in results))


@session
def tests(session: nox.Session) -> None:
    """The test suite, in two processes; the tests of data that cannot be fetched are skipped."""
    install(session)
    # hundreds of processes import the project, and where PYTHONDONTWRITEBYTECODE is set each compiles it anew
    run(session, "python", "-m", "compileall", "-q", "-j", "0", "cells", "harness")
    run(session, "cellbench", "data", "fetch", success_codes=[0, 1])
    run(session, "pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


@session
def anchors(session: nox.Session) -> None:
    """Published and computed anchors of the gradient measures, measured again (about 15 minutes)."""
    install(session)
    run(session, "python", "-m", "cellbench.harness.studies.anchors", env=ONE_THREAD)


@session
def claims(session: nox.Session) -> None:
    """The lecture's claims, measured and judged, and their page (about 8 minutes). nox -s claims -- NAME for
    some of them.
    """
    install(session)
    run(session, "cellbench", "claims", *session.posargs, env=ONE_THREAD)


@session
def verdicts(session: nox.Session) -> None:
    """Verdicts on 65 networks whose condition is known, and their confusion matrix (8 to 15 minutes)."""
    install(session)
    suite = ("-m", "support.verdict_suite", "results/reference/verdicts")
    run(session, "python", *suite, env=ONE_THREAD | {"PYTHONPATH": "tests"})


@session(name="history-study")
def history_study(session: nox.Session) -> None:
    """False alarms and power of detectors of change points, ruptures' and asv's among them (under 10
    minutes).
    """
    install(session)
    run(session, "python", "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[study]")
    run(session, "python", "-m", "cellbench.harness.studies.history", *session.posargs, env=ONE_THREAD)


@session(name="long-sequences")
def long_sequences(session: nox.Session) -> None:
    """Time and memory of the gradient measures up to a million steps (about 15 minutes)."""
    install(session)
    run(session, "python", "-m", "cellbench.harness.studies.long_sequences", env=ONE_THREAD)


@session
def parity(session: nox.Session) -> None:
    """500 random configurations of all cells and backends against float64 (about 20 minutes). Further options
    of pytest after --; CELLBENCH_PARITY and CELLBENCH_SEED choose how many and where they begin.
    """
    install(session)
    variables = {"CELLBENCH_PARITY": "500"} | ONE_THREAD | dict(os.environ)
    run(session, "pytest", "tests/parity", *session.posargs, env=variables)


@session
def laws(session: nox.Session) -> None:
    """The tests with every cell in both formats, and all ports, mutants, claims and networks (30 minutes)."""
    install(session)
    run(session, "pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env={"CELLBENCH_LAWS": "all"})


@session
def kernels(session: nox.Session) -> None:
    """Printed Triton kernels of every cell in Triton's interpreter against float64, and the compiler's code
    on the CPU (about 20 minutes).
    """
    install(session)
    env = ONE_THREAD | {"CELLBENCH_KERNELS": "all"}
    files = (f"tests/gpu/test_kernels_{name}.py" for name in ("interpreted", "ptx"))
    run(session, "pytest", *files, *session.posargs, env=env)


@session(name="oldest-triton")
def oldest_triton(session: nox.Session) -> None:
    """Compiles Triton kernels of every cell with the oldest Triton that pyproject.toml allows (about 10
    minutes).

    It lies in a folder of its own beside the environment, as torch wants a newer one.
    """
    install(session)
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    floor = extras["triton"][0].partition(";")[0].replace(">=", "~=") + ".0"
    folder = Path(".nox/oldest-triton").absolute()
    if not folder.exists():
        run(session, "python", "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), floor)
    env = ONE_THREAD | {"CELLBENCH_OLDEST_TRITON": str(folder)}
    run(session, "pytest", "tests/gpu/test_kernels_oldest_triton.py", *session.posargs, env=env)


@session
def resources(session: nox.Session) -> None:
    """Records what Triton kernels take of GPUs: nox -s resources [-- CELL ...]; -- --check compares (about 15
    minutes).
    """
    install(session)
    run(session, "python", "-m", "cellbench.harness.studies.resources", *session.posargs, env=ONE_THREAD)


@session
def gpu(session: nox.Session) -> None:
    """Every case on a CUDA device; the same command goes on where it stopped. nox -s gpu -- --dry walks
    through all of them on the CPU (under 3 minutes); -- --here takes this Python's packages as they are.
    """
    words = [word for word in session.posargs if word != "--here"]
    study = ("-m", "cellbench.harness.studies.gpu", *words)
    if len(words) < len(session.posargs):  # no network: torch and Triton are those of the machine
        variables = ONE_THREAD | {"PYTHONPATH": str(Path("src").absolute())}
        session.run(sys.executable, *study, env=variables, external=True)
        return
    install(session)
    run(session, "python", *study, env=ONE_THREAD)


@session(name="tasks")
def every_task(session: nox.Session) -> None:
    """What cells learn, on every task (hours). Further overrides after --, or resume=RUN to go on with an
    interrupted run.
    """
    install(session)
    run(
        session, "cellbench", "data", "fetch", success_codes=[0, 1]
    )  # data that is absent becomes rows that say so
    resumed = any(a.startswith("resume=") for a in session.posargs)
    run(session, "cellbench", "run", *([] if resumed else ["experiment=tasks"]), *session.posargs)
    run(session, "cellbench", "report")


@session
def cluster(session: nox.Session) -> None:
    """The launchers tried, and jobs on a real Slurm: killed, cancelled, requeued, over their time (under 10
    minutes). As root; -- --install installs Debian's Slurm, and without it the session says that it skips.
    """
    install(session)
    run(session, "pytest", "tests/runs/test_launchers.py", env=ONE_THREAD | {"CELLBENCH_CLUSTER": "1"})
    run(session, "python", "-m", "cellbench.harness.studies.cluster", *session.posargs, env=ONE_THREAD)


@session
def ray(session: nox.Session) -> None:
    """A sweep that Ray carries (about 3 minutes).

    An environment of its own: hydra-ray-launcher's packages want an older python-dateutil than the tested.
    """
    environment = Path(".nox/ray").absolute()
    session.run(sys.executable, "-m", "venv", str(environment), external=True)
    program = str(environment / "bin" / "python")
    pins = Path("constraints.txt").read_text().splitlines()
    others = environment / "constraints.txt"
    others.write_text("\n".join(pin for pin in pins if not pin.startswith("python-dateutil")))
    packages = ("-c", str(others), "-e", ".[test,ray]")
    session.run(program, "-m", "pip", "install", "-q", *packages, external=True)
    tests = ("tests/runs/test_launchers.py", "-k", "ray", "-rs")
    env = ONE_THREAD | {"CELLBENCH_CLUSTER": "1", "RAY_raylet_start_wait_time_s": "300"}
    session.run(program, "-m", "pytest", *tests, *session.posargs, env=env, external=True)


@session
def regress(session: nox.Session) -> None:
    """The working tree against a revision, in the same processes: nox -s regress -- base=REV [KEY=VALUE]."""
    install(session)
    run(session, "cellbench", "regress", *session.posargs)


@session(name="aa-study")
def aa_study(session: nox.Session) -> None:
    """How often the verdict is wrong: nox -s aa-study -- --trials N (40: about 10 minutes; 300: about an
    hour).
    """
    install(session)
    run(session, "python", "-m", "cellbench.harness.studies.aa", *session.posargs)


@session
def baselines(session: nox.Session) -> None:
    """Records what no machine's noise can change: nox -s baselines [-- CELL ...]; -- --check compares, and
    changes nothing.
    """
    install(session)
    run(session, "python", "-m", "cellbench.harness.regress.baselines", *session.posargs, env=ONE_THREAD)


@session(name="cpu-kernels")
def cpu_kernels(session: nox.Session) -> None:
    """The fused kernels against ONNX Runtime and torch.nn over batch and hidden size (under 15 minutes).
    nox -s cpu-kernels -- --all for every cell against torch's loop (about 40 minutes).
    """
    install(session)
    study = ("-m", "cellbench.harness.studies.cpu_kernels")
    run(session, "python", *study, *session.posargs, env=ONE_THREAD)


@session
def kills(session: nox.Session) -> None:
    """200 kills of every command that measures or writes, at random instants, each gone on with (about 15
    minutes on two idle cores). nox -s kills -- --kills N --only COMMAND --seed S for others.
    """
    install(session)
    run(session, "python", "-m", "cellbench.harness.studies.kills", *session.posargs, env=ONE_THREAD)


@session
def loading(session: nox.Session) -> None:
    """How long 100 000 and 1 000 000 rows take to load and to summarise; 10 million rows of 5,000 runs, with
    the memory that their summary takes (about 5 minutes).
    """
    install(session)
    run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[scale]")
    run(session, "python", "-m", "cellbench.harness.studies.loading", *session.posargs, env=ONE_THREAD)


@session
def lint(session: nox.Session) -> None:
    """ruff, mypy, import-linter, and zizmor over the workflows."""
    install(session)
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")
    run(session, "lint-imports")
    run(session, "zizmor", "--offline", "--strict-collection", "--no-progress", ".github", "action.yml")


@session
def bench(session: nox.Session) -> None:
    """pytest-benchmark over cells, backends and the harness itself, taken over as a run; then fused kernels
    against torch.nn.
    """
    install(session)
    file = Path("results/bench") / f"{datetime.now():%Y%m%d-%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    options = ("--benchmark-enable", f"--benchmark-json={file}")
    files = [f"tests/speed/bench_{name}.py" for name in ("backends", "gradients", "measure")]
    run(session, "pytest", *files, *options, *session.posargs, env=ONE_THREAD)
    run(session, "cellbench", "import", str(file))
    run(session, "cellbench", "run", "experiment=speed")
    run(session, "cellbench", "report")


@session
def fuzz(session: nox.Session) -> None:
    """5,000 mutated files of 15 kinds, 1,000 command lines, 300 environments (about 15 minutes).
    nox -s fuzz -- --seed 1; one that was not taken well is kept in .nox/fuzz, and named with its replay.
    nox -s fuzz -- --guided 300 has atheris look for new branches of the readers, for 300 seconds.
    """
    install(session)
    guided = any(a.startswith("--guided") for a in session.posargs)
    extra = ".[fuzz,guided]" if guided else ".[fuzz]"
    run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", extra)
    variables = ONE_THREAD | {"PYTHONPATH": "tests", "CELLBENCH_FUZZ": "2000"}
    if not guided:
        run(session, "pytest", "tests/fuzz/test_readers.py", env=variables)
    run(session, "python", "-m", "support.fuzz", *session.posargs, env=variables)


@session
def docs(session: nox.Session) -> None:
    """Builds the site into site/; a broken link or a public name without a docstring is an error."""
    install(session)
    run(session, "pytest", "tests/project/test_docs.py", "-k", "docstring")
    environment = Path(".nox/docs").absolute()
    session.run(sys.executable, "-m", "venv", str(environment), external=True)
    program = environment / "bin" / "python"
    session.run(str(program), "-m", "pip", "install", "-q", "-c", "constraints.txt", *DOCS, external=True)
    session.run(str(program), "-m", "mkdocs", "build", "--strict", *session.posargs, external=True)


@session
def exchange(session: nox.Session) -> None:
    """Weights to and from Keras, flax and equinox, held against what each computes (about 6 minutes).

    An environment of its own: the tests of all else must pass without these libraries.
    """
    environment = Path(".nox/exchange").absolute()
    session.run(sys.executable, "-m", "venv", str(environment), external=True)
    program = str(environment / "bin" / "python")
    packages = ("-c", "constraints.txt", "-e", ".[test]", *EXCHANGE)
    session.run(program, "-m", "pip", "install", "-q", *packages, external=True)
    files = ("tests/exchange", "tests/cells/test_check_files.py", "tests/project/test_docs.py")
    files += ("tests/cells/test_backend_jax.py",)
    tests = (*files, "-k", "exchange or check_files or backend_jax")
    env = ONE_THREAD | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    session.run(program, "-m", "pytest", *tests, *session.posargs, env=env, external=True)


@session
def browser(session: nox.Session) -> None:
    """The report's page in chromium, which must be installed (about a minute)."""
    install(session)
    run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "playwright")
    run(session, "pytest", "tests/report/test_report_browser.py", "-rs", *session.posargs)


@session
def trackers(session: nox.Session) -> None:
    """Numbers go to MLflow and Weights & Biases, offline (about a minute)."""
    install(session)
    run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "mlflow-skinny", "wandb")
    run(session, "pytest", "tests/gradients/test_trackers.py", "-rs", *session.posargs)


@session
def lowest(session: nox.Session) -> None:
    """The quick tests with the oldest Python and packages that pyproject.toml allows (about 10 minutes).

    nox -s lowest -- torch takes torch from constraints.txt, where no index has its floor.
    """
    pins = Path("constraints.txt").read_text().splitlines()
    tested = {pin.partition("==")[0]: pin for pin in pins if "==" in pin}
    if unknown := [name for name in session.posargs if name not in tested]:
        session.error(f"constraints.txt has no {unknown[0]}; name packages that stand there")
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    environment = Path(".nox/lowest").absolute()
    oldest = f"python{project['requires-python'].removeprefix('>=')}"
    session.run(oldest, "-m", "venv", "--clear", str(environment), external=True)
    program = str(environment / "bin" / "python")
    session.run(program, "-m", "pip", "install", "-q", "-c", "constraints.txt", "uv", external=True)
    taken, versions = environment / "tested.txt", environment / "lowest.txt"
    taken.write_text("".join(f"{tested[name]}\n" for name in session.posargs))
    floors = ("--extra", "test", "--resolution", "lowest-direct", "--override", str(taken))
    resolved = ("pip", "compile", "-q", "pyproject.toml", *floors, "-o", str(versions))
    session.run(program, "-m", "uv", *resolved, external=True)
    # pip installs, as in every session: it looks where PIP_EXTRA_INDEX_URL and PIP_FIND_LINKS say
    session.run(program, "-m", "pip", "install", "-q", "-c", str(versions), "-e", ".[test]", external=True)
    session.run(program, "-m", "pytest", "-m", "quick", env=ONE_THREAD, external=True)


@session
def wheel(session: nox.Session) -> None:
    """Builds dist/, and runs the quick comparison with the wheel in an empty environment."""
    install(session)
    shutil.rmtree("dist", ignore_errors=True)
    run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", "build")
    run(session, "python", "-m", "build")
    built, constraints = next(Path("dist").glob("*.whl")).absolute(), Path("constraints.txt").absolute()
    folder = Path(session.create_tmp()).absolute()
    session.run(sys.executable, "-m", "venv", "--clear", str(folder / "empty"), external=True)
    program = folder / "empty" / "bin" / "python"
    session.run(str(program), "-m", "pip", "install", "-q", "-c", str(constraints), str(built), external=True)
    with session.chdir(folder):
        session.run(str(folder / "empty" / "bin" / "cellbench"), "run", "experiment=quick", external=True)
