"""MNIST-1D: which of ten drawn curves is hidden in 40 noisy, shifted and sheared values?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data.archives import Archive, arrays
from ..task import Data, Sequences, Task

ARCHIVE = Archive(
    name="mnist1d",
    requirement="mnist1d==0.0.2.post1",
    sha256="e780fadc12ab6e45994dcb02bbe728b347243e0a5d13790f2a86992500eceb86",
    size=14_369,
    members=("mnist1d/data.py", "mnist1d/transform.py"),
    licence="Apache-2.0",
    source="https://github.com/greydanus/mnist1d",
)


@dataclass(frozen=True)
class MNIST1D(Task):
    """x (40, 1), y the digit. 4,000 curves to learn from and 1,000 to test on, the package's own split.

    Greydanus 2020 (arXiv 2011.14439; Apache-2.0), made by the package's generator with its seed, so that
    published figures compare: 32 % logistic regression, 68 % a perceptron, 91 % a GRU, 94 % a convolution.
    The data is synthetic: no one wrote these digits. The target, 0.5 nats, is one that a GRU of 64 reaches
    after about fifteen epochs of Adam, past the perceptron's accuracy.
    """

    def data(self, rng):
        made = arrays(ARCHIVE, generated)
        parts = ((made["x"], made["y"]), (made["x_test"], made["y_test"]))
        return Data(
            *(Sequences(x[:, :, None].astype(np.float32), np.full(len(x), x.shape[1]), y) for x, y in parts),
            classes=10,
            target_loss=0.5,
        )


def generated(members: dict[str, bytes]) -> dict[str, np.ndarray]:
    """The data set as the package's code makes it: numpy's global random state is used, and left as it was.

    The files' imports of what plots and downloads are left out, so that the package needs not be installed.
    """
    code = {path: content.decode() for path, content in members.items()}
    space: dict[str, Any] = {"ObjectView": lambda given: SimpleNamespace(**given), "set_seed": np.random.seed}
    exec(code["mnist1d/transform.py"], space)
    exec(
        re.sub(
            r"^(import requests|import mnist1d|from mnist1d).*$",
            "",
            code["mnist1d/data.py"],
            flags=re.MULTILINE,
        ),
        space,
    )
    before = np.random.get_state()
    try:
        made = space["make_dataset"]()
    finally:
        np.random.set_state(before)
    return {name: made[name] for name in ("x", "y", "x_test", "y_test")}
