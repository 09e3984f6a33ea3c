"""Processes that answer as a plan says, in place of real workers: for the judge and for what builds on it."""

from dataclasses import dataclass, field

import numpy as np

from cellbench.harness.measure import worker
from cellbench.harness.measure.conditions import Conditions
from cellbench.harness.measure.pair import Timing, Trouble


@dataclass
class Processes:
    """Stands for worker.call: answers for each pair with the next of its plan (the last for ever), counting
    processes.

    A plan is a log ratio, (ratio, control), a Trouble, or the name of how the process breaks.
    """

    plans: dict
    seconds: float = 1.0
    groups: list = field(default_factory=list)
    cores: dict = field(default_factory=dict)

    def __call__(self, function, pairs, seed, effort, *, on_message, threads, timeout_s, limit_memory):
        self.groups.append([p.name for p in pairs])
        self.limited = limit_memory
        for pair in pairs:
            plan = self.plans[pair.name]
            step = plan.pop(0) if len(plan) > 1 else plan[0]
            if isinstance(step, str):
                return worker.Result(step, "SIGSEGV")
            on_message(None)
            on_message((pair.name, step if isinstance(step, Trouble) else self.timing(step)))
        return worker.Result("ok")

    def timing(self, step):
        ratio, control = step if isinstance(step, tuple) else (step, 0.0)
        cores = self.cores.get(len(self.groups), 2)
        arms = {"a": 1.0, "b": np.exp(ratio), "again": np.exp(control)}
        scale = self.seconds / sum(arms.values()) / 3
        return Timing({arm: [[scale * v] * 3] for arm, v in arms.items()}, Conditions(cores, 0.5))
