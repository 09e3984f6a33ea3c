"""My own task: sequences to learn from, and every cell trains on them beside the rivals without memory.

In this folder:

    cellbench run 'tasks=[own_task.py:Echo]' 'probes=[training]' 'backends=[numba]' seeds=1
    cellbench report

An option follows the name: `tasks=[own_task.py:Echo:delay=30]`.
"""

from dataclasses import dataclass

import numpy as np

from cellbench.harness.task import Data, Sequences, Task


@dataclass(frozen=True)
class Echo(Task):
    """The first of `delay` numbers, asked for at the end."""

    delay: int = 10

    def data(self, rng):
        return Data(self.draw(rng, 2000), self.draw(rng, 500), classes=None, target_loss=0.01)

    def draw(self, rng, count):
        x = rng.standard_normal((count, self.delay, 1))  # (N, T, I)
        lengths = np.full(count, self.delay)
        return Sequences(x, lengths, y=x[:, 0])  # y is (N, K) values, or (N,) classes
