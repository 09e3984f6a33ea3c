"""A linear model of features: logistic regression for classes, ridge regression for values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..extras import requires
from ..task import Data, Rival

MOST = 20_000  # training targets that a linear model sees; of more, evenly spaced ones
# inverse regularisation of the logistic regression, chosen on every fifth training target
STRENGTHS = (0.1, 1.0, 10.0)
NEVER_SEEN = 1e-6  # probability of a class that the training part lacks
USE = "a task's linear rivals are fitted with"


def fitted(name: str, data: Data, known: Any, query: Any, *, scale: bool = True) -> Rival:
    """A linear model of known (M, F), a row a training target, answering query (Q, F), a row a test target."""
    requires("sklearn", USE)
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if scale:
        scaler = StandardScaler().fit(known)
        known, query = scaler.transform(known), scaler.transform(query)
    y = data.train.targets
    chosen = np.arange(len(y)) if len(y) <= MOST else np.linspace(0, len(y) - 1, MOST).astype(int)
    with threadpool_limits(
        1
    ):  # on cores that others use too, threads waited for each other 200 times as long
        if data.classes is None:
            return regression(name, data, known[chosen], y[chosen], query)
        return classification(name, data, known[chosen], y[chosen], query)


def regression(name: str, data: Data, known: Any, y: np.ndarray, query: Any) -> Rival:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    answers = Ridge(1.0).fit(known, y).predict(query).reshape(data.test.targets.shape)
    return Rival(name, float(np.mean((answers - data.test.targets) ** 2)))


def classification(name: str, data: Data, known: Any, y: np.ndarray, query: Any) -> Rival:
    """Logistic regression, regularised as strongly as suits a fifth of the training targets best."""
    held = np.arange(len(y)) % 5 == 4
    if held.any() and len(np.unique(y[~held])) > 1:
        tried = [(loss(shares(data, known[~held], y[~held], known[held], c), y[held]), c) for c in STRENGTHS]
        strength = min(tried)[1]
    else:
        strength = 1.0
    if len(np.unique(y)) < 2:
        return Rival(name, data.trivial_loss, data.chance_accuracy)  # nothing to tell apart
    probability, right = shares(data, known, y, query, strength), data.test.targets
    return Rival(name, loss(probability, right), float(np.mean(probability.argmax(1) == right)))


def shares(data: Data, known: Any, y: np.ndarray, query: Any, strength: float) -> np.ndarray:
    """(Q, classes) the probability of each class for each row of query."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early it is a rival all the same
        model = LogisticRegression(C=strength, max_iter=100).fit(known, y)
    probability = np.full((query.shape[0], data.output_size), NEVER_SEEN)
    probability[:, model.classes_] = model.predict_proba(query)
    return probability


def loss(shares: np.ndarray, y: np.ndarray) -> float:
    """Cross-entropy in nats; no right class counts as less likely than one never seen."""
    return float(-np.mean(np.log(np.maximum(shares[np.arange(len(y)), y], NEVER_SEEN))))
