"""Diagnostics of the gradient through time: of a cell and arrays, or of any torch module.

Importing them imports neither Hydra nor torch. The three halves know nothing of each other: `cell` works on a
cell's equations, `module` on any torch module, `training` beside a training loop.
"""

from .cell.gating import Gates, Saturation, gates, saturation
from .cell.lyapunov import Spectrum, lyapunov_spectrum
from .cell.precision import Precision, precision
from .cell.product import Products, jacobian_product
from .cell.profile import LagProfile, lag_profile
from .cell.reach import InputReach, input_reach
from .cell.sensitivity import Sensitivity, sensitivity
from .cell.share import LagShare, lag_share
from .module.diagnose import Diagnosis, diagnose
from .module.evidence import Band, Evidence
from .module.verdict import Thresholds, Verdict, verdict
from .rate import Rate, fit, word
from .training.norm import Clipped, clip_by_norm, clip_by_value, total_norm
from .training.recorder import record
from .training.updates import Gradients

__all__ = [
    "Band",
    "Clipped",
    "Diagnosis",
    "Evidence",
    "Gates",
    "Gradients",
    "InputReach",
    "LagProfile",
    "LagShare",
    "Precision",
    "Products",
    "Rate",
    "Saturation",
    "Sensitivity",
    "Spectrum",
    "Thresholds",
    "Verdict",
    "clip_by_norm",
    "clip_by_value",
    "diagnose",
    "fit",
    "gates",
    "input_reach",
    "jacobian_product",
    "lag_profile",
    "lag_share",
    "lyapunov_spectrum",
    "precision",
    "record",
    "saturation",
    "sensitivity",
    "total_norm",
    "verdict",
    "word",
]
