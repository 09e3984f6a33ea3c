"""MNIST-1D: which of ten drawn curves is hidden in 40 noisy, shifted and sheared values?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data.archives import Archive, arrays
from ..data.split import full_length
from ..task import Data, Task

ARCHIVE = Archive(
    name="mnist1d",
    requirement="mnist1d==0.0.2.post1",
    sha256="e780fadc12ab6e45994dcb02bbe728b347243e0a5d13790f2a86992500eceb86",
    size=14_369,
    members=("mnist1d/data.py", "mnist1d/transform.py"),
    licence="Apache-2.0",
    source="https://github.com/greydanus/mnist1d",
)
UNUSED = re.compile(r"^(import requests|import mnist1d|from mnist1d).*$", re.MULTILINE)


@dataclass(frozen=True)
class MNIST1D(Task):
    """x (40, 1) is a curve, y its digit; 4,000 curves are learned from, 1,000 are tested on.

    Greydanus 2020 (arXiv 2011.14439; Apache-2.0), made by the package's generator with its seed and split, so
    that published figures compare: 32 % logistic regression, 68 % a perceptron, 91 % a GRU, 94 % a
    convolution. The data are synthetic: no one wrote these digits. A GRU of 64 reaches the target, 0.5 nats,
    after about fifteen epochs of Adam, past the perceptron's accuracy.
    """

    def data(self, rng: np.random.Generator) -> Data:
        made = arrays(ARCHIVE, generated)
        train, test = (
            full_length(made[f"x{part}"][:, :, None].astype(np.float32), made[f"y{part}"])
            for part in ("", "_test")
        )
        return Data(train, test, classes=10, target_loss=0.5)


def generated(members: dict[str, bytes]) -> dict[str, np.ndarray]:
    """The data set as the package's code makes it: numpy's global random state is used, and left as it was.

    The files' imports of what plots and downloads are left out, so that the package needs not be installed.
    """
    code = {path: content.decode() for path, content in members.items()}
    space: dict[str, Any] = {"ObjectView": lambda given: SimpleNamespace(**given), "set_seed": np.random.seed}
    # exec of downloaded code: the archive's hash was checked before its members were cached
    exec(code["mnist1d/transform.py"], space)
    exec(UNUSED.sub("", code["mnist1d/data.py"]), space)
    before = np.random.get_state()
    try:
        made = space["make_dataset"]()
    finally:
        np.random.set_state(before)
    return {name: made[name] for name in ("x", "y", "x_test", "y_test")}
