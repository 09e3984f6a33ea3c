"""Runs as `cellbench run` stores them, written by hand: cases of throughput and of parameters."""

import numpy as np

from cellbench.harness import store

KEY = {"cpu": "one", "cores": 2, "isa": ["avx2"], "torch": "2.13.0", "threads": 1}
SIZE = {"steps": 64, "batch": 16, "input_size": 32, "hidden_size": 64}
PLACE = {"device": "cpu", "dtype": "float32", "threads": 1}
NAME = "gru numba T=64 B=16 I=32 H=64 forward"
NATIVE = NAME.replace("numba", "native")
FLAT = (1.0, 1.001, 0.999)  # of three processes


def series(metric, values, unit="1", **more):
    return {"metric": metric, "unit": unit, "values": [float(v) for v in np.atleast_1d(values)], **more}


def program(cell="gru", backend="numba", ratios=FLAT, levels=FLAT, partner=True, **more):
    """A case of throughput: for each process its time over the partner's, times how slow the machine was."""
    found = []
    for process, (ratio, level) in enumerate(zip(ratios, levels, strict=True)):
        own = 2e-3 * ratio * level
        found.append(series("seconds", own * np.array([0.9, 1.0, 1.2]), "s", process=process))
        found += [series("ratio_to_native", 1 / ratio, process=process)] if partner else []
    definition = {
        "probe": "throughput",
        "cell": cell,
        "backend": backend,
        **PLACE,
        **SIZE,
        "direction": "forward",
    }
    return {
        "definition": definition,
        "series": found,
        "status": "ok",
        "implementation": f"{backend} 1",
    } | more


def native(**more):
    return program(backend="native", **more)


def parameters(count, **more):
    definition = {
        "probe": "parameters",
        "cell": "gru",
        "dtype": "float32",
        "threads": 1,
        "input_size": 32,
        "hidden_size": 64,
    }
    return {"definition": definition | more, "series": [series("parameters", count)], "status": "ok"}


def broken(case, status="wrong", reason="d_x is off"):
    return case | {"status": status, "reason": reason, "series": []}


def a_run(folder, *cases, key=KEY, end=True, **manifest):
    given = {
        "command": "cellbench run",
        "config": {"cells": ["gru"], "threads": 1},
        "machine_key": key,
        **manifest,
    }
    writer = store.create(folder, given)
    for n, case in enumerate(cases):
        case = {"implementation": None, "reason": None} | case
        writer.append(f"case{n}", done=end, **case)
    writer.close()
    return writer.folder
