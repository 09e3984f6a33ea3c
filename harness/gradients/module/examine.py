"""All batches of a diagnosis, one after the other, and the numbers that come of them together."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .evidence import Band, Evidence
from .features import band_edges, band_sum, expanded
from .interactions import Probed, Sample, probe
from .loss import Outcome, outcome, trivial_loss
from .noise import Noise
from .observe import Seen, observe, positions_of, start
from .recoverable import Residuals
from .replay import Recording, Replay, double

CHUNKS = 16  # parts of the samples from which the gradient's noise is estimated
SWAPPING = 256  # samples on which inputs are swapped
LAGS = 256  # single lags that are scored, evenly spread where there are more


@dataclass(frozen=True)
class Examined:
    """Arrays by lag (lags, R); the rest as in Evidence."""

    log_norm: np.ndarray
    log_reach: np.ndarray
    gradient_norm: float
    samples: int
    numbers: dict[str, Any]

    def evidence(self, floor: float | None, samples_seen: float | None) -> Evidence:
        return Evidence(floor=floor, samples_seen=samples_seen, **self.numbers)


def examine(
    model: nn.Module,
    loss: Callable,
    batches: Iterable,
    *,
    batch_axis: int | None,
    recurrent: str | None,
    state: Any,
    read_out: Callable | None,
    trivial: float | None,
    samples: int,
    positions: int,
    seed: int,
) -> Examined:
    """Everything but the verdict."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    if batch_axis not in (None, 0, 1):
        raise ValueError(
            f"batch_axis is {batch_axis!r}; it must be 0 or 1, the axis of x that holds the sequences"
        )
    with _undisturbed():
        pairs = _taken(batches, samples, model, batch_axis)
        if broken := _broken(model):
            return _not_finite(broken)
        options = (recurrent, state, read_out, batch_axis)
        if _overflows(Replay(copy.deepcopy(model).eval(), *options), loss, pairs):
            return _not_finite("the loss")
        for make in (double, lambda m: copy.deepcopy(m).eval()):
            with _default_dtype(torch.float64 if make is double else torch.get_default_dtype()):
                replay = Replay(make(model), *options)
                try:
                    return _examined(replay, loss, pairs, trivial, positions, batch_axis, seed)
                except RuntimeError as error:  # a model or loss that holds on to float32 is diagnosed in that
                    if make is not double or not any(word in str(error) for word in ("dtype", "scalar type")):
                        raise
    raise AssertionError


def _examined(
    replay: Replay,
    loss: Callable,
    pairs: list,
    trivial: float | None,
    positions: int,
    batch_axis: int | None,
    seed: int,
) -> Examined:
    kind = torch.get_default_dtype()
    loss = copy.deepcopy(loss).to(kind) if isinstance(loss, nn.Module) else loss
    rng = np.random.default_rng(seed)
    seen: list[Seen] = []
    found: Outcome | None = None
    for x, target in pairs:
        x, target = _cast(x, kind), _cast(target, kind)
        recording = replay.record(x)
        if found is None:
            found, places = _first(replay, loss, recording, x, target, positions, batch_axis)
            bands = band_edges(_longest(replay, recording, pairs))
            noise, chunks = Noise(len(bands)), max(-(-CHUNKS // len(pairs)), 1)
        if not np.isfinite(found.average(recording.output, target)):
            return _not_finite("the loss")
        if not torch.isfinite(found.residuals(recording.output, target)).all():
            return _not_finite("the loss's gradient at the output")
        swapping = sum(len(s.inputs) for s in seen) < SWAPPING * len(places)
        seen.append(observe(replay, found, recording, x, target, places, bands, noise, chunks, swapping, rng))
        if seen[-1].broken:
            return _not_finite("the gradient of the state")
    assert found is not None
    return _together(found, seen, noise, places, trivial, seed)


def _overflows(replay: Replay, loss: Callable, pairs: list) -> bool:
    """Whether a loss is not finite in the model's own dtype, though it may be in float64."""
    for x, target in pairs:
        try:
            value = loss(replay.output(x), target)
        except (
            RuntimeError,
            ValueError,
        ):  # a loss for another dtype, or one that cannot be had: that is told later
            return False
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            return True
    return False


def _first(
    replay: Replay,
    loss: Callable,
    recording: Recording,
    x: Tensor,
    target: Tensor,
    positions: int,
    batch_axis: int | None,
) -> tuple[Outcome, list[int]]:
    steps = len(recording.steps)
    # the last step's output has no positions, though it may happen to be as wide as there are steps
    timed = 1 if replay.alone and replay.read_out is None else steps
    found = outcome(loss, recording.output, target, recording.batch, timed, batch_axis)
    return found, positions_of(found, recording.output, target, steps, positions)


def _longest(replay: Replay, recording: Recording, pairs: list) -> int:
    """Steps of the longest batch; those of equal shape are as long as the first, which has been recorded."""
    others = [_cast(x, torch.get_default_dtype()) for x, _ in pairs if x.shape != pairs[0][0].shape]
    return max([len(recording.steps), *(replay.steps(x) for x in others)])


def _together(
    found: Outcome, seen: list[Seen], noise: Noise, places: list[int], trivial: float | None, seed: int
) -> Examined:
    lags = max(len(s.log_norm) for s in seen)
    output = torch.cat([s.output for s in seen], found.output.samples)
    target = torch.cat([s.target for s in seen], found.target)
    log_norm, log_reach = (
        np.concatenate([_padded(getattr(s, k), lags) for s in seen], 1) for k in ("log_norm", "log_reach")
    )
    inputs = np.concatenate([_padded(s.inputs.swapaxes(0, 1), lags).swapaxes(0, 1) for s in seen])
    basis, fisher = found.curvature(
        output, target, places, rows := np.concatenate([s.residual for s in seen])
    )
    left = Residuals(rows @ basis, fisher, float(len(places)))
    constant, answer = trivial_loss(found, output, target) if trivial is None else (trivial, output)
    probed = probe(Sample(found, output, target, places, inputs), answer, seed)
    transport, typical = _transport(log_norm)
    recoverable, z = _by_lag(left, inputs)
    numbers = {
        "loss": found.average(output, target),
        "trivial": constant,
        "transport": transport,
        "typical": typical,
        "source": (
            float(np.nanmedian(source))
            if np.isfinite(source := np.concatenate([s.source for s in seen])).any()
            else 1.0
        ),
        "saturation": float(np.mean([s.closed for s in seen])),
        "recoverable": recoverable,
        "z": z,
        "swap": _swap(seen, lags),
        "bands": _bands(left, inputs, seen, noise),
        "stationary": noise.stationary(),
        **_probe_numbers(probed, trivial),
    }
    return Examined(log_norm, log_reach, noise.norm(), output.shape[found.output.samples], numbers)


def _probe_numbers(probed: Probed, trivial: float | None) -> dict[str, Any]:
    power = probed.power if trivial is None else float("nan")
    return {
        "probe_recovered": probed.recovered,
        "probe_power": power,
        "probe_pair": probed.pair,
        "probe_pair_z": probed.pair_z,
    }


def _transport(log_norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logs of the rms and of the median over rows, relative to the first lag that has a gradient; NaN before
    it.
    """
    first = start(log_norm)
    with np.errstate(invalid="ignore"):
        relative = log_norm - log_norm[first]
    rms = np.array([_log_rms(row[~np.isnan(row)]) for row in log_norm])
    typical = np.array(
        [np.median(row[~np.isnan(row)]) if not np.isnan(row).all() else np.nan for row in relative]
    )
    with np.errstate(invalid="ignore"):
        rms = rms - rms[first]
    rms[:first] = typical[:first] = np.nan
    return rms, typical


def _log_rms(logs: np.ndarray) -> float:
    top = float(logs.max(initial=-np.inf))
    if not np.isfinite(top):
        return top if logs.size else float("nan")
    return top + 0.5 * float(np.log(np.mean(np.exp(2 * (logs - top)))))


def _by_lag(left: Residuals, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lags = inputs.shape[1]
    found = np.full((2, lags), np.nan)
    for k in range(0, lags, -(-lags // LAGS)):
        found[:, k] = left.score(expanded(inputs[:, k]))
    return found[0], found[1]


def _bands(left: Residuals, inputs: np.ndarray, seen: list[Seen], noise: Noise) -> tuple[Band, ...]:
    found = []
    edges = band_edges(inputs.shape[1])
    needed = noise.needed() if noise.chunks else [float("nan")] * len(edges)
    for band, need in zip(edges, needed, strict=True):
        swaps = [s.band_swap[band] for s in seen if not np.isnan(s.band_swap.get(band, np.nan))]
        found.append(
            Band(
                *band,
                *left.score(band_sum(inputs, band)),
                float(np.mean(swaps)) if swaps else float("nan"),
                need,
            )
        )
    return tuple(found)


def _swap(seen: list[Seen], lags: int) -> np.ndarray:
    found = np.full(lags, np.nan)
    for k in range(lags):
        values = [s.swap[k] for s in seen if k in s.swap]
        found[k] = np.mean(values) if values else np.nan
    return found


def _padded(array: np.ndarray, lags: int) -> np.ndarray:
    return np.concatenate([array, np.full((lags - len(array), *array.shape[1:]), np.nan)])


def _cast(tensor: Tensor, kind: torch.dtype) -> Tensor:
    return tensor.detach().to(kind) if tensor.is_floating_point() else tensor


def _taken(
    batches: Iterable, samples: int, model: nn.Module, batch_axis: int | None
) -> list[tuple[Tensor, Tensor]]:
    """Batches until there are enough samples, on the model's device. Raises ValueError for what is no (x,
    target).
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    found, count = [], 0
    for k, pair in enumerate(islice(batches, samples)):
        if not (
            isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(t, Tensor) for t in pair)
        ):
            raise ValueError(
                f"batch {k} is of type {type(pair).__name__}; it must be two tensors, (x, target)"
            )
        x, target = pair
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise ValueError(
                f"x of batch {k} holds {int((~torch.isfinite(x)).sum())} numbers that are not finite"
            )
        found.append((x.to(device), target.to(device)))
        count += x.shape[_likely(model, batch_axis)]
        if count >= samples:
            break
    if not found:
        raise ValueError("there are no batches; give an iterable of (x, target)")
    return found


def _likely(model: nn.Module, batch_axis: int | None) -> int:
    if batch_axis is not None:
        return batch_axis
    first = [m.batch_first for m in model.modules() if isinstance(m, nn.RNNBase)]
    return 0 if first and first[0] else 1


def _broken(model: nn.Module) -> str:
    """Parameters that are not finite, by name."""
    bad = {k: int((~torch.isfinite(p)).sum()) for k, p in model.named_parameters()}
    return ", ".join(f"{count} numbers of {name}" for name, count in bad.items() if count)


def _not_finite(what: str) -> Examined:
    none, nan = np.empty(0), float("nan")
    numbers = {"loss": nan, "trivial": nan, "source": nan, "saturation": nan, "bands": (), "broken": what}
    return Examined(
        np.empty((0, 0)),
        np.empty((0, 0)),
        nan,
        0,
        numbers | dict.fromkeys(("transport", "typical", "recoverable", "z", "swap"), none),
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The state of every generator that others share is put back."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


@contextmanager
def _default_dtype(kind: torch.dtype) -> Iterator[None]:
    """So that a model that makes its own zeros makes them in the dtype that it is run in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
