"""Every public result type has a frame, a figure, a page for notebooks and a short line."""

from __future__ import annotations

import base64
import inspect
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pandas
import pytest
import torch
from matplotlib import pyplot
from support import odd_cells
from support.judges import functions_here
from support.public_results import returning

from cellbench import cells
from cellbench.cells.display import ByName, Displayed, page
from cellbench.harness import gradients

matplotlib.use("Agg")
CELL = cells.get("lstm")
PARAMS = CELL.init(3, 5)
X = np.random.default_rng(0).standard_normal((24, 4, 3))
ONE = {"lyapunov_spectrum", "precision"}  # of one sequence


def half(numbers):
    """Something to time."""
    return [n / 2 for n in numbers]


def halved(numbers):
    """The same in another way, and more of it."""
    return [n * 0.5 for n in numbers for _ in range(4)][::4]


class Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = torch.nn.GRU(2, 3, batch_first=True), torch.nn.Linear(3, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def batches():
    x = torch.randn(16, 4, 2, generator=torch.Generator().manual_seed(0))
    return [(x[:8], x[:8, 0, :1]), (x[8:], x[8:, 0, :1])]


def recorded():
    """Three updates of a small model."""
    model = torch.nn.LSTM(2, 3)
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    with gradients.record(model) as rows:
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.randn(5, 2, 2))[0].square().sum().backward()
            optimiser.step()
    return rows


def given(name):
    """What a public function may be called with, by the name of its argument."""
    diagnosis = {"model": Reader(), "loss": torch.nn.functional.mse_loss, "batches": batches()}
    return diagnosis | {
        "cell": CELL,
        "params": PARAMS,
        "x": X[:, :1] if name in ONE else X,
        "transient": 2,
        "lags": [1, 5],
        "logs": np.log(0.9) * np.arange(25.0)[:, None] * np.ones(4),
        "arrays": {"a": np.ones(3)},
        "max_norm": 1.0,
        "max_value": 0.5,
        "limit": 0.5,
        "evidence": gradients.diagnose(**diagnosis).evidence if name == "verdict" else None,
        "thing": cells.get("gru"),
        "against": "gru",
        "f": half,
        "g": halved,
        "call": {"args": (list(range(200)),)},
        "options": {},
    }


@pytest.fixture(autouse=True)
def figures():
    yield
    pyplot.close("all")


@pytest.mark.parametrize(
    ("name", "function", "classes"), [pytest.param(*one, id=one[0]) for one in returning()]
)
def test_every_public_result_shows_itself(name, function, classes, monkeypatch):
    assert all(issubclass(kind, Displayed) for kind in classes), f"{name} returns what shows nothing"
    if name == "run":
        return  # whose forms take a run: tests/runs/test_in_python.py
    functions_here(monkeypatch)
    known = given(name)
    wanted = inspect.signature(function).parameters.values()
    needed = {p.name for p in wanted if p.default is p.empty and p.kind is not p.VAR_POSITIONAL}
    call = {p.name: known[p.name] for p in wanted if p.name in known or p.name in needed}
    options = call.pop("call", {}) | call.pop("options", {})
    made = {"record": recorded, "summary": lambda: cells.summary(Reader(), torch.randn(3, 5, 2))}
    result = made[name]() if name in made else function(**call, **options)
    assert isinstance(result, classes[-1])
    shows_itself(result)


def shows_itself(result):
    """Holds a result to its four forms."""
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame) and len(frame)
    axes = matplotlib.figure.Figure().subplots()
    assert result.plot(axes) is axes
    assert axes.has_data() or axes.texts
    assert result.plot().figure is pyplot.gcf()
    html = result._repr_html_()
    assert html.startswith(("<div>", "<iframe"))
    for image in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html):
        assert b"</svg>" in base64.b64decode(image)
    assert "\n" not in repr(result) and len(repr(result)) <= 200
    assert repr(result).startswith(type(result).__name__)


def test_a_frame_has_each_number_at_its_lag_and_sample():
    profile = gradients.lag_profile(CELL, PARAMS, X)
    frame = profile.to_frame().set_index(["lag", "sample"])
    assert len(frame) == 25 * 4
    for lag, sample in ((0, 0), (7, 3), (24, 1)):
        assert frame.loc[(lag, sample), "log_norm"] == profile.log_norm[lag, sample]
        assert frame.loc[(lag, sample), "log_norm_by_state_c"] == profile.log_norm_by_state["c"][lag, sample]


def test_a_line_is_the_median_over_samples_and_ends_where_a_gradient_is_zero():
    logs = np.array([[0.0, 2.0, 4.0], [-1.0, 1.0, 3.0], [-np.inf] * 3])
    axes = gradients.LagProfile(np.arange(3), logs, {}).plot()
    line = axes.lines[0].get_ydata()
    assert list(line[:2]) == [2.0, 1.0] and np.isnan(line[2])


def test_results_by_name_stand_under_their_names():
    by_name = gradients.precision(CELL, PARAMS, X[:, :1], dtypes=["float64", "float16"])
    assert isinstance(by_name, ByName) and list(by_name) == ["float64", "float16"]
    frame = by_name.to_frame()
    assert list(frame["name"].unique()) == ["float64", "float16"] and set(frame["lag"]) == set(range(1, 25))
    assert [text.get_text() for text in by_name.plot().get_legend().get_texts()] == ["float64", "float16"]
    assert ByName().to_frame().empty and repr(ByName()) == "ByName()"


def test_names_in_a_page_stay_text():
    verdict = gradients.Verdict("<script>alert(1)</script>", "none", None, "$\\frac{ & <b>")
    assert "<script>" not in verdict._repr_html_() and "&lt;script&gt;" in verdict._repr_html_()


def test_functions_of_a_notebook_are_timed_in_fresh_processes():
    text = """
import linecache
source = "import math\\ndef root(n):\\n    return math.sqrt(n)\\n"
linecache.cache["/tmp/ipykernel_1/7.py"] = (len(source), None, source.splitlines(True), "")
space = globals()
exec(compile(source, "/tmp/ipykernel_1/7.py", "exec"), space)
from cellbench import harness
found = harness.time(root, args=(2.0,), processes=1)
print(found.function, found.seconds.shape, 0 < found.median_s < 1)
for call in (lambda: harness.compare(root, lambda: 1), lambda: harness.time(root, processes=1)):
    try:
        call()
    except ValueError as error:
        print(str(error).partition(" (")[0])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "root (25, 1) True",
        "function <lambda>.<locals>.<lambda> stands inside another thing, where no process can import it;"
        " define it at the top of a file or of a notebook's cell",
        "root cannot be timed: TypeError: root() missing 1 required positional argument: 'n'",
    ], done.stderr


def test_a_cell_is_had_by_its_class_or_itself():
    assert cells.get(odd_cells.Pair).name == cells.get(odd_cells.Pair()).name == "Pair"
    elman = cells.get(type(cells.get("elman")), activation="relu")
    assert elman.options == "activation=relu" and cells.get(elman, biases=1).activation == "relu"
    assert cells.get(torch.nn.GRU).parameter_count(3, 5) == cells.get("gru").parameter_count(3, 5)
    for thing, says in ((5, "5 is no cell"), (dict, "dict is no cell"), (None, "None is no cell")):
        with pytest.raises(ValueError, match=says):
            cells.get(thing)
    with pytest.raises(ValueError, match="did you mean 'activation'"):
        cells.get(type(elman), activatio="relu")


def test_shares_that_are_all_0_are_drawn_from_0_on_and_an_empty_list_has_no_row():
    found = gradients.saturation(CELL, PARAMS, 0 * X)
    low, high = found.plot().get_xlim()
    assert (low, high) == (0, 1) and all(one.low == one.high == 0 for one in found.values())
    html = gradients.diagnose(**{k: given("x")[k] for k in ("model", "loss", "batches")})._repr_html_()
    assert "<td></td>" not in html and "pre-wrap" in html


def test_a_verdict_is_its_text_and_a_page_has_no_figure_of_a_text():
    verdict = gradients.diagnose(**{k: given("x")[k] for k in ("model", "loss", "batches")}).verdict
    axes = verdict.plot()
    assert not axes.patches and axes.texts[0].get_text() == str(verdict)
    assert "<img" not in verdict._repr_html_()


def test_of_many_single_values_a_page_shows_the_first_and_how_many_more():
    clipped = gradients.clip_by_norm({"a": np.ones(9)}, max_norm=1.0)
    html = page.html(clipped, {f"fact{k}": k for k in range(40)})
    assert "fact31" in html and "fact32" not in html and "and 8 more" in html
