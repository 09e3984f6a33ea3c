"""A search: a sweeper that chooses each job's values as it goes, by the number of the jobs before."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from . import compose, launch, pruning
from .groups import estimate_s
from .schema import Settings, check
from .values import ConfigError

GOALS = {"minimize": "the lowest", "maximize": "the highest"}


@dataclass(frozen=True)
class Search:
    """What is known of a search before it begins. trials is None where the sweeper does not say how many.

    ranges: the overrides that are searched; first: those keys at their first values, which `settings` have.
    """

    sweeper: str
    trials: int | None
    goal: str
    ranges: list[str]
    first: list[str]
    settings: Settings

    @property
    def estimate_s(self) -> float:
        """Seconds of all trials, if each took as long as one at the first values."""
        return estimate_s(self.settings.probes) * (self.trials or 1)


def planned(overrides: list[str], primary: str) -> Search:
    """What a search will do. Raises ConfigError, or PackageMissing without the sweeper's package."""
    launch.available(overrides)
    settings = first_trial(overrides, primary)
    sweeper = sweeper_of(overrides, primary)
    overrides = compose.with_files(overrides, primary)
    keys, _ = compose.swept(overrides)
    return Search(
        launch.chosen(launch.SWEEPER, overrides),
        _trials(sweeper, overrides),
        _goal(sweeper, settings.config),
        [one for one in overrides if one.partition("=")[0] in keys],
        [one for one in compose.first(overrides) if one.partition("=")[0] in keys],
        settings,
    )


def first_trial(overrides: list[str], primary: str) -> Settings:
    """The settings of a search's first values, checked. Raises ConfigError."""
    overrides = compose.with_files(overrides, primary)
    settings = check(compose.compose(compose.first(overrides), primary))
    if settings.config["objective"] is None:
        raise ConfigError(
            f"{launch.SWEEPER}={launch.chosen(launch.SWEEPER, overrides)} needs the number to search by; give"
            " objective=PROBE.METRIC, such as objective=throughput.seconds"
        )
    pruning.check(settings)
    return settings


def sweeper_of(overrides: list[str], primary: str) -> Any:
    """The sweeper's settings. Raises ConfigError for a database that the installed packages cannot open."""
    _, fixed = compose.swept(compose.with_files(overrides, primary))
    sweeper = compose.composed(fixed, primary).hydra.sweeper
    url = sweeper.get("storage")
    if isinstance(url, str) and not url.startswith("redis") and _is_too_new():
        raise ConfigError(
            f"hydra.sweeper.storage={url} needs SQLAlchemy 1.4, since Optuna 2 knows no later one; leave it"
            " out, or pip install 'sqlalchemy<2' 'alembic<1.14'"
        )
    return sweeper


def _is_too_new() -> bool:
    """Whether Optuna 2 stands beside an SQLAlchemy from 2 on."""
    try:
        first = [int(version(name).partition(".")[0]) for name in ("optuna", "sqlalchemy")]
    except (PackageNotFoundError, ValueError):
        return False
    return first[0] < 3 and first[1] >= 2


def direction(sweeper: Any) -> str:
    """minimize or maximize, which a pruner has to know. Raises ConfigError where it is neither."""
    found = _direction(sweeper)
    if found not in GOALS:
        raise ConfigError(
            f"hydra.sweeper.direction is {found}; pruner needs one direction, of {', '.join(GOALS)}"
        )
    return found


def _trials(sweeper: Any, overrides: list[str]) -> int | None:
    """How many trials there will be: a grid has no more than its points."""
    trials = sweeper.get("n_trials")
    if trials is not None and "Grid" in str((sweeper.get("sampler") or {}).get("_target_")):
        return min(int(trials), len(compose.sweep(overrides)))
    return None if trials is None else int(trials)


def _goal(sweeper: Any, config: dict[str, Any]) -> str:
    """Such as 'the lowest training.best_test_loss, pruned by median'."""
    pruned = "" if config["pruner"] is None else f", pruned by {config['pruner']}"
    return f"{GOALS.get(_direction(sweeper), 'the best')} {config['objective']}{pruned}"


def _direction(sweeper: Any) -> str:
    found = sweeper.get("direction", "minimize")
    return str(getattr(found, "name", found))
