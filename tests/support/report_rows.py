"""Synthetic results of probes in the tidy schema, and the page that is made of them; nothing is measured."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd

from cellbench.harness import report

WORKLOAD = {
    "run": "first",
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "batch": 8,
    "input_size": 16,
    "hidden_size": 32,
}


TIMES = {"numpy": 4e-3, "numba": 5e-4, "native": 1e-3}


MANIFEST = {
    "run": "first",
    "created": "2026-01-02T03:04:05",
    "command": "cellbench run 'cells=[gru,lstm]'",
    "config": {"cells": ["gru", "lstm"], "workload": {"steps": [64, 256]}},
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "machine": {"cpu": "A & B <CPU>", "memory_bytes": 2**34, "load": [0.5, 0.25, 0.1]},
}


MANY = tuple(f"cell{i:02d}" for i in range(30))


def row(probe, metric, value, unit="s", **columns):
    return {
        **WORKLOAD,
        "probe": probe,
        "metric": metric,
        "value": value,
        "unit": unit,
        "status": "ok",
        **columns,
    }


def refused(probe, status, reason, **columns):
    return {**WORKLOAD, "probe": probe, "value": np.nan, "status": status, "reason": reason, **columns}


def throughput(cells=("gru", "lstm"), backends=("numpy", "native"), steps=(64, 256), processes=3):
    rows = []
    for cell in cells:
        for backend in backends:
            for T in steps:
                for direction, factor in (("forward", 1), ("backward", 3)):
                    case = {
                        "cell": cell,
                        "backend": backend,
                        "steps": T,
                        "direction": direction,
                        "implementation": f"{backend} 1.0",
                    }
                    seconds = TIMES.get(backend, 2e-3) * factor * T / 256
                    for p in range(processes):
                        here = seconds * (1 + 0.1 * p)
                        rows += [
                            row("throughput", "seconds", here * s, process=p, sample=i, **case)
                            for i, s in enumerate((0.9, 1, 1.5))
                        ]
                        rows.append(row("throughput", "steps_per_s", T / here, "1/s", process=p, **case))
                        rows.append(
                            row(
                                "throughput",
                                "ratio_to_native",
                                TIMES["native"] / TIMES.get(backend, 2e-3),
                                "1",
                                process=p,
                                **case,
                            )
                        )
                    rows.append(row("throughput", "first_call_s", 0.25, **case))
                    rows.append(row("throughput", "check_error", 3e-7, "1", **case))
    return rows


def parameters(cells=("gru", "lstm")):
    counts = {
        "parameters": 4800.0,
        "parameters.weight_ih": 1536.0,
        "parameter_bytes": 19200.0,
        "state_size": 32.0,
        "forward_flop": 9600.0,
        "affine": 0.0,
    }
    return [
        row("parameters", metric, value, "count", cell=cell, backend=None)
        for cell in cells
        for metric, value in counts.items()
    ]


def gradient_decay(cells=("gru", "lstm"), last=-40.0, steps=64, seeds=2):
    rows = []
    for cell in cells:
        for seed in range(seeds):
            case = {"cell": cell, "steps": steps, "seed": seed}
            for sample in range(2):
                logs = np.linspace(0, last - seed, steps + 1)
                rows += [
                    row("gradient_decay", "log_norm", v, "nats", lag=i, sample=sample, **case)
                    for i, v in enumerate(logs)
                ]
            rate = last / steps
            rows += [
                row("gradient_decay", m, rate + d, "nats/step", **case)
                for m, d in (("rate", 0), ("rate_low", -0.02), ("rate_high", 0.02))
            ]
    return rows


def training(cells=("gru", "lstm"), backends=("numba", "native"), tasks=("adding",), updates=250, seeds=2):
    rows = []
    for cell, backend, task, seed in (
        (c, b, t, s) for c in cells for b in backends for t in tasks for s in range(seeds)
    ):
        case = {"cell": cell, "backend": backend, "task": task, "seed": seed}
        losses = 0.2 + 0.8 * np.exp(-np.arange(updates) / 60) + 0.01 * np.cos(np.arange(updates) * (seed + 1))
        rows += [row("training", "loss", v, "nats", lag=i, **case) for i, v in enumerate(losses)]
        rows += [row("training", "elapsed_s", 0.01 * (i + 1), lag=i, **case) for i in range(updates)]
        rows += [row("training", "epoch_s", 1.0 + seed, lag=e, **case) for e in (1, 2, 3)]
        rows += [row("training", "test_loss", 0.3 / e, "nats", lag=e, **case) for e in (1, 2, 3)]
        rows += [
            row("training", "trivial_loss", 1.1, "nats", **case),
            row("training", "time_to_target_s", np.nan if seed else 2.0, **case),
        ]
    return rows


def clipping(cells=("gru",), variants=("max_norm=none", "max_norm=1.0"), updates=60, seeds=3):
    rows = []
    for cell, variant, seed in ((c, v, s) for c in cells for v in variants for s in range(seeds)):
        case = {"cell": cell, "backend": "numba", "variant": variant, "seed": seed}
        losses = np.exp(-np.arange(updates) / 20) + 1e-3 * seed
        if variant == "max_norm=none":
            losses[updates // 2 :] = np.inf
        rows += [row("clipping", "loss", v, "nats", lag=i, **case) for i, v in enumerate(losses)]
        rows += [
            row("clipping", "clipped_fraction", 0.25, "1", **case),
            row("clipping", "spikes", 2.0, "count", **case),
        ]
        rows += [
            row("clipping", "solved", float(seed > 0), "1", **case),
            row("clipping", "solved_step", 40.0 if seed else np.nan, **case),
        ]
    return rows


PROBES = {
    "parameters": parameters,
    "throughput": throughput,
    "gradient_decay": gradient_decay,
    "training": training,
    "clipping": clipping,
}


def written(rows, folder, manifests=()):
    """Text of the page and of the Markdown."""
    page = report.write(pd.DataFrame(rows), list(manifests), folder)
    return page.read_text(), (folder / "report.md").read_text()


def texts(path):
    return [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")]
