"""What a first call of a function tells about the calls that are timed after it."""

import numpy as np
import pytest

from cellbench.harness.functions.first import first_call
from cellbench.harness.functions.function import work
from cellbench.harness.measure.pair import Effort
from cellbench.harness.probe import NotOk

pytestmark = pytest.mark.quick


def total(values):
    return sum(values)


def sorting(values):
    values.sort()


def remembered(n, known={}):  # noqa: B006
    return known.setdefault(n, n)


def doubled(values):
    values *= 2
    return values


def appended(values):
    values.append(1)


def into(values, out):
    np.multiply(values, 2, out=out)


def filled(out):
    np.matmul(np.ones((2, 2)), np.ones((2, 2)), out=out)


async def later():
    pass


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(
    ("function", "args"),
    [(map, (str, range(3))), (zip, ([1], [2])), (iter, ([1],)), (later, ())],
    ids=["map", "zip", "iter", "async"],
)
def test_a_function_whose_work_is_still_to_come_is_refused(function, args):
    with pytest.raises(NotOk, match="work still to come"):
        first_call(function, args, {})


@pytest.mark.parametrize("values", [iter([1, 2]), enumerate([1])], ids=["iter", "enumerate"])
def test_an_iterator_that_the_first_call_uses_up_is_refused(values):
    with pytest.raises(NotOk, match="first call uses up; give a list"):
        first_call(total, (values,), {})


@pytest.mark.parametrize(
    ("function", "args"),
    [(sorting, ([3, 1, 2],)), (sorting, (np.array([3.0, 1.0]),)), (remembered, (3, {}))],
    ids=["a list", "an array", "a dict of what is known"],
)
def test_a_function_that_leaves_its_work_done_in_its_arguments_is_refused(function, args):
    with pytest.raises(NotOk, match=f"{function.__name__} changes its arguments, .* have it take a copy"):
        first_call(function, *work(args=args).given())


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (doubled, (np.ones(3),)),
        (appended, ([],)),
        (into, (np.ones(3), np.zeros(3))),
        (filled, (np.zeros((2, 2)),)),
        (sorted, ([3, 1, 2],)),
        (total, ([],)),
        (open, (__file__,)),
    ],
    ids=[
        "in place, again and again",
        "it grows",
        "an array for the result",
        "that alone",
        "a copy",
        "nothing",
        "a file",
    ],
)
def test_a_function_that_does_the_same_in_every_call_is_timed(function, args):
    first_call(function, *work(args=args).given())


def test_an_arm_that_is_ten_thousand_times_as_slow_is_not_timed_by_the_loops_of_the_fast_one():
    effort = Effort()
    for runs in ([3e-8, 3e-4, 3e-8], [3e-4, 3e-8, 3e-4]):
        loops, planned_s = effort.loops(runs)
        builds, rounds = effort.plan(planned_s)
        assert loops * builds * rounds * sum(runs) < 3 * effort.most_s
    assert effort.loops([1e-4, 2e-4, 1e-4]) == (10, 1e-4)
