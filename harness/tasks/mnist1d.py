"""MNIST-1D: which of ten drawn curves is hidden in 40 noisy, shifted and sheared values?"""

from __future__ import annotations

import ast
from dataclasses import dataclass
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
DIGITS = tuple(f"d{digit}" for digit in range(10))  # what the templates are called


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
    """The data set as the package makes it, number for number: its templates and sizes are read, not run.

    The steps are those of mnist1d/transform.py, in the same order, with a generator of their own.
    """
    known = _literals(members["mnist1d/data.py"].decode())
    rng = np.random.RandomState(known["seed"])
    drawn = np.array([known[f"d{digit}"] for digit in range(10)], float)
    drawn -= drawn.mean(1, keepdims=True)
    drawn /= drawn.std(1, keepdims=True)
    templates = (drawn - drawn[:, :1]) / 6.0
    each = known["num_samples"] // len(templates)
    xs = np.stack([_transformed(template, known, rng) for template in templates for _ in range(each)])
    ys = np.repeat(np.arange(len(templates)), each)
    order = rng.permutation(len(ys))
    xs, ys = xs[order], ys[order]
    xs = (xs - xs.mean()) / xs.std()
    cut = int(len(ys) * known["train_split"])
    return {"x": xs[:cut], "x_test": xs[cut:], "y": ys[:cut], "y_test": ys[cut:]}


def _literals(source: str) -> dict[str, Any]:
    """The numbers that the package's file holds: the argument dictionary's, and each template's by name."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Dict) and node.targets[0].id == "arg_dict":
                found |= ast.literal_eval(value)
            elif isinstance(value, ast.Call) and node.targets[0].id in DIGITS:
                found[node.targets[0].id] = ast.literal_eval(value.args[0])
    return found


def _transformed(template: np.ndarray, known: dict[str, Any], rng: np.random.RandomState) -> np.ndarray:
    """A template padded, stretched, scaled, shifted, and given noise and a slope, as 40 values."""
    from scipy.ndimage import gaussian_filter

    low, high = known["padding"]
    x = np.concatenate([template + 1e-8, np.zeros(low + int(rng.rand() * (high - low + 1)))])
    x = _resampled(x, known["template_len"] + high)
    x *= 1 + known["scale_coeff"] * (rng.rand() - 0.5)
    shift = rng.choice(known["max_translation"])
    x = np.concatenate([x[-shift:], x[:-shift]])
    mask = x != 0
    x = mask * x + (1 - mask) * gaussian_filter(known["corr_noise_scale"] * rng.randn(*x.shape), 2)
    x = x + known["iid_noise_scale"] * rng.randn(*x.shape)
    x = x - known["shear_scale"] * (rng.rand() - 0.5) * np.linspace(-0.5, 0.5, len(x))
    return _resampled(x, known["final_seq_length"])


def _resampled(x: np.ndarray, count: int) -> np.ndarray:
    from scipy.interpolate import interp1d

    return interp1d(np.linspace(0, 1, len(x)), x, kind="linear")(np.linspace(0, 1, count))
