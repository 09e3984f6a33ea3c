"""The gradient probes from the command line to the page, at small sizes."""

import numpy as np
import pytest

from cellbench import harness
from cellbench.harness.cli import main
from cellbench.harness.report.drawing.profiles import spread

SIZES = ["workload.steps=40", "workload.input_size=3", "workload.hidden_size=6", "seeds=2"]


def run(folder, *overrides):
    """The frame of a run, and the text of its page's twin."""
    assert main(["run", *SIZES, f"results={folder}/runs", *overrides]) == 0
    assert main(["report", f"--results={folder}/runs", f"--output={folder}/page"]) == 0
    return harness.load(folder / "runs"), (folder / "page" / "report.md").read_text()


def test_profile_spectrum_shares_and_formats_have_figures_and_numbers(tmp_path):
    options = ["probe.spectrum.steps=60", "probe.spectrum.transient=20"]
    names = ["gradient_decay", "spectrum", "lag_share", "precision"]
    frame, page = run(tmp_path, "cells=[elman,lstm]", f"probes=[{','.join(names)}]", *options)
    assert set(frame["probe"]) == set(names) and (frame["status"] == "ok").all()
    headings = (
        "Gradient norm against lag",
        "Lyapunov spectrum",
        "Lag share of the parameter gradient",
        "Gradient norm in each number format",
    )
    assert all(f"## {heading}\n" in page for heading in headings)
    columns = ("| sum rule residual |", "| k95 (steps) |", "| cell | format |")
    assert all(column in page for column in columns)
    assert all((tmp_path / "page" / f"{name}.svg").exists() for name in names)
    signed = frame[frame["metric"] == "signed"].groupby(["cell", "seed"])["value"].sum()
    assert np.allclose(signed, 1)
    residual = frame.loc[frame["metric"] == "sum_residual", "value"]
    assert residual.abs().max() < 1e-10


@pytest.mark.parametrize("spec", ["lstm:layers=2:proj_size=4", "gru:bidirectional=true"])
def test_stacks_have_rows_of_every_gradient_probe(spec, tmp_path):
    options = ["probe.spectrum.steps=40", "probe.spectrum.transient=10", "probe.gradient_decay.biases=[1]"]
    names = ["gradient_decay", "spectrum", "lag_share", "precision"]
    sizes = ["seeds=1", "workload.steps=20", "probe.lag_share.sequences=2"]
    frame, page = run(tmp_path, f"cells=[{spec}]", f"probes=[{','.join(names)}]", *options, *sizes)
    assert set(frame["probe"]) == set(names) and (frame["status"] == "ok").all()
    assert {"log_norm", "mapped_rate", "exponent", "signed", "stored_rate"} <= set(frame["metric"])
    exponents = (frame["metric"] == "exponent").sum()
    assert exponents == {"lstm": 2 * (6 + 4), "gru": 2 * 6}[spec.partition(":")[0]]
    assert spec.partition(":")[2].split(":")[0] in page


def test_several_bidirectional_layers_have_rows_where_they_need_no_joint_state(tmp_path):
    names = ["gradient_decay", "spectrum", "lag_share", "precision"]
    sizes = [
        "seeds=1",
        "workload.steps=12",
        "probe.lag_share.sequences=2",
        "probe.precision.dtypes=[float64]",
    ]
    frame, _ = run(tmp_path, "cells=[gru:layers=2:bidirectional=true]", f"probes=[{','.join(names)}]", *sizes)
    status = frame.groupby("probe")["status"].first().to_dict()
    assert status == {
        "gradient_decay": "ok",
        "lag_share": "ok",
        "spectrum": "unsupported",
        "precision": "unsupported",
    }
    assert frame["reason"].dropna().str.contains("above the first read both directions").all()


def test_schemes_backends_and_a_map_of_gain_and_bias_stand_apart(tmp_path):
    frame, page = run(
        tmp_path,
        "cells=[gru]",
        "probes=[gradient_decay]",
        'probe.gradient_decay.schemes=[torch,"orthogonal(1.2)"]',
        "probe.gradient_decay.backends=[numpy,torch]",
        "probe.gradient_decay.gains=[0.5,1.0]",
        "probe.gradient_decay.biases=[0,2]",
    )
    assert "Gradient rate over gain and bias" in page
    rates = frame[frame["metric"] == "rate"].groupby(["variant", "backend"])["value"].median().unstack()
    assert np.allclose(rates["numpy"], rates["torch"], rtol=0.02)
    mapped = frame[frame["metric"] == "mapped_rate"].groupby("variant")["value"].mean()
    assert mapped["gain=1, bias=2"] > mapped["gain=0.5, bias=0"]  # the gate keeps more
    first = (frame["metric"] == "rate") & (frame["variant"] == "scheme=torch") & (frame["backend"] == "numpy")
    shown = frame.loc[first, "value"]
    assert (
        f"{shown.median():.3f}".replace("-", "−") in page
    )  # the summary shows one way, not the mean of several


def test_a_backend_without_a_trajectory_is_unsupported_by_name(tmp_path):
    frame, page = run(
        tmp_path, "cells=[lstm]", "probes=[gradient_decay]", "probe.gradient_decay.backends=[numpy,native]"
    )
    assert set(frame.loc[frame["backend"] == "native", "status"]) == {"unsupported"}
    assert "trajectory" in page


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("probe.spectrum.transient=-1", "transient"),
        ("probe.precision.dtypes=[float8]", "float8"),
        ("probe.gradient_decay.gains=[-1]", "gains"),
        ("probe.lag_share.schemes=[ortogonal]", "did you mean 'orthogonal'"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(override, words, capsys):
    probe = override.split(".")[1]
    assert main(["run", f"probes=[{probe}]", override]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said


def test_bands_hold_their_own_means_whatever_the_order_of_the_rows():
    import pandas as pd

    values = [
        (lag, label, base + s) for lag in (0, 1) for label, base in (("b", 10), ("a", 0)) for s in (-1, 0, 1)
    ]
    found = spread(pd.DataFrame(values, columns=["lag", "label", "value"]), ["label"])
    assert ((found["low"] <= found["mid"]) & (found["mid"] <= found["high"])).all()
