"""A trained network as a dynamical system: its largest Lyapunov exponent and its lag profile.

They stand beside those of the true system. With an input, the test part drives the network; without, it is
fed its own answers and runs on alone, as the system does. Alone, only the exponent, which is the slope of the
profile, has to agree. Several past values tell the same state, so that two networks that predict alike may
divide the first lags differently; one that was trained on noise relies less on each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell, State

from ..data.systems import long_inputs, mean_growth
from ..gradients import input_reach, lyapunov_spectrum
from ..gradients.cell.path import check
from ..task import Data

Arrays = dict[str, Any]
# weight (K, O) and bias (K,): the answer is a linear function of the output
Head = tuple[np.ndarray, np.ndarray]
TRAJECTORIES = 16  # test sequences that are looked at
LOOP = 1500  # steps that a network runs on alone


@dataclass(frozen=True)
class Dynamics:
    """What task.Truth has of a system: nats a step, and (K,) log norms of d answer / d input by lag.

    NaN where a network runs away.
    """

    lyapunov: float
    lag_profile: np.ndarray


def dynamics(cell: GatedCell, params: Arrays, head: Head, data: Data, autonomous: bool) -> Dynamics:
    """The network's own, in float64; autonomous is the truth's.

    The cell is no stack. Raises ValueError for parameters or inputs that are not finite.
    """
    x = data.test.x[:TRAJECTORIES].swapaxes(0, 1).astype(np.float64)
    check(cell, params, x)
    weight, bias = (np.asarray(a, np.float64) for a in head)
    if autonomous and weight.shape[0] != x.shape[2]:
        raise ValueError(
            f"the network answers {weight.shape[0]} values and takes {x.shape[2]}; to be fed back they must"
            " be as many"
        )
    if autonomous:
        return closed_loop(cell, params, (weight, bias), x)
    return driven(cell, params, weight, x, long_inputs(data))


def driven(cell: GatedCell, params: Arrays, weight: np.ndarray, x: np.ndarray, long: np.ndarray) -> Dynamics:
    """Profile at the last step of x (T, B, I); exponent along (T, 1, I), after its first quarter."""
    rows = [np.tile(row, (x.shape[1], 1)) for row in weight]
    logs = np.stack([input_reach(cell, params, x, d_output=row).log_norm for row in rows])
    profile = 0.5 * np.logaddexp.reduce(2 * logs, axis=0)  # the Frobenius norm, of logarithms of its rows
    exponent = lyapunov_spectrum(cell, params, long, k=1, transient=len(long) // 4).exponents[0]
    return Dynamics(float(exponent), profile.mean(1))


def closed_loop(cell: GatedCell, params: Arrays, head: Head, x: np.ndarray) -> Dynamics:
    """Fed the first half of x (T, B, I), then its own answers.

    The profile is that over the other half; the exponent is averaged far beyond it.
    """
    import torch

    step = stepper(cell, params, head)
    states = [torch.zeros(s, dtype=torch.float64) for s in _shapes(cell, params, x)]
    with torch.no_grad():
        for now in torch.from_numpy(x[: len(x) // 2]):
            *states, answer = step(*states, now)
    loop = [*states, answer]
    return Dynamics(loop_exponent(step, loop), loop_profile(step, loop, len(x) - len(x) // 2))


def stepper(cell: GatedCell, params: Arrays, head: Head) -> Callable[..., tuple[Any, ...]]:
    """(*states, fed) -> (*new states, answer), of float64 tensors (B, ...)."""
    import torch

    given = {name: torch.from_numpy(np.asarray(a, np.float64)) for name, a in params.items()}
    used, (weight, bias) = cell.effective(given), (torch.from_numpy(a) for a in head)

    def step(*states_and_fed: Any) -> tuple[Any, ...]:
        *states, fed = states_and_fed
        output, new = cell.step(used, fed, State(**dict(zip(cell.states, states, strict=True))))
        if cell.readout:
            output = torch.nn.functional.linear(output, given["weight_out"], given["bias_out"])
        return *(getattr(new, name) for name in cell.states), torch.nn.functional.linear(output, weight, bias)

    return step


def _shapes(cell: GatedCell, params: Arrays, x: np.ndarray) -> list[tuple[int, ...]]:
    return list(cell.state_shapes(x.shape[1], cell.sizes(params)[1]).values())


def loop_profile(step: Callable[..., tuple[Any, ...]], loop: list[Any], steps: int) -> np.ndarray:
    """(steps,): log |d last answer / d what is fed k steps before|; loop is the first states and answer."""
    import torch

    fed: list[Any] = []
    for _ in range(steps):
        # each fed value is a node of its own in the graph; the first is a leaf, since nothing before counts
        node = loop[-1] + torch.zeros_like(loop[-1], requires_grad=True) if fed else loop[-1].detach()
        fed.append(node if fed else node.requires_grad_())
        loop = list(step(*loop[:-1], fed[-1]))
    answer = loop[-1]
    rows = [torch.autograd.grad(answer[:, k].sum(), fed, retain_graph=True) for k in range(answer.shape[1])]
    squares = torch.stack([torch.stack(row[::-1]).square().sum(-1) for row in rows]).sum(0)
    return (squares.log() / 2).mean(1).detach().numpy()


def loop_exponent(step: Callable[..., tuple[Any, ...]], loop: list[Any]) -> float:
    """Growth of a random displacement of states and answer, after the first quarter of the steps.

    The displacement is carried along as a tangent, by forward-mode differentiation.
    """
    import torch
    from torch.autograd import forward_ad

    generator = torch.Generator().manual_seed(0)
    v, growth = [torch.randn(a.shape, generator=generator, dtype=a.dtype) for a in loop], []
    for _ in range(LOOP):
        with torch.no_grad(), forward_ad.dual_level():
            duals = [forward_ad.unpack_dual(a) for a in step(*map(forward_ad.make_dual, loop, v))]
        loop = [a.primal for a in duals]
        # no tangent: this state does not depend on what was displaced
        v = [torch.zeros_like(a.primal) if a.tangent is None else a.tangent for a in duals]
        size = torch.stack([a.reshape(len(a), -1).square().sum(1) for a in v]).sum(0).sqrt()
        growth.append(size.log())
        v = [a / size.reshape(-1, *[1] * (a.ndim - 1)) for a in v]  # back to length 1, or it would overflow
    return mean_growth(torch.stack(growth[LOOP // 4 :]).numpy())
