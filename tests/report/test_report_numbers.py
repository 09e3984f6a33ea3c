"""Numbers as a person reads them, and intervals over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellbench.harness.report import seeds
from cellbench.harness.report.units import interval, quantity

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1.2e-5, "s", "12.0 µs"),
        (0.0044, "s", "4.40 ms"),
        (90, "s", "90.0 s"),
        (1200, "s", "20.0 min"),
        (7, "count", "7"),
        (67584, "count", "67.6k"),
        (1.5 * 2**20, "B", "1.50 MiB"),
        (3.618, "x", "3.62×"),
        (float("nan"), "s", "–"),
        (float("inf"), "count", "∞"),
        (-0.0312, "1", "−0.031"),
    ],
)
def test_quantities_read_as_a_person_writes_them(value, kind, text):
    assert quantity(value, kind) == text


@pytest.mark.parametrize(("count", "cut"), [(2, 0), (3, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)])
def test_the_interval_leaves_out_as_many_extremes_as_the_binomial_distribution_allows(count, cut):
    values = np.random.default_rng(count).permutation(np.arange(count, dtype=float))
    assert seeds.bounds(values) == (cut, count - 1 - cut)


def test_the_interval_holds_the_median_of_all_seeds_as_often_as_is_said():
    draws = np.sort(np.random.default_rng(0).exponential(size=(20_000, 3)), axis=1)
    held = np.mean((draws[:, 0] <= np.log(2)) & (np.log(2) <= draws[:, 2]))
    assert abs(held - seeds.coverage(3)) < 4 * np.sqrt(0.75 * 0.25 / 20_000) and seeds.coverage(3) == 0.75
    assert (
        "75 %" in seeds.sentence(3)
        and "at least 95 %" in seeds.sentence(6)
        and "no interval" in seeds.sentence(1)
    )


def test_a_value_that_is_not_finite_does_not_vanish_from_the_median():
    assert seeds.over_seeds(pd.Series([0.1, np.inf, 0.2])).text == "not finite in 1 of 3"


def test_an_interval_has_the_unit_of_its_value_and_of_its_ends_where_they_lie_far_apart():
    assert interval(11.8e-3, 12.4e-3, "s", 12e-3) == "11.8 … 12.4"
    assert interval(3.64e-6, 40.105e-3, "s", 6.89e-6) == "3.64 µs … 40.1 ms"
    assert interval(29.7e-6, 12.183e-3, "s", 59.2e-6) == "29.7 µs … 12.2 ms"
