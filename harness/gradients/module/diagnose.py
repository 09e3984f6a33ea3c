"""The diagnosis of a torch model on data: how far back its gradient reaches, and a verdict on its training.

    diagnosis = diagnose(model, torch.nn.functional.mse_loss, batches)
    print(diagnosis.verdict)

torch is imported when diagnose is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells.display import Displayed

from .by_part import PartLags
from .evidence import Band, Evidence
from .verdict import Thresholds, Verdict, verdict


@dataclass(frozen=True, repr=False)
class Diagnosis(Displayed):
    """Arrays are by lag 0..T-1: lag k is the state after, and the input of, the step k before the loss.

    Losses are per sample.

    log_norm, log_reach   (lags, R): natural log of the gradient's norm at the joint state and at the
                          recurrence's input; a column a sample (and position of the loss, where the output
                          has one for every step)
    gradient_norm         of the mean gradient of the recurrence's parameters, float64
    saturation            share of (unit, step, sample) where the state follows no argument of its step
                          faster than 1e-3
    swap                  rise of the loss when the inputs at a lag are exchanged between samples; NaN where
                          not measured
    recoverable, z        loss that a connection from the inputs at that lag would recover (a score), and its
                          significance
    bands                 the same for runs of lags, with the samples that a gradient from there needs
    stationary            above 0 the mean gradient is within its noise
    parts                 the gradient by lag of each recurrent part and direction, where there are several
    """

    axes = {"lag": ("log_norm", "log_reach", "swap", "recoverable", "z")}
    drawn = ("log_norm", "log_reach")

    lag: np.ndarray
    log_norm: np.ndarray
    log_reach: np.ndarray
    gradient_norm: float
    saturation: float
    swap: np.ndarray
    recoverable: np.ndarray
    z: np.ndarray
    bands: tuple[Band, ...]
    stationary: float
    loss: float
    trivial_loss: float
    floor: float | None
    samples: int
    evidence: Evidence
    verdict: Verdict
    parts: tuple[PartLags, ...] = ()

    @property
    def transport(self) -> np.ndarray:
        """(lags, R): gradient of the joint state relative to that at the end; what underflows is 0."""
        with np.errstate(invalid="ignore"):
            return np.exp(self.log_norm - self.log_norm[:1])

    def __str__(self) -> str:
        return "\n".join([str(self.verdict), *(f"  {part}" for part in self.parts)])


def diagnose(
    model: Any,
    loss: Callable,
    batches: Iterable,
    *,
    batch_axis: int | None = None,
    recurrent: str | None = None,
    state: Any = None,
    read_out: Callable | None = None,
    floor: float | None = None,
    trivial: float | None = None,
    samples: int = 1024,
    samples_seen: float | None = None,
    positions: int = 4,
    seed: int = 0,
    thresholds: Thresholds | None = None,
) -> Diagnosis:
    """Diagnoses a model on batches of (x, target); the model is left as it was.

    It works on a copy in eval mode, in float64 where the model can.

    model         a module whose forward maps (x_t, state) to (output, state), or to its new state alone,
                  called once a step; or torch.nn.RNN, GRU, LSTM, or one of cells.torch_module; or any
                  module that holds one of these, or a cell of torch that it calls once a step
    loss          loss(output, target), a mean or a sum over the samples, or a root of one, which is squared
    batches       read until `samples` sequences are there; several are better than one, and they may differ
                  in length
    batch_axis    of x: 0 or 1; as the recurrent module has it unless given, 1 for a module called
                  once a step
    recurrent     name of the module to look at, where the model has several; it may map (x_t, state)
    state         first state of a module called once a step: tensors, or a callable of the batch size; None
                  where it takes None
    read_out      from outputs (T, B, ...) to the loss's output, where the model is the recurrence; the last
                  step unless given
    floor         the least mean loss there can be, where known (0 without noise)
    trivial       loss of the best constant answer, where the targets do not tell it
    samples_seen  how many samples the training has seen, where known; a gradient that needs more counts as
                  vanished
    positions     of an output for every step, how many are looked at: those whose residuals vary most over
                  the samples
    seed          of the swaps and of the probe's split

    Raises ValueError for a model, loss or batches that it cannot read. Where the loss is not finite, the
    verdict is EXPLODED.
    """
    from .examine import Options, examine

    options = Options(batch_axis, recurrent, state, read_out, trivial, samples, positions, seed)
    examination = examine(model, loss, batches, options)
    evidence = examination.evidence(floor, samples_seen)
    return Diagnosis(
        lag=np.arange(len(evidence.z)),
        log_norm=examination.log_norm,
        log_reach=examination.log_reach,
        gradient_norm=examination.gradient_norm,
        saturation=evidence.saturation,
        swap=evidence.swap,
        recoverable=evidence.recoverable,
        z=evidence.z,
        bands=evidence.bands,
        stationary=evidence.stationary,
        loss=evidence.loss,
        trivial_loss=evidence.trivial,
        floor=evidence.floor,
        samples=examination.samples,
        evidence=evidence,
        verdict=verdict(evidence, thresholds),
        parts=examination.parts,
    )
