"""Data of tasks that need archives; the test is skipped where they were not fetched."""

from functools import cache

import numpy as np
import pytest

from cellbench.harness import task
from cellbench.harness.task import Data, DataAbsent


def drawn(spec: str, seed: int = 0) -> Data:
    try:
        return task.get(spec).data(np.random.default_rng(seed))
    except DataAbsent as missing:
        pytest.skip(str(missing))


@cache
def loaded(spec: str, seed: int = 0) -> Data:
    """The same for all tests of a session, which leave it as it is."""
    return drawn(spec, seed)
