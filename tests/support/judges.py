"""Judges that take next to no time: for scratch suites of the pytest plugin, and for `harness.compare`."""

from functools import partial

from cellbench.harness.measure.pair import Effort
from cellbench.harness.measure.worker import Result

_JUDGE = """
    import numpy as np, pytest
    from cellbench.harness.measure import worker
    from cellbench.harness.measure.judge import Judge
    from cellbench.harness.measure.pair import Effort

    @pytest.fixture(scope="session")
    def cellbench_judge():
        return Judge(np.random.default_rng(0), {}, processes={}, budget_s={}, call={})

    def here(function, *args, on_message, **options):
        function(on_message, *args)
        return worker.Result("ok")
"""
# with processes of its own, enough to see a factor of two
REAL = _JUDGE.format("Effort(builds=5, seconds=0.1, sample_s=5e-4)", 3, 5, "worker.call")
# once, in pytest's own process: for what is compared, not for the verdict
HERE = _JUDGE.format("Effort(builds=1, seconds=0, fewest_builds=1, fewest_rounds=1)", 1, 1e-9, "here")


def functions_here(monkeypatch):
    """Functions timed in this process and for a moment, where nothing rests on the times."""
    from cellbench.harness.functions import compare, time

    def here(function, *args, on_message, **options):
        function(on_message, *args)
        return Result("ok")

    effort = Effort(builds=3, seconds=0.003, most_s=0.01, sample_s=1e-5)
    monkeypatch.setattr(compare, "Judge", partial(compare.Judge, effort=effort, call=here))
    monkeypatch.setattr(time, "call", here)
    monkeypatch.setattr(time, "SAMPLES", 4)
