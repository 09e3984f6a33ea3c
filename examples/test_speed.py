"""Did my commit slow it down? Gates on speed in an ordinary test suite, by the fixture `cellbench`.

Two functions of now, in fresh processes:

    pytest test_speed.py -k sorted

The same function at a revision and now, in the repository that holds it:

    pytest test_speed.py --cellbench-compare=main

Without --cellbench-compare the second test runs its function once, and skips.
"""

import numpy as np


def numbers():
    """What both sides are called with; each build of each side gets its own."""
    return np.random.default_rng(0).standard_normal(200_000)


def by_sorting(values):
    return np.sort(values)[len(values) // 2]


def by_partition(values):
    return np.partition(values, len(values) // 2)[len(values) // 2]


def test_the_median_needs_no_sorted_array(cellbench):
    cellbench.faster(by_partition, than=by_sorting, setup=numbers)


def test_the_median_is_not_slower_than_at_the_base(cellbench):
    cellbench.not_slower_than_base(by_partition, setup=numbers)
