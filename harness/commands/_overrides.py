"""The keys of the configuration as the help of run, regress and compare lists them."""

from __future__ import annotations

from collections.abc import Sequence

# key, default, meaning; the tests hold the keys and defaults against conf/config.yaml
KEYS = (
    ("cells", "[elman,lstm,gru]", "names, path/to/file.py:Name, options as elman:activation=relu; or all"),
    ("backends", "[numpy,numba,torch,native]", "what runs the cells, in the same forms; or all"),
    (
        "probes",
        "[parameters,throughput,gradient_decay,clipping,training]",
        "what is measured of them; or all",
    ),
    (
        "tasks",
        "[adding,spoken_digits]",
        "what the probe training learns; options as adding:steps=200",
    ),
    ("workload.steps", "[64,256]", "T, time steps of a sequence"),
    ("workload.batch", "16", "B, sequences at once; probes of gradients and of learning have their own"),
    ("workload.input_size", "32", "I, numbers in at each step"),
    ("workload.hidden_size", "64", "H, units of the state"),
    ("match", "null", "parameters, operations or state: hidden sizes with the first cell's budget"),
    ("direction", "[forward,backward]", "backward times forward and backward, as a training step does"),
    ("dtype", "float32", "float32, float64, or on torch and native bfloat16 or float16"),
    ("device", "cpu", "cpu or cuda"),
    ("threads", "1", "threads of BLAS, OpenMP and Numba"),
    ("seeds", "2", "a number of seeds, from 0 on, or a list of them"),
    ("results", "results/runs", "the folder that the run's own folder is made in"),
    ("budget_s", "null", "seconds for the whole run; the cases after that are skipped"),
    ("objective", "null", "PROBE.METRIC, such as throughput.seconds: what hydra/sweeper=optuna searches by"),
    ("pruner", "null", "median, hyperband or another of Optuna's: ends hopeless trainings of a search"),
    ("case_timeout_s", "300", "seconds without a sign of life after which a case is ended"),
)
# the keys that regress and compare read: they time what the probe throughput times, on one thread
TIMED = (
    *("cells", "backends", "workload.steps", "workload.batch", "workload.input_size", "workload.hidden_size"),
    *("direction", "dtype", "device", "results", "case_timeout_s"),
)
RESUME = ("resume=RUN", "the folder of an interrupted comparison, to go on where it stopped")
OPTIONS = "an option of a probe; the head of its file in harness/probes names them"
INDENT = 28  # of the meanings


def refuse_unread(overrides: Sequence[str], command: str) -> None:
    """Raises ConfigError for a key that `run` reads and this command would leave unread."""
    from ..runs.values import ConfigError

    # probes and threads are read, to be refused with a reason of their own
    unread = {name for name, *_ in KEYS} - {*TIMED, "probes", "threads"}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in unread or key.startswith("probe."):
            raise ConfigError(f"{command} does not read {key}; leave it out. It reads {', '.join(TIMED)}")


def resumed_run(overrides: Sequence[str]) -> str:
    """The run of resume=RUN, beside which nothing else may stand. Raises ConfigError."""
    from ..runs.values import ConfigError

    runs = [o for o in overrides if o.startswith("resume=")]
    if others := [o for o in overrides if o is not runs[0]]:
        raise ConfigError(f"resume takes its configuration from the run; leave out {' '.join(others)}")
    return runs[0].partition("=")[2]


def keys(names: tuple[str, ...] | None = None, defaults: dict[str, str] | None = None) -> str:
    """The keys with their defaults and meanings; of some alone if named, with other defaults where given."""
    other = defaults or {}
    lines = [
        line(f"{name}={other.get(name, default)}", meaning)
        for name, default, meaning in KEYS
        if names is None or name in names
    ]
    if names is None:
        lines.append(line("probe.NAME.OPTION=VALUE", OPTIONS))
    return "\n".join(lines)


def line(assignment: str, meaning: str) -> str:
    """A key's entry, in two lines where the first is too long for the column."""
    if len(assignment) > INDENT - 4:
        return f"  {assignment}\n{'':<{INDENT}}{meaning}"
    return f"  {assignment:<{INDENT - 2}}{meaning}"
