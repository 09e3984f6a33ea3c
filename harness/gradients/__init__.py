"""Diagnostics of the gradient through time: of a cell and arrays, or of any torch module. Imports neither Hydra nor torch."""

from .diagnose import Diagnosis, diagnose
from .evidence import Band, Evidence
from .gating import Gates, Saturation, gates, saturation
from .lyapunov import Spectrum, lyapunov_spectrum
from .norm import Clipped, clip_by_norm, clip_by_value, total_norm
from .precision import Precision, precision
from .product import Products, jacobian_product
from .profile import LagProfile, lag_profile
from .rate import Rate, fit, word
from .recorder import Gradients, record
from .sensitivity import Sensitivity, sensitivity
from .share import InputReach, LagShare, input_reach, lag_share
from .verdict import Thresholds, Verdict, verdict

__all__ = [
    "Band", "Clipped", "Diagnosis", "Evidence", "Gates", "Gradients", "InputReach", "LagProfile", "LagShare", "Precision",
    "Products", "Rate", "Saturation", "Sensitivity", "Spectrum", "Thresholds", "Verdict", "clip_by_norm", "clip_by_value",
    "diagnose", "fit", "gates", "input_reach", "jacobian_product", "lag_profile", "lag_share", "lyapunov_spectrum",
    "precision", "record", "saturation", "sensitivity", "total_norm", "verdict", "word",
]  # fmt: skip
