"""Runs groups of anchors in processes, which import this file: they cannot import a package's __main__."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from ...measure.worker import limited
from .anchor import Anchor, Group, timed

PROCESSES = 2


def run(group: Group) -> list[Anchor]:
    """The anchors of one group, timed."""
    import torch

    torch.set_num_threads(1)
    return list(timed(group(), time.perf_counter))


def run_all(sections: dict[str, tuple[Group, ...]]) -> dict[str, list[Anchor]]:
    """Two groups at a time, each on one thread; prints an anchor's row as soon as it is there."""
    groups = [group for section in sections.values() for group in section]
    with limited(1), ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, group) for group in groups]
        for future in as_completed(futures):
            for anchor in future.result():
                print(" | ".join(anchor.cells()), flush=True)
    results = iter(future.result() for future in futures)
    return {name: [a for _ in section for a in next(results)] for name, section in sections.items()}
