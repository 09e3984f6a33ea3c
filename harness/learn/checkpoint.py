"""Checkpoints of a training: a safetensors file, written whole after every epoch, from which it goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cellbench.cells.find import given_path

from ..extras import requires
from ..screen import one_line, shortened
from ..store import atomic, files, provenance
from .training import Course, Epoch, Learner

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file."""


def file(folder: str, name: str) -> Path:
    """The file of that name in the folder, which is made.

    Another version of the code or of its libraries, and another machine, has a file of its own.

    Raises CheckpointError where it cannot be, and PackageMissing without safetensors.
    """
    requires("safetensors", "a checkpoint of a training is written with")
    made_with = provenance.maker() + (provenance.key_of({"machine_key": provenance.key(1)}) or "")
    digest = hashlib.sha256(made_with.encode()).hexdigest()[:8]
    path = given_path(folder) / f"{name}-{digest}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"checkpoints {folder!r} cannot be written: {error.strerror}; give another folder"
        ) from None
    return path


def rate(path: Path) -> float | None:
    """The learning rate of the training that wrote the file; None where there is none.

    Raises CheckpointError for a damaged file.
    """
    from safetensors import safe_open

    if not path.exists():
        return None
    with _usable(path), safe_open(path, "pt") as file:
        stored = float(file.metadata()["rate"])
        if not 0 < stored < math.inf:
            raise ValueError(f"its learning rate is {stored}")
        return stored


def save(path: Path, learner: Learner) -> None:
    """Writes what a training goes on from.

    That is the model, its best parameters, Adam's moments and rate, the order's generator and the course.
    """
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v for k, v in learner.model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in learner.best.items()}
    for n, state in learner.optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{n}.{k}": torch.as_tensor(state[k]) for k in MOMENTS}
    metadata = {
        "course": json.dumps(asdict(learner.course)),
        "rng": json.dumps(learner.rng.bit_generator.state),
        "rate": repr(learner.optimiser.param_groups[0]["lr"]),
    }
    arrays = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic.replacing(path) as temporary:
        save_file(arrays, temporary, metadata)


def resume(path: Path, learner: Learner) -> bool:
    """Brings a learner to where the file was written; False where there is none.

    Raises CheckpointError for a damaged file.
    """
    from safetensors import safe_open

    if not path.exists():
        return False
    with _usable(path):
        with safe_open(path, "pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        learner.course = _course(files.parse(metadata["course"]))
        learner.best = _below("best", tensors)
        for part in (
            learner.best,
            _below("model", tensors),
        ):  # the best is loaded at the end: it must fit too
            learner.model.load_state_dict(part)
        _adam(learner.optimiser, _below("adam", tensors))
        learner.rng.bit_generator.state = json.loads(metadata["rng"])  # its words have 128 bits
    return True


def _course(stored: Any) -> Course:
    """Raises ValueError, TypeError or KeyError for what no training went through."""
    course = Course(
        _numbers(stored["losses"]),
        _numbers(stored["elapsed"]),
        [Epoch(**epoch) for epoch in stored["epochs"]],
        *_numbers([stored["reached_s"]]),
    )
    for epoch in course.epochs:
        _numbers(vars(epoch).values())
    if not course.epochs or not len(course.losses) == len(course.elapsed) >= len(course.epochs):
        raise ValueError("its course has epochs, losses and times that do not belong together")
    return course


def _numbers(values: Iterable[Any]) -> list[float]:
    if not all(type(value) in (int, float) for value in values):
        raise ValueError("its course has an entry that is no number")
    return [float(value) for value in values]


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Turns what a damaged file raises into an error that names it."""
    from safetensors import SafetensorError

    if not (path.is_file() and path.stat().st_size):  # a pipe would hang, and so may a file of the kernel's
        raise CheckpointError(f"checkpoint {path} is no file; remove it to begin again")
    try:
        yield
    except (
        SafetensorError,
        OSError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        ArithmeticError,
    ) as error:
        reason = shortened(one_line(error))[:200]
        raise CheckpointError(
            f"checkpoint {path} cannot be used: {reason}; remove it to begin again"
        ) from None


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _adam(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    for n, parameter in enumerate(parameters):
        own = _below(str(n), tensors)
        if own:  # none of a parameter that the loss does not depend on
            shapes = [tuple(own[moment].shape) for moment in MOMENTS]
            if shapes != [(), *[tuple(parameter.shape)] * 2]:
                raise ValueError(f"its moments of parameter {n} are of other shapes: {shapes}")
            state[n] = own
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
