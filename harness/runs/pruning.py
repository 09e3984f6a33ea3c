"""Pruning: a training of a search ends early where a pruner of Optuna's finds it hopeless.

The sweeper's own study knows nothing of a trial under way. So each case of a job is a trial of a study of the
sweep's own, which is read from the sweep's folder at each evaluation. It compares the same case of all jobs.
"""

from __future__ import annotations

import inspect
import math
import statistics
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellbench.cells import find

from .. import extras
from ..probe import Intermediate
from ..screen import counted, one_line, tell
from ..store.sweeps import Sweep, trials
from ..store.sweeps.trials import Trial
from . import objective
from .schema import Settings
from .values import ConfigError

if TYPE_CHECKING:
    import optuna

# Optuna's, by what they are called here
PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
}
STATES = {"ok": "complete", "pruned": "pruned"}  # of a trial, by the status of its case; others have failed


@dataclass(frozen=True)
class Pruning:
    """Judges cases of a job of a search; `cases` are those of the objective's probe, with their places."""

    sweep: Path
    job: int
    pruner: str
    direction: str
    metric: str
    cases: dict[str, int]
    warned: set[str] = field(default_factory=set)  # an evaluation reads the trials again

    def reason(self, case: str, found: Intermediate) -> str | None:
        """Takes down the value at an evaluation; returns why the case is to end there, or None."""
        value = found.value(self.metric)
        if case not in self.cases or value is None:
            return None
        known = self.known(self.cases[case])
        mine = known.get(self.job, Trial())
        mine = Trial("running", mine.values | {found.number: value}, mine.attrs)
        hopeless, attrs = (False, mine.attrs) if found.last else self.judged(known | {self.job: mine})
        trials.write(self.sweep, self.cases[case], self.job, replace(mine, attrs=attrs))
        if not hopeless:
            return None
        ended = [t.values for t in known.values() if t.state == "complete" and found.number in t.values]
        median = statistics.median(values[found.number] for values in ended) if ended else math.nan
        among = (
            f"; the median there of {counted(len(ended), 'complete trial')} is {median:.4g}" if ended else ""
        )
        return f"by {self.pruner} at evaluation {found.number}: {self.metric} is {value:.4g}{among}"

    def ended(self, case: str, status: str) -> None:
        """Takes down how a case has ended."""
        place = self.cases.get(case)
        if place is not None and (mine := self.known(place).get(self.job)):
            trials.write(self.sweep, place, self.job, replace(mine, state=STATES.get(status, "failed")))

    def known(self, place: int) -> dict[int, Trial]:
        """The trials of the case in this place, by job."""
        return trials.read(self.sweep, place, self.warn)

    def warn(self, text: str) -> None:
        """Tells a person of a trial that is left out, once."""
        if text not in self.warned:
            self.warned.add(text)
            tell(f"warning: {one_line(text)}")

    def judged(self, known: dict[int, Trial]) -> tuple[bool, dict[str, float]]:
        """Whether the pruner ends the trial of this job, and what it notes about that."""
        import optuna

        quieten()
        # an in-memory study: SQLite's locks are not to be relied on in the shared folder of a cluster
        study = optuna.create_study(study_name=self.sweep.name, direction=self.direction)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of add_trial
            for number in range(max(known) + 1):  # a job that has yet to begin keeps its number
                study.add_trial(_frozen(known.get(number, Trial())))
        hopeless = made(self.pruner).prune(study, study.trials[self.job])
        return hopeless, study.trials[self.job].system_attrs


def of(sweep: Sweep, number: int, settings: Settings) -> Pruning | None:
    """What judges the cases of a job of a search; None where no pruner was asked for."""
    config = settings.config
    if config["pruner"] is None:
        return None
    probe, metric = objective.named(config["objective"])
    cases = next(one.cases for one in settings.probes if one.probe.name == probe)
    places = {case.id: n for n, case in enumerate(cases)}
    return Pruning(sweep.folder, number, config["pruner"], sweep.manifest["direction"], metric, places)


def check(settings: Settings) -> None:
    """Raises ConfigError for a pruner that there is not, and for an objective that it cannot go by.

    Raises PackageMissing without Optuna. Settings without a pruner are fine.
    """
    config = settings.config
    if config["pruner"] is None:
        return
    extras.requires("optuna", f"pruner={config['pruner']} needs")
    _try(config["pruner"])
    probe, metric = objective.named(config["objective"])
    one = next(planned.probe for planned in settings.probes if planned.probe.name == probe)
    if metric not in one.intermediate:
        known = ", ".join(f"{probe}.{name}" for name in one.intermediate)
        near = find.nearest(metric, one.intermediate)
        says = f"{near} those with some: {known}" if known else "; leave pruner out"
        what = config["objective"] if known else f"a metric of probe {probe!r}"
        raise ConfigError(f"pruner={config['pruner']} needs values before the end, and {what} has none{says}")


def refuse(settings: Settings) -> None:
    """Raises ConfigError for a pruner where nothing is searched."""
    if (pruner := settings.config["pruner"]) is not None:
        raise ConfigError(
            f"pruner={pruner} is for a search; give -m hydra/sweeper=optuna and objective=PROBE.METRIC, or"
            " leave it out"
        )


def made(text: Any) -> optuna.pruners.BasePruner:
    """The pruner of NAME or NAME:OPTION=VALUE, with Optuna's own options. Raises ConfigError."""
    import optuna

    name, *options = str(text).split(":")
    if not isinstance(text, str) or name not in PRUNERS:
        raise ConfigError(
            f"pruner is {text!r}{find.nearest(name, PRUNERS)} it must be one of {', '.join(PRUNERS)}, with"
            " options as in median:n_startup_trials=3, or null for none"
        )
    kind = getattr(optuna.pruners, PRUNERS[name])
    known = inspect.signature(kind).parameters
    given = dict(option.partition("=")[::2] for option in options)
    has = f"options of {name}: {', '.join(known)}"
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"pruner={text} has no option {key!r}{find.nearest(key, known)} {has}")
        if not value:
            raise ConfigError(f"pruner={text} has no value for {key}; give it one, or leave it out")
    if needed := [key for key, one in known.items() if one.default is one.empty and key not in given]:
        raise ConfigError(f"pruner={text} needs {needed[0]}, as in {name}:{needed[0]}=25; {has}")
    try:
        return kind(**{key: _number(value) for key, value in given.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"pruner={text} is refused: {_sentence(error)}; {has}") from None


def _try(text: str) -> None:
    """Has a pruner judge a trial, since some look at their options no sooner. Raises ConfigError."""
    trial = Pruning(Path(), 1, text, "minimize", "", {})
    try:
        trial.judged({0: Trial("complete", {1: 1.0, 2: 1.0}), 1: Trial("running", {1: 1.0})})
    except (TypeError, ArithmeticError, AssertionError) as error:
        raise ConfigError(f"pruner={text} cannot judge: {_sentence(error)}; change its options") from None


def _sentence(error: Exception) -> str:
    """The first sentence of a message, or the kind of an error that has none."""
    return one_line(str(error)).partition(". ")[0].rstrip(".") or type(error).__name__


def quieten() -> None:
    """Keeps Optuna's coloured log of trials off the terminal: a line of ours stands for each job."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _frozen(trial: Trial) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=states.get(trial.state, TrialState.RUNNING),
        value=trial.last if trial.state == "complete" else None,
        intermediate_values=trial.values,
        system_attrs=trial.attrs,
    )


def _number(text: str) -> int | float | str:
    """The value of an option: a number where it is one, else the text, such as auto."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
