"""What CUDA says of this machine: whether there is a device, and whether that has tf32."""

from __future__ import annotations

import warnings

TF32_FROM = (8, 0)  # compute capability


def missing() -> str | None:
    """None, or why no CUDA device can be used, in CUDA's own words where it has some."""
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    here = f"no CUDA device: torch {torch.__version__} is {built}"
    with warnings.catch_warnings():
        # PyTorch warns of an old driver once a process, and raises the same words at every start of CUDA
        warnings.simplefilter("ignore")
        try:
            if torch.cuda.is_available():
                return None
            if torch.version.cuda:
                torch.cuda.init()
            return f"{here} and finds {torch.cuda.device_count()} GPUs"
        except (RuntimeError, AssertionError) as error:  # the second of a build that is broken
            return f"{here}; CUDA says: {' '.join(str(error).split())[:300]}"


def without_tf32() -> str | None:
    """Why the device has no tf32; None where it has, and where there is no device."""
    import torch

    if missing() or (have := torch.cuda.get_device_capability()) >= TF32_FROM:
        return None
    has = "this device has {}.{}, and would compute in float32".format(*have)
    return "dtype tf32 needs compute capability {}.{}; {}".format(*TF32_FROM, has)
