"""Packages that only some parts need: imported where they are used, with one line where one is missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

# By the name it is imported by: its own name, and what pip installs. One with an extra is no dependency of
# plain cellbench; scikit-learn is one, since every training has rivals that it fits.
PACKAGES = {
    "hydra_plugins.hydra_joblib_launcher": ("hydra-joblib-launcher", "'cellbench[joblib]'"),
    "hydra_plugins.hydra_optuna_sweeper": ("hydra-optuna-sweeper", "'cellbench[optuna]'"),
    "hydra_plugins.hydra_ray_launcher": ("hydra-ray-launcher", "'cellbench[ray]'"),
    "hydra_plugins.hydra_submitit_launcher": ("hydra-submitit-launcher", "'cellbench[submitit]'"),
    "fsspec": ("fsspec", "fsspec"),
    "optuna": ("optuna", "'cellbench[optuna]'"),
    "polars": ("polars", "'cellbench[scale]'"),
    "sacrebleu": ("sacrebleu", "'cellbench[tasks]'"),
    "safetensors": ("safetensors", "'cellbench[checkpoints]'"),
    "sklearn": ("scikit-learn", "scikit-learn"),
}


class PackageMissing(ValueError):
    """A package is not installed; the message says what needs it and how to install it."""


def there(package: str) -> bool:
    """Whether a package is installed; nothing of it is imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def requires(package: str, use: str) -> None:
    """Raises PackageMissing unless the package is there; `use` begins the line: "task 'a' scores with".

    A package that is there and fails to import raises what it raises.
    """
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name not in (package, package.partition(".")[0]):
            raise
        name, install = PACKAGES[package]
        raise PackageMissing(f"{use} {name}, which is not installed; pip install {install}") from None
