"""The writer of TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def summary_writer(folder: str | Path, otherwise: str) -> Iterator[Any]:
    """A SummaryWriter in a folder. Raises ValueError, with what to do otherwise, where there is none."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(f"there is no tensorboard here; `pip install tensorboard`, or {otherwise}") from None
    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()
