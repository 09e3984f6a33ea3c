"""The compiled loops over the steps of an adjoint and of tangents, for all cells.

They take coefficients of Jacobians and give log norms, or tangents.
"""

from __future__ import annotations

import numpy as np

from cellbench.cells.kernels.compiled import shared

# of an entry beside the joint norm: a smaller one becomes 0 instead of sticking at a subnormal, which would
# slow every later step down
TINY = 1e-300


@shared(error_model="numpy")
def pull_through(
    direct: np.ndarray,
    through: np.ndarray,
    weight: np.ndarray,
    fed: np.ndarray,
    d: np.ndarray,
    log_scale: np.ndarray,
    logs: np.ndarray,
    by_state: np.ndarray,
) -> None:
    """Takes d (S, B, units) back over all steps, in place, scaled to norm 1 after each.

    direct (T, S, S, B, units); through (T, S, G, B, units); weight (G * units, F * units) with its zeros; fed
    (F,) the places of the states that are fed back. log_scale (B,) holds the log of the number that d was
    divided by. Writes logs (T, B) and by_state (T, S, B), last step first.
    """
    steps, states, _, batch, units = direct.shape
    gates = through.shape[2]
    rows, back = np.empty((batch, gates * units)), np.empty((batch, len(fed) * units))
    before = np.empty((states, batch, units))
    for i in range(steps):
        t = steps - 1 - i
        before[:] = 0.0
        rows[:] = 0.0
        for s in range(states):
            for b in range(batch):
                for p in range(states):
                    for u in range(units):
                        before[p, b, u] += direct[t, s, p, b, u] * d[s, b, u]
                for g in range(gates):
                    for u in range(units):
                        rows[b, g * units + u] += through[t, s, g, b, u] * d[s, b, u]
        if gates:
            np.dot(rows, weight, back)
            for k in range(len(fed)):
                before[fed[k]] += back[:, k * units : (k + 1) * units]
        for b in range(batch):
            scale, total = _scale(before[:, b]), 0.0
            for s in range(states):
                square = 0.0
                for u in range(units):
                    v = before[s, b, u] / scale
                    square += v * v
                by_state[i, s, b] = log_scale[b] + np.log(scale) + 0.5 * np.log(square)
                total += square
            logs[i, b] = log_scale[b] + np.log(scale) + 0.5 * np.log(total)
            norm = scale * np.sqrt(total)
            unit = norm if norm > 0.0 and np.isfinite(norm) else 1.0
            for s in range(states):
                for u in range(units):
                    v = before[s, b, u] / unit
                    d[s, b, u] = 0.0 if abs(v) < TINY else v
            log_scale[b] += np.log(unit)


@shared(error_model="numpy")
def _scale(rows: np.ndarray) -> float:
    """The largest size of an entry, by which squares stay in range; 1 where that is 0 or not finite."""
    largest = 0.0
    for s in range(rows.shape[0]):
        for u in range(rows.shape[1]):
            largest = max(largest, abs(rows[s, u]))
    return largest if largest > 0.0 and np.isfinite(largest) else 1.0


@shared(error_model="numpy")
def push_through(
    direct: np.ndarray, through: np.ndarray, transposed: np.ndarray, fed: np.ndarray, tangents: np.ndarray
) -> np.ndarray:
    """J v of all steps, one after the other, for tangents (k, S * units) of one sample.

    direct (T, S, S, units), through (T, S, G, units); transposed (F * units, G * units) is the recurrent
    matrix's transpose.
    """
    steps, states, gates, units = through.shape
    count = len(tangents)
    joined, rows = np.empty((count, len(fed) * units)), np.empty((count, gates * units))
    for t in range(steps):
        after = np.zeros((count, states * units))
        for i in range(count):
            for s in range(states):
                for p in range(states):
                    for u in range(units):
                        after[i, s * units + u] += direct[t, s, p, u] * tangents[i, p * units + u]
        if gates:
            for k in range(len(fed)):
                joined[:, k * units : (k + 1) * units] = tangents[:, fed[k] * units : (fed[k] + 1) * units]
            np.dot(joined, transposed, rows)
            for i in range(count):
                for s in range(states):
                    for g in range(gates):
                        for u in range(units):
                            after[i, s * units + u] += through[t, s, g, u] * rows[i, g * units + u]
        tangents = after
    return tangents


@shared(error_model="numpy", fastmath={"reassoc"})
def log_norms(path: np.ndarray, logs: np.ndarray) -> None:
    """Writes the log of the norm of each row of path (T, B, units), float32 or float64, into logs (T, B)."""
    steps, batch, units = path.shape
    for t in range(steps):
        for b in range(batch):
            scale, total = 1.0, 0.0
            for u in range(units):
                v = np.float64(path[t, b, u])
                total += v * v
            if not 1e-280 < total < 1e280:  # near either end of the range, or NaN: again, scaled
                scale, total = _scale(path[t, b : b + 1]), 0.0
                for u in range(units):
                    v = path[t, b, u] / scale
                    total += v * v
            logs[t, b] = np.log(scale) + 0.5 * np.log(total)
