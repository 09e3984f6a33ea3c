"""How strongly the state answers to a parameter, beside how far it carries a gradient.

Either can be ill without the other. Even with |J| <= 1 the sensitivity to the recurrent weights explodes as
memory grows: for h' = l h + white noise, E h^2 is 1 / (1 - l^2) but E (dh/dl)^2 is (1 + l^2) / (1 - l^2)^3
(Zucchet & Orvieto 2024, arXiv 2405.21064).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.display import Displayed

from .given import on_arrays
from .path import check
from .profile import lag_profile
from .share import lag_share, one_sample

Arrays = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Sensitivity(Displayed):
    """Natural logs of the sensitivity by horizon T', which is the first T' steps of x alone.

    log_parameter   root mean square over samples of |dL/d parameter|, L = sum(d_output * output at T')
    log_transport   mean over samples of ln |dL/ds_0| / |dL/ds_T'|
    """

    axes = {"horizon": ("log_parameter", "log_transport")}

    parameter: str
    horizon: np.ndarray
    log_parameter: np.ndarray
    log_transport: np.ndarray


@on_arrays
def sensitivity(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None = None,
    d_output: Any = None,
    parameter: str | None = None,
) -> Sensitivity:
    """At horizons 2, 4, 8 ... T of x (T, B, I), each sample's own gradient. parameter as in `lag_share`."""
    check(cell, params, x)
    x = np.asarray(x)
    steps, batch = x.shape[:2]
    axis = int(cell.stacked)  # of the batch in a state
    horizons = [2**k for k in range(1, int(np.log2(steps)) + 1)]
    horizons += [] if steps in horizons else [steps]
    sizes, transports, name = [], [], ""
    for horizon in horizons:
        profile, logs = lag_profile(cell, params, x[:horizon], state=state, d_output=d_output), []
        for b in range(batch):
            share = lag_share(
                cell, params, **one_sample(x[:horizon], state, d_output, b, axis), parameter=parameter
            )
            logs.append(share.log_norm)
            name = share.parameter
        start = int(np.isneginf(profile.log_norm[0]).all())
        with np.errstate(invalid="ignore"):
            transports.append(float((profile.log_norm[-1] - profile.log_norm[start]).mean()))
        sizes.append(0.5 * float(np.logaddexp.reduce(2 * np.array(logs)) - np.log(batch)))
    return Sensitivity(name, np.array(horizons), np.array(sizes), np.array(transports))
